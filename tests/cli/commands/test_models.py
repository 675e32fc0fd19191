"""`umbrella models …` against a node that finds its models on a real endpoint."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcp_cli import modelling
from mcp_cli.commands.models import choose
from mcp_cli.main import cli
from mcp_cli.sheet import Facts, Sheet
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.provider import ModelInfo
from scripted_model import scripted_model

KNOWN = ModelInfo(
    name="openai:gpt-x", provider="openai", context_tokens=400_000, input_price=0.125, default=True
)
BARE = ModelInfo(name="ollama:llama3.2:1b", provider="ollama")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("UMBRELLA_DISCOVER", "0")
    with scripted_model({"models": [{"id": "big", "max_model_len": 65536}, "small"]}) as model:
        for name, value in model.environ().items():
            monkeypatch.setenv(name, value if name != "OPENAI_MODEL" else "small")

        def run(*words: str) -> Result:
            arguments = ["--data-dir", str(tmp_path), "--embed", *words]
            return CliRunner().invoke(cli, arguments, catch_exceptions=False)

        yield run


def test_models_are_listed_and_shown_by_the_command(run: Any) -> None:
    listed = run("--format", "json", "models", "list")
    assert listed.exit_code == 0, listed.output
    found = json.loads(listed.stdout)
    assert [(one["name"], one.get("default", False)) for one in found] == [
        ("openai:small", True),
        ("openai:big", False),
    ]
    table = run("models", "list", "BIG").stdout
    assert "openai:big" in table and "65,536" in table and "openai:small" not in table
    shown = run("models", "show", "big")
    assert "65,536 tokens together" in shown.stdout and "not known" in shown.stdout
    wrong = run("models", "show", "bag")
    assert wrong.exit_code == 4, wrong.output
    assert "did you mean openai:big" in wrong.output


def test_a_name_may_leave_out_its_prefix_where_that_is_clear() -> None:
    same = ModelInfo(name="ollama:gpt-x", provider="ollama")
    assert choose("llama3.2:1b", [KNOWN, BARE]) is BARE
    assert choose("ollama:gpt-x", [KNOWN, same]) is same
    with pytest.raises(CallerMistaken, match="ollama:gpt-x"):
        choose("gpt-x", [KNOWN, same])
    with pytest.raises(NotFound, match="umbrella models list"):
        choose("zzz", [])


def test_what_is_not_known_is_not_shown_as_nothing() -> None:
    table, one = modelling.models([KNOWN, BARE]), modelling.model(BARE)
    assert isinstance(table, Sheet) and isinstance(one, Facts)
    texts = [[cell.text for cell in cells] for cells in table.rows]
    assert texts == [
        ["openai:gpt-x", "default", "400,000", "?", "0.125", "?"],
        ["ollama:llama3.2:1b", "", "?", "?", "?", "?"],
    ]
    assert ("price read", "not known") in [(name, cell.text) for name, cell in one.pairs]
    free = ModelInfo(name="ollama:x", input_price=0.0)
    assert modelling.price(free.input_price).text == "0"
    empty = modelling.models([])
    assert isinstance(empty, Sheet) and "umbrella secret set" in empty.empty


def test_a_name_that_an_endpoint_made_up_cannot_draw_on_the_screen() -> None:
    evil = ModelInfo(name="openai:\x1b[2J\x1b]0;title\x07evil\nline")
    shown = modelling.models([evil])
    assert isinstance(shown, Sheet)
    text = shown.rows[0][0].text
    assert "\x1b" not in text and "\n" not in text and "evil" in text
