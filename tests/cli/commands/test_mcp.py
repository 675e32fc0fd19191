import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parents[2] / "flow" / "slow_server.py"


def test_an_imported_server_gets_the_variables_of_this_terminal(
    umbrella: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mcp.json"
    entry = {"command": sys.executable, "args": [str(SERVER)], "env": {"TOKEN": "${A_LENT_TOKEN}"}}
    file.write_text(json.dumps({"mcpServers": {"lent": entry}}))
    missing = umbrella("mcp", "import", str(file))
    assert missing.exit_code == 1 and "A_LENT_TOKEN" in missing.output
    monkeypatch.setenv("A_LENT_TOKEN", "hunter2-and-more")
    found = umbrella("mcp", "import", str(file))
    assert found.exit_code == 0, found.output
    assert "hunter2" not in found.output + umbrella("mcp", "list").output
    assert umbrella("mcp", "remove", "lent").exit_code == 0


def test_an_import_says_what_it_did_not_use(umbrella: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    entry = {"command": "no-such-command", "autoApprove": ["x"]}
    file.write_text(json.dumps({"mcpServers": {"noted": entry}}))
    assert "autoApprove" in umbrella("mcp", "import", str(file)).output
    umbrella("mcp", "remove", "noted")


def test_an_imported_secret_reaches_the_server_and_lies_on_the_disk_only_encrypted(
    umbrella: Callable[..., Any], tmp_path: Path, node_dir: Path
) -> None:
    file, seen = tmp_path / "mcp.json", tmp_path / "seen"
    code = f"import os, pathlib, runpy; pathlib.Path({str(seen)!r}).write_text(os.environ['API_KEY']);"
    code += f"runpy.run_path({str(SERVER)!r}, run_name='__main__')"
    entry = {"command": sys.executable, "args": ["-c", code], "env": {"API_KEY": "spelled-out-secret"}}
    file.write_text(json.dumps({"mcpServers": {"kept": entry}}))
    found = umbrella("mcp", "import", str(file))
    assert found.exit_code == 0, found.output
    assert "kept/API_KEY" in found.output and "spelled-out-secret" not in found.output
    assert seen.read_text() == "spelled-out-secret"
    written = [path.read_bytes() for path in node_dir.rglob("*") if path.is_file()]
    assert written and not any(b"spelled-out-secret" in content for content in written)
    assert "kept/API_KEY" in umbrella("secret", "list").output
    assert umbrella("mcp", "remove", "kept").exit_code == 0
    assert umbrella("secret", "remove", "kept/API_KEY").exit_code == 0


def test_a_secret_on_the_command_line_is_refused_with_the_reference_to_write(
    umbrella: Callable[..., Any],
) -> None:
    refused = umbrella("mcp", "add", "spelled", "--env", "TOKEN=hunter2-and-more", "--", "no-such-command")
    assert refused.exit_code == 2
    assert "${secret:spelled/TOKEN}" in refused.output and "hunter2" not in refused.output
    assert "spelled" not in umbrella("mcp", "list").output
