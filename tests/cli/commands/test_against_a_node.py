"""Each command, as a person or a script types it, against a real node."""

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Json = Callable[..., Any]
Umbrella = Callable[..., Any]


@pytest.fixture
def scout(umbrella_json: Json, request: pytest.FixtureRequest) -> str:
    """The id of a fresh agent."""
    return str(umbrella_json("agent", "spawn", request.node.name[5:60])["id"])


def test_a_tool_call_prints_what_the_tool_wrote(umbrella: Umbrella, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("forty-two\n")
    arguments = json.dumps({"path": str(tmp_path / "note.txt")})
    result = umbrella("call", "fs", "read_file", "--json", arguments)
    assert result.exit_code == 0, result.stderr
    assert "forty-two" in result.stdout
    assert result.stderr == ""


def test_json_output_is_exactly_one_document(umbrella_json: Json, tmp_path: Path) -> None:
    outcome = umbrella_json("call", "fs", "list_directory", "--json", json.dumps({"path": str(tmp_path)}))
    assert outcome["result"]["is_error"] is False
    assert outcome["execution_id"].startswith("exec_")


def test_an_agent_is_denied_until_the_grant_that_the_denial_names(
    umbrella: Umbrella, umbrella_json: Json, scout: str, tmp_path: Path
) -> None:
    call = ("call", "fs", "list_directory", "--json", json.dumps({"path": str(tmp_path)}), "--as", scout)
    denied = umbrella(*call)
    assert denied.exit_code == 3
    assert denied.stdout == ""
    remedy = next(line for line in denied.stderr.splitlines() if line.startswith("remedy: umbrella "))
    words = remedy.removeprefix("remedy: umbrella ").split()
    assert words[:2] == ["grant", scout]
    assert umbrella("caps", "explain", scout, words[2]).exit_code == 3
    capability = umbrella_json(*words, "--expires", "1h", "--uses", "1")
    assert umbrella("caps", "explain", scout, words[2]).exit_code == 0
    assert umbrella(*call).exit_code == 0
    assert umbrella(*call).exit_code == 3, "the one use is used up"
    assert capability["id"] in umbrella_json("caps", "revoke", capability["id"])["revoked"]
    denials = umbrella_json("audit", "show", "--principal", scout, "--denied")["items"]
    assert len(denials) == 2
    assert umbrella("audit", "verify").exit_code == 0


def test_an_error_is_json_on_standard_error_when_asked_for(
    node_dir: Path, scout: str, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from mcp_cli.main import cli

    arguments = json.dumps({"path": str(tmp_path)})
    words = ["--data-dir", str(node_dir), "--format", "json", "call", "fs", "list_directory"]
    result = CliRunner().invoke(cli, [*words, "--json", arguments, "--as", scout])
    assert result.exit_code == 3
    assert result.stdout == ""
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "denied"
    assert error["details"]["grant"] == error["remedy"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["call", "fs", "read_file", "--json", "{"], 2),
        (["call", "fs", "read_file", "--json", "{}"], 2),
        (["call", "fs", "nonsense"], 4),
        (["call", "nowhere", "tool"], 4),
        (["call", "fs", "read_file", "--as", "nobody-of-that-name"], 4),
        (["call", "fs", "read_file", "--timeout", "soon"], 2),
        (["grant", "nobody-of-that-name", "mcp://fs/read/**"], 4),
        (["caps", "explain", "system", "not-a-uri"], 2),
        (["sessions", "show", "nothing-like-this"], 4),
        (["mcp", "remove", "nowhere"], 4),
        (["mcp", "add", "bad name", "--", "true"], 2),
        (["mcp", "add", "neither"], 2),
        (["mcp", "add", "x", "--url", "ftp://x"], 2),
        (["mcp", "import", "/nonexistent.json"], 2),
        (["approvals", "allow", "ask_none"], 4),
        (["ask", ""], 2),
        (["ask", "hello"], 5),
    ],
)
def test_a_failure_says_what_to_do_and_ends_with_the_code_of_its_kind(
    umbrella: Umbrella, words: list[str], code: int
) -> None:
    result = umbrella(*words)
    assert result.exit_code == code, result.stderr
    assert "error: " in result.stderr
    assert "remedy: " in result.stderr
    assert result.stdout == ""


def test_agents_are_found_by_name_and_prefix_and_stop_with_their_rights(
    umbrella: Umbrella, umbrella_json: Json, scout: str
) -> None:
    umbrella_json("grant", scout, "mcp://fs/read/tmp/**")
    by_prefix = umbrella_json("agent", "show", scout[:20])
    assert by_prefix["agent"]["id"] == scout
    assert [one["resource_uri"] for one in by_prefix["capabilities"]] == ["mcp://fs/read/tmp/**"]
    assert scout in [agent["id"] for agent in umbrella_json("agent", "list")["items"]]
    assert umbrella("agent", "stop", by_prefix["agent"]["name"]).exit_code == 0
    assert scout not in [agent["id"] for agent in umbrella_json("agent", "list")["items"]]
    assert umbrella_json("caps", "list", scout)["items"] == []


def test_a_server_that_cannot_start_is_kept_and_its_problem_told(
    umbrella: Umbrella, umbrella_json: Json
) -> None:
    result = umbrella("mcp", "add", "broken", "--env", "A=1", "--", "/nonexistent/program", "--flag")
    assert result.exit_code == 1
    assert "broken" in result.stdout
    listed = {server["name"]: server for server in umbrella_json("mcp", "list")["items"]}
    assert listed["broken"]["error"]
    assert umbrella("mcp", "remove", "broken").exit_code == 0
    assert "broken" not in umbrella("mcp", "list").stdout


def test_a_server_named_by_a_relative_path_runs_where_the_person_stands(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.sh").write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.chdir(tmp_path)
    umbrella("mcp", "add", "near", "--", "./server.sh", "server.sh")
    umbrella("mcp", "add", "far", "--", "sh", "-c", "exit 0")
    specs = {server["name"]: server["spec"] for server in umbrella_json("mcp", "list")["items"]}
    umbrella("mcp", "remove", "near")
    umbrella("mcp", "remove", "far")
    assert specs["near"]["command"] == str(tmp_path / "server.sh")
    assert specs["near"]["cwd"] == str(tmp_path)
    assert specs["far"]["command"] == "sh"
    assert specs["far"].get("cwd") is None


def test_servers_of_a_file_are_added(umbrella_json: Json, umbrella: Umbrella, tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"gone": {"command": sys.executable, "args": ["-c", "pass"]}}}))
    added = umbrella_json("mcp", "import", str(file), code=1)
    assert [server["name"] for server in added["items"]] == ["gone"]
    assert umbrella("mcp", "remove", "gone").exit_code == 0


def test_tools_are_listed_with_what_they_do_and_one_with_its_schema(umbrella: Umbrella) -> None:
    assert "read_file" in umbrella("mcp", "tools").stdout
    assert "reads" in umbrella("mcp", "tools", "fs").stdout
    assert '"path"' in umbrella("mcp", "tools", "fs", "--schema", "read_file").stdout
    assert umbrella("mcp", "tools", "fs", "--schema", "nonsense").exit_code == 4


def test_a_session_is_listed_shown_exported_and_ended(
    umbrella: Umbrella, umbrella_json: Json, tmp_path: Path
) -> None:
    assert umbrella("ask", "what is the time").exit_code == 5
    session = next(
        one for one in umbrella_json("sessions", "list")["items"] if one["title"] == "what is the time"
    )
    shown = umbrella("sessions", "show", session["id"])
    assert "> what is the time" in shown.stdout
    assert "OPENAI_API_KEY" in shown.stdout
    assert "what is the time" in umbrella("sessions", "export", session["id"]).stdout
    document = umbrella_json("sessions", "export", session["id"])
    assert document["records"][0]["event"]["event"] == "session.created"
    file = tmp_path / "session.md"
    assert umbrella("sessions", "export", session["id"][:16], "--output", str(file)).exit_code == 0
    assert file.read_text().startswith("# what is the time")
    assert umbrella("sessions", "end", session["id"]).exit_code == 0
    assert session["id"] not in [one["id"] for one in umbrella_json("sessions", "list")["items"]]
    assert session["id"] in [one["id"] for one in umbrella_json("sessions", "list", "--all")["items"]]


def test_long_lists_come_in_pages(umbrella: Umbrella, umbrella_json: Json) -> None:
    first = umbrella_json("caps", "list", "--limit", "2")
    second = umbrella_json("caps", "list", "--limit", "2", "--cursor", first["cursor"])
    assert len(first["items"]) == len(second["items"]) == 2
    assert first["items"] != second["items"]
    assert "there is more: --cursor" in umbrella("caps", "list", "--limit", "2").stdout


def test_the_log_of_the_node_is_shown(umbrella: Umbrella, umbrella_json: Json) -> None:
    assert "the node is up" in umbrella("logs").stdout
    assert len(umbrella_json("logs", "-n", "1")["lines"]) == 1
    assert umbrella("--format", "json", "logs", "-f").exit_code == 2


def test_doctor_finds_this_installation_sound(umbrella: Umbrella, umbrella_json: Json) -> None:
    checks = {check["name"]: check for check in umbrella_json("doctor")["checks"]}
    assert {"python", "data directory", "disk", "socket", "journal", "audit", "model"} <= set(checks)
    assert checks["model"]["status"] == "warning"
    assert "OPENAI_API_KEY" in checks["model"]["remedy"]
    assert "journal" in umbrella("doctor").stdout


def test_a_bundle_holds_logs_status_and_configuration_but_no_secret(
    umbrella: Umbrella, tmp_path: Path
) -> None:
    secret = "s3cr3t-value-0123456789abcdef"
    umbrella(
        "mcp",
        "add",
        "keeps",
        "--env",
        f"MODE={secret}",
        "--env",
        "REF=${HOME}",
        "--",
        "/nonexistent",
        "--in-mode",  # where nobody looks for one: what looks like a secret is not even taken
        secret,
    )
    umbrella(
        "mcp",
        "add",
        "remote",
        "--url",
        f"http://127.0.0.1:9/mcp?mode={secret}",
        "--header",
        f"A={secret}",
    )
    file = tmp_path / "bundle.tar.gz"
    result = umbrella("doctor", "--bundle", str(file))
    umbrella("mcp", "remove", "keeps")
    umbrella("mcp", "remove", "remote")
    assert str(file) in result.stdout
    with tarfile.open(file) as archive:
        texts = {
            name: (archive.extractfile(name) or file.open("rb")).read().decode()
            for name in archive.getnames()
        }
    report = json.loads(texts["umbrella/report.json"])
    assert report["status"]["version"]
    entry = next(server for server in report["servers"] if server["name"] == "keeps")
    assert entry["spec"]["env"] == {"MODE": "(hidden)", "REF": "${HOME}"}
    assert any("the node is up" in text for text in texts.values())
    assert all(secret not in text for text in texts.values())
