import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mcp_cli.presenters import ago, span
from mcp_cli.sheet import Cell, Facts, Prose, Sheet, facts, row
from mcp_cli.terminal import renderable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(shown: Sheet | Facts | Prose) -> str:
    output = io.StringIO()
    Console(file=output, width=200, markup=False, emoji=False, highlight=False).print(renderable(shown))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "1 ms"),
        (0.42, "420 ms"),
        (3.21, "3.2 s"),
        (59, "59 s"),
        (300, "5 min"),
        (7200, "2 h"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_end_that_is_almost_a_whole_unit_away_is_told_as_that_unit() -> None:
    assert ago(NOW + timedelta(hours=1) - timedelta(milliseconds=3), NOW) == "in 1 h"
    assert ago(NOW - timedelta(days=3), NOW) == "3 d ago"
    assert ago(NOW, NOW) == "now"


def test_data_is_never_read_as_markup_or_as_an_escape() -> None:
    text = drawn(Sheet(columns=("a",), rows=[row("[bold]x[/bold] :smile: \x1b[31mred\x1b[0m [/nonsense]")]))
    assert text == "a\n[bold]x[/bold] :smile: red [/nonsense]"


def test_empty_columns_and_facts_are_left_out() -> None:
    assert drawn(Sheet(columns=("a", "b"), rows=[row("1", ""), row("2", "")])) == "a\n1\n2"
    assert drawn(facts(("a", "1"), ("b", ""), ("c", Cell("3", "bad")))) == "a  1\nc  3"
    assert drawn(Sheet(columns=("a",), rows=[], empty="add one")) == "add one"
