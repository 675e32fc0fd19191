import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from mcp_cli.main import cli
from mcp_cli.streaming_json import schema
from scripted_model import ScriptedModel, scripted_model
from terminals import HEARS_CTRL_C


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    with scripted_model({"steps": [], "then": {"text": "The \x1b[31mscript\x1b[0m is over."}}) as running:
        for name, value in running.environ("openai").items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "node"


def ask(place: Path, *words: str, stdin: str = "", output: str = "table") -> Result:
    arguments = ["--data-dir", str(place), "--embed", "--format", output, "ask", *words]
    return CliRunner().invoke(cli, arguments, input=stdin, catch_exceptions=False)


def test_the_answer_is_printed_and_nothing_else(model: ScriptedModel, place: Path) -> None:
    result = ask(place, "hello")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "The script is over.\n", "")


def test_piped_text_is_added_to_the_prompt(model: ScriptedModel, place: Path) -> None:
    assert ask(place, "review this", stdin="a diff\n").exit_code == 0
    assert model.requests()[0]["user"] == "review this\n\na diff"


def test_a_conversation_goes_on_by_order_or_by_id(model: ScriptedModel, place: Path) -> None:
    first = json.loads(ask(place, "one", output="json").stdout)
    second = json.loads(ask(place, "two", "--continue", output="json").stdout)
    third = json.loads(
        ask(place, "three", "--resume", first["session_id"][:20], "--model", "other", output="json").stdout
    )
    assert first["session_id"] == second["session_id"] == third["session_id"]
    assert "one" in json.dumps(model.requests()[2]["body"])
    assert model.requests()[2]["model"] == "other"


WRITE: dict[str, Any] = {"name_contains": "write_file"}


def test_what_would_need_a_person_is_refused_with_the_option_that_allows_it(
    model: ScriptedModel, place: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    call = {**WRITE, "arguments": {"path": str(note), "content": "written"}}
    model.add({"text": "I write.", "tool_call": call}, {"text": "It was refused."})
    refused = ask(place, "write a note", output="json")
    assert refused.exit_code == 3
    report = json.loads(refused.stdout)
    assert report["status"] == "completed"
    assert report["tool_calls"][0]["state"] == "denied"
    assert not note.exists()
    remedy = report["refused"][0]["remedy"]
    assert json.loads(refused.stderr)["error"]["remedy"] == remedy
    option, pattern = remedy.split()
    model.add({"text": "I write.", "tool_call": call}, {"text": "Done."})
    allowed = ask(place, "write a note", option, pattern.strip("'"), output="json")
    assert allowed.exit_code == 0, allowed.stderr
    assert note.read_text() == "written"
    listed = CliRunner().invoke(
        cli, ["--data-dir", str(place), "--embed", "--format", "json", "caps", "list"]
    )
    held = [one for one in json.loads(listed.stdout)["items"] if one["resource_uri"] == pattern.strip("'")]
    assert held == [], "what was lent for one turn is taken back"


def test_people_see_the_steps_on_standard_error(model: ScriptedModel, place: Path, tmp_path: Path) -> None:
    call = {"name_contains": "list_directory", "arguments": {"path": str(tmp_path)}}
    model.add({"text": "I look.", "tool_call": call}, {"text": "There."})
    result = ask(place, "look", "--allow", f"mcp://fs/list{tmp_path}")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "I look.\n\nThere.\n"
    assert result.stderr == "· fs.list_directory done\n"


def test_a_turn_that_takes_too_long_is_cancelled(model: ScriptedModel, place: Path) -> None:
    model.add({"text": "slow", "delay": 30})
    result = ask(place, "hello", "--timeout", "0.5s")
    assert result.exit_code == 124
    assert "--timeout" in result.stderr


def test_a_model_that_refuses_fails_the_turn_with_its_reason(model: ScriptedModel, place: Path) -> None:
    model.add({"status": 401, "error": "that key is wrong"})
    result = ask(place, "hello", output="json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["status"] == "failed"
    assert json.loads(result.stderr)["error"]["code"] == "model_unavailable"


def test_ctrl_c_stops_the_turn_and_ends_with_130(model: ScriptedModel, place: Path) -> None:
    model.add({"text": [f"{number} " for number in range(500)], "chunk_delay": 0.1})
    program = HEARS_CTRL_C + "from mcp_cli.main import main; main()"
    command = [sys.executable, "-c", program, "--data-dir", str(place), "--embed", "ask", "count"]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == "0 "
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    shown = CliRunner().invoke(cli, ["--data-dir", str(place), "--embed", "sessions", "show", "count"])
    assert "cancelled" in shown.stdout


def lines(result: Result) -> list[dict[str, Any]]:
    """The lines of stream-json, each of which fits the schema that we hand out."""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    check = jsonschema.Draft202012Validator(schema())
    for each in found:
        check.validate(each)
    return found


def test_programs_are_told_everything_as_it_happens(
    model: ScriptedModel, place: Path, tmp_path: Path
) -> None:
    listing = {"name_contains": "list_directory", "arguments": {"path": str(tmp_path)}}
    write = {**WRITE, "arguments": {"path": str(tmp_path / "n"), "content": "x"}}
    model.add({"text": "I look.", "tool_calls": [listing, write]}, {"text": ["Th", "ere."], "usage": [7, 3]})
    result = ask(place, "look", "--allow", f"mcp://fs/list{tmp_path}", "--output", "stream-json")
    assert result.exit_code == 3
    told = lines(result)
    assert [told[0]["type"], told[-1]["type"]] == ["begin", "end"]
    texts: dict[str, str] = {}
    for line in told:
        if line["type"] == "text":
            texts[line["message_id"]] = texts.get(line["message_id"], "") + line["text"]
    assert list(texts.values()) == ["I look.", "There."]
    calls = [(line["call"]["tool"], line["call"]["state"]) for line in told if line["type"] == "tool"]
    assert ("list_directory", "running") in calls and ("list_directory", "done") in calls
    [refused] = [line["refusal"] for line in told if line["type"] == "refused"]
    assert refused["remedy"] in json.loads(result.stderr)["error"]["remedy"]
    end = told[-1]
    assert (end["exit_code"], end["report"]["text"]) == (3, "I look.\n\nThere.")
    assert end["report"]["usage"]["output_tokens"] >= 3 and end["report"]["cost"] is None


def test_what_goes_wrong_ends_the_lines_too(model: ScriptedModel, place: Path) -> None:
    result = ask(place, "", "--output", "stream-json")
    assert result.exit_code == 2
    assert [line["type"] for line in lines(result)] == ["error"]
    model.add({"text": "slow", "delay": 30})
    late = ask(place, "hello", "--output", "stream-json", "--timeout", "0.5s")
    told = lines(late)
    assert (late.exit_code, told[-1]["type"], told[-1]["exit_code"]) == (124, "error", 124)


def test_the_output_can_be_one_document(model: ScriptedModel, place: Path) -> None:
    result = ask(place, "hello", "--output", "json")
    assert json.loads(result.stdout)["text"].startswith("The ")
    assert ask(place, "hello", "--output", "text", output="json").stdout == "The script is over.\n"


def test_a_turn_stops_at_its_budget_and_the_session_keeps_its_own(
    model: ScriptedModel, place: Path, tmp_path: Path
) -> None:
    look = {"name_contains": "list_directory", "arguments": {"path": str(tmp_path)}}
    model.add({"text": "I look.", "tool_call": look, "usage": [900, 200]})
    first = ask(
        place, "look", "--max-tokens", "1000", "--allow", f"mcp://fs/list{tmp_path}", "--output", "json"
    )
    assert first.exit_code == 1, first.output
    report = json.loads(first.stdout)
    assert report["error"]["details"]["bound"] == "max_tokens"
    model.add({"text": "More.", "usage": [10, 10]})
    second = ask(place, "go on", "--continue", "--max-tokens", "500", "--output", "json")
    assert second.exit_code == 0, second.output
    session = json.loads(ask_cli(place, "sessions", "list").stdout)["items"][0]
    assert session["limits"]["budget"]["max_tokens"] == 1000, "what was raised for one turn is lowered again"
    third = ask(place, "go on", "--continue", "--output", "json")
    assert third.exit_code == 1 and len(model.requests()) == 2, "nothing more is asked"


def ask_cli(place: Path, *words: str) -> Result:
    arguments = ["--data-dir", str(place), "--embed", "--format", "json", *words]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_settings_say_what_options_do_not(
    model: ScriptedModel, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "umbrella" / "config.toml"
    file.parent.mkdir()
    file.write_text('[ask]\noutput = "json"\nmax_tokens = 400_000\n[budget]\nmax_tokens = 300_000\n')
    report = json.loads(ask(place, "hello").stdout)
    session = json.loads(ask_cli(place, "sessions", "show", report["session_id"]).stdout)["session"]
    assert session["limits"]["budget"]["max_tokens"] == 300_000
    file.write_text('[ask]\nouput = "json"\n')
    broken = ask(place, "hello")
    assert broken.exit_code == 2 and "did you mean `output`" in broken.stderr
    assert len(model.requests()) == 1


def test_the_schema_of_a_line_is_printed() -> None:
    told = json.loads(CliRunner().invoke(cli, ["ask", "--schema"]).stdout)
    assert told == schema()
