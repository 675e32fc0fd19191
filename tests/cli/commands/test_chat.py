"""`umbrella chat` is the REPL by its name."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcp_cli.main import cli
from scripted_model import ScriptedModel, scripted_model


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    with scripted_model({"steps": [], "then": {"text": "Heard."}}) as running:
        for name, value in running.environ("openai").items():
            monkeypatch.setenv(name, value)
        yield running


def chat(place: Path, text: str, *words: str) -> Result:
    arguments = ["--data-dir", str(place), "--embed", "chat", "--plain", *words]
    return CliRunner().invoke(cli, arguments, input=text, catch_exceptions=False)


def sessions(place: Path) -> Any:
    listed = CliRunner().invoke(
        cli, ["--data-dir", str(place), "--embed", "--format", "json", "sessions", "list"]
    )
    return json.loads(listed.stdout)["items"]


def test_it_begins_with_the_model_that_was_named_and_goes_on_with_another(
    model: ScriptedModel, tmp_path: Path
) -> None:
    first = chat(tmp_path, "hello\n/quit\n", "--model", "scripted-1")
    assert first.exit_code == 0, first.stderr
    [session] = sessions(tmp_path)
    assert session["model"] == "scripted-1"
    assert chat(tmp_path, "/quit\n", "--continue", "--model", "other").exit_code == 0
    assert chat(tmp_path, "/quit\n", "--resume", session["id"]).exit_code == 0
    [session] = sessions(tmp_path)
    assert session["model"] == "other"


def test_a_session_that_begins_has_the_model_and_budget_of_the_settings(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("OPENAI_MODEL")
    (tmp_path / "umbrella").mkdir()
    settings = '[models]\ndefault = "scripted-1"\n[budget]\nmax_tokens = 5000\n'
    (tmp_path / "umbrella" / "config.toml").write_text(settings)
    assert chat(tmp_path / "node", "hello\n/quit\n").exit_code == 0
    [session] = sessions(tmp_path / "node")
    assert (session["model"], session["limits"]["budget"]["max_tokens"]) == ("scripted-1", 5000)


def test_broken_settings_are_told_before_anything_opens(
    umbrella: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "umbrella").mkdir()
    (tmp_path / "umbrella" / "config.toml").write_text("[ui]\nthem = 1\n")
    for words in (["chat"], []):
        result = umbrella(*words, stdin="/quit\n")
        assert result.exit_code == 2 and "did you mean `theme`" in result.stderr
    assert umbrella("chat", "--continue", "--resume", "x").exit_code == 2
