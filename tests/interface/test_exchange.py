"""Frames are brought to whom they concern, whatever has come before and whoever has left."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mcp_interface.client import Failure, Happened, Result, Welcome
from mcp_interface.errors import NodeUnavailable, NotFound, OurBug
from mcp_interface.events import SessionEnded
from mcp_interface.exchange import Exchange, welcomed
from mcp_interface.ids import PrincipalId
from mcp_interface.store import Record
from mcp_interface.testing import START


def run(work: Callable[[Exchange], Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work(Exchange())

    asyncio.run(bounded())


def result(key: int, text: str) -> Result:
    return Result(id=key, value=msgspec.Raw(text.encode()))


def test_each_answer_reaches_who_asked_in_any_order_and_once() -> None:
    async def work(exchange: Exchange) -> None:
        (first, one), (second, two), (third, three) = (exchange.expect() for _ in range(3))
        exchange.take(result(second, "2"), 1)
        exchange.take(result(second, "again"), 1)
        exchange.take(Failure(id=third, error=NotFound("nowhere").body()), 1)
        exchange.settle(first)
        exchange.take(result(first, "late"), 1)
        exchange.take(result(99, "nobody's"), 1)
        assert bytes((await two).value) == b"2" and not one.done()
        with pytest.raises(NotFound, match="nowhere"):
            await three

    run(work)


def test_a_follow_gets_its_own_records_until_it_ends() -> None:
    async def work(exchange: Exchange) -> None:
        key, backlog = exchange.follow(0)
        other, _ = exchange.follow(0)
        assert exchange.leave(other) and not exchange.leave(other)
        told = Record(position=1, stream="s", version=1, epoch=1, event=SessionEnded(timestamp=START))
        for number in (key, other, 99):
            exchange.take(Happened(id=number, record=told), 10)
        exchange.take(Failure(id=key, error=NotFound("over").body()), 1)
        assert not exchange.leave(key), "the node had ended it"
        notices = backlog.notices()
        assert await anext(notices) == told
        with pytest.raises(NotFound, match="over"):
            await anext(notices)

    run(work)


def test_at_the_end_everybody_who_waits_is_told_why() -> None:
    async def work(exchange: Exchange) -> None:
        _, answer = exchange.expect()
        _, backlog = exchange.follow(0)
        exchange.end(NodeUnavailable("gone"))
        exchange.end(NodeUnavailable("gone twice"))
        with pytest.raises(NodeUnavailable, match=r"^gone$"):
            await answer
        with pytest.raises(NodeUnavailable, match="gone"):
            await anext(backlog.notices())

    run(work)


def test_a_node_begins_with_a_welcome_or_says_why_not() -> None:
    welcome = Welcome(principal_id=PrincipalId("user_1"), session_id=None, version="1", position=0)
    assert welcomed(welcome) is welcome
    with pytest.raises(NotFound):
        welcomed(Failure(id=0, error=NotFound("no such session").body()))
    with pytest.raises(OurBug, match="began with Result"):
        welcomed(result(1, "1"))


def test_a_late_welcome_concerns_nobody() -> None:
    exchange = Exchange()
    exchange.take(Welcome(principal_id=PrincipalId("system"), session_id=None, version="1", position=0), 10)
