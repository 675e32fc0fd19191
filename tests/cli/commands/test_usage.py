"""What models used and cost, summed up as somebody wants it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mcp_cli.commands.usage import cost, sheet
from mcp_cli.main import cli
from mcp_interface.budget import Spent
from mcp_interface.conversing import UsageRow
from scripted_model import ScriptedModel, scripted_model


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    with scripted_model([]) as running:
        for name, value in running.environ("openai").items():
            monkeypatch.setenv(name, value)
        yield running


def run(place: Path, *words: str) -> Result:
    arguments = ["--data-dir", str(place), "--embed", *words]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_what_was_used_is_summed_up_by_session_model_and_day(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "umbrella").mkdir()
    card = '[models.cards."*scripted-1"]\ninput_price = 2.0\noutput_price = 4.0\n'
    (tmp_path / "umbrella" / "config.toml").write_text(card)
    model.add({"text": "one", "usage": [1000, 500]}, {"text": "two", "usage": [2000, 250]})
    place = tmp_path / "node"
    for words in ("first", "second"):
        assert run(place, "ask", words).exit_code == 0
    told: dict[str, Any] = {
        by: json.loads(run(place, "--format", "json", "usage", "--by", by, "--since", "1d").stdout)
        for by in ("session", "model", "day")
    }
    assert sorted(row["title"] for row in told["session"]) == ["first", "second"]
    for rows in told.values():
        assert sum(row["spent"]["input_tokens"] for row in rows) == 3000
        assert sum(row["spent"]["output_tokens"] for row in rows) == 750
        assert sum(row["spent"]["cost"] for row in rows) == pytest.approx(0.009)
    shown = run(place, "usage", "--by", "session").stdout
    assert "$0.0090" in shown and "all" in shown
    assert run(place, "usage", "--since", "tomorrow").exit_code == 2


def test_a_price_that_is_not_known_is_never_nothing() -> None:
    assert cost(Spent()) == "$0.0000"
    assert cost(Spent(answers=2, unpriced=2)) == "?"
    assert cost(Spent(answers=2, unpriced=1, cost=0.5)) == "$0.5000+?"
    rows = [UsageRow(key="a", spent=Spent(answers=1, unpriced=1)), UsageRow(key="b", spent=Spent(answers=1))]
    told = sheet(rows, "model")
    assert told.note.startswith("1 answers") and len(told.rows) == 3
