import asyncio
from collections.abc import Callable

import pytest

from mcp_cli.attachment import Attachment, Opened, State
from mcp_interface.client import ClientInfo, Notice
from mcp_interface.clock import SystemClock
from mcp_interface.commands import CreateSession, GetStatus, PostMessage
from mcp_interface.errors import NodeUnavailable
from mcp_interface.events import UserMessage
from mcp_interface.ids import SessionId
from mcp_interface.store import Record
from mcp_interface.testing import FakeNode


class Listener:
    def __init__(self) -> None:
        self.states: list[State] = []
        self.records: list[Record] = []
        self.news = asyncio.Event()

    def noticed(self, session_id: SessionId | None, notice: Notice) -> None:
        if session_id is not None and isinstance(notice, Record):
            self.records.append(notice)
        self.news.set()

    def attached(self, state: State, detail: str) -> None:
        self.states.append(state)
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def texts(self) -> list[str]:
        return [record.event.text for record in self.records if isinstance(record.event, UserMessage)]


class FakeOpener:
    """Opens clients of a fake node; `break_off` is what a dying node does to them."""

    def __init__(self, node: FakeNode, *, dies: bool = True) -> None:
        self._node = node
        self._dies = dies
        self._clients: list[object] = []
        self.up = True
        self.starts = 0

    async def open(self, start: bool) -> Opened:
        self.starts += start
        if not self.up and not start:
            raise NodeUnavailable("no node runs", "start one")
        self.up = True
        client = self._node.client()
        welcome = await client.connect(ClientInfo(name="test", token=self._node.owner_token))
        self._clients.append(client)
        return Opened(client, welcome, client.disconnect)

    async def crashed(self) -> bool:
        return self._dies

    async def break_off(self) -> None:
        self.up = False
        client = self._clients[-1]
        await client.disconnect("broken")  # type: ignore[attr-defined]


def test_after_a_break_it_follows_on_without_a_gap_or_a_repeat() -> None:
    async def scenario() -> None:
        async with FakeNode() as node:
            opener, listener = FakeOpener(node), Listener()
            attachment = Attachment(opener, SystemClock(), listener)
            running = asyncio.create_task(attachment.run())
            session = await attachment.request(CreateSession(title="x"))
            attachment.attend(session.id)
            await attachment.request(PostMessage(session_id=session.id, text="one"))
            await listener.until(lambda: listener.texts() == ["one"])
            other = node.client()
            await other.connect(ClientInfo(name="other", token=node.owner_token))
            await opener.break_off()
            await other.request(PostMessage(session_id=session.id, text="two"))
            await listener.until(lambda: listener.states.count("connected") == 2)
            await attachment.request(PostMessage(session_id=session.id, text="three"))
            await listener.until(lambda: listener.texts() == ["one", "two", "three"])
            positions = [record.position for record in listener.records]
            assert positions == sorted(set(positions))
            assert listener.states == ["connected", "lost", "connected"]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_a_node_that_was_stopped_is_started_only_when_something_is_asked() -> None:
    async def scenario() -> None:
        async with FakeNode() as node:
            opener, listener = FakeOpener(node, dies=False), Listener()
            attachment = Attachment(opener, SystemClock(), listener)
            running = asyncio.create_task(attachment.run())
            await attachment.request(GetStatus())
            await opener.break_off()
            await listener.until(lambda: listener.states[-1] == "stopped")
            before = opener.starts
            await attachment.request(GetStatus())
            assert opener.starts == before + 1
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_a_node_that_never_comes_is_told_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_cli.attachment.PATIENCE_S", 0.2)

    class Never:
        async def open(self, start: bool) -> Opened:
            raise NodeUnavailable("it did not come up", "see its log")

        async def crashed(self) -> bool:
            return False

    async def scenario() -> None:
        attachment = Attachment(Never(), SystemClock(), Listener())
        running = asyncio.create_task(attachment.run())
        with pytest.raises(NodeUnavailable, match="it did not come up"):
            await attachment.request(GetStatus())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
