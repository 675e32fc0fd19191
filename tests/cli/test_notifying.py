"""What is worth a bell."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from mcp_cli.notifying import LONG_S, WIDTH, news
from mcp_interface.events import TurnEnded
from mcp_interface.ids import TurnId

AT = datetime(2026, 11, 22, tzinfo=UTC)


def ended(status: str) -> TurnEnded:
    return TurnEnded(timestamp=AT, turn_id=TurnId("turn_1"), status=status)  # type: ignore[arg-type]  # one of its words


STATUSES = get_args(TurnEnded.__annotations__["status"])


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "cancelled"])
def test_the_end_of_a_turn_is_news_to_who_looks_elsewhere_or_waited_long(status: str) -> None:
    event = ended(status)
    assert news(event, focused=False, took_s=None)
    assert not news(event, focused=True, took_s=None)
    assert not news(event, focused=True, took_s=LONG_S)
    assert news(event, focused=True, took_s=LONG_S + 1)


def test_what_the_person_did_is_no_news() -> None:
    assert news(ended("cancelled"), focused=False, took_s=100.0) == ""


def test_a_title_ends_nothing_and_is_cut() -> None:
    told = news(ended("completed"), focused=False, took_s=1.0, title="x\x07\x1b]0;bad\x07" + "y" * 300)
    assert told.startswith("the assistant has answered: x")
    assert len(told) <= WIDTH
    assert told.isprintable()
