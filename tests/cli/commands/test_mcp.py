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
    entry = {"command": "no-such-command", "autoApprove": ["x"], "env": {"API_KEY": "literal-secret"}}
    file.write_text(json.dumps({"mcpServers": {"noted": entry}}))
    output = umbrella("mcp", "import", str(file)).output
    assert "autoApprove" in output and "API_KEY" in output and "literal-secret" not in output
    umbrella("mcp", "remove", "noted")
