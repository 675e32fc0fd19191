import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.arguments import duration, json_object, limits, moment, pairs
from mcp_interface.errors import CallerMistaken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604800), ("1h30m", 5400), ("0.5s", 0.5)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "1y", "h", "-1h", "0s", "1h x", "1 h"])
def test_what_is_not_a_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CallerMistaken, match="is not a duration") as refused:
        duration(text)
    assert "30s" in refused.value.remedy


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(CallerMistaken):
        assert duration(text) > 0


@given(st.text(st.characters(codec=None)))
def test_any_text_is_a_json_object_or_refused(text: str) -> None:
    with contextlib.suppress(CallerMistaken):
        assert isinstance(json_object(text), dict)


def test_arguments_must_be_an_object() -> None:
    assert json_object("") == {}
    assert json_object('{"path": "/tmp"}') == {"path": "/tmp"}
    with pytest.raises(CallerMistaken, match="JSON list, not an object"):
        json_object("[1]")


def test_pairs_keep_what_stands_behind_the_first_sign() -> None:
    assert pairs(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    with pytest.raises(CallerMistaken, match="not KEY=VALUE"):
        pairs(["A"])


NOW = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00+02:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_while_ago_or_a_time_in_utc(text: str, instant: datetime) -> None:
    assert moment(text, NOW) == instant
    assert moment(text, NOW).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2h x", "-2h", "999999999w"])
def test_what_is_not_a_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CallerMistaken, match="is not a moment") as refused:
        moment(text, NOW)
    assert "2h" in refused.value.remedy


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(CallerMistaken):
        assert moment(text, NOW).utcoffset() == timedelta(0)


def test_limits_are_read_as_json() -> None:
    given_ = ['allowed_hosts=["example.org"]', "max_bytes=1000", 'x={"a": "b=c"}', "max_bytes=2"]
    assert limits(given_) == {"allowed_hosts": ["example.org"], "max_bytes": 2, "x": {"a": "b=c"}}


@pytest.mark.parametrize("text", ["max_bytes", "=1", "max_bytes=", "max_bytes=many", "x={"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(CallerMistaken):
        limits([text])
