"""What the parts of the client exam share: an entrance to one node, and how to wait for what follows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from mcp_interface.client import Client, ClientInfo, Notice
from mcp_interface.commands import Page, Posted, PostMessage, ReadSession
from mcp_interface.errors import TooMuch
from mcp_interface.events import TurnEnded, UserMessage
from mcp_interface.ids import SessionId
from mcp_interface.store import Record
from mcp_interface.testing.exams.asserting import within


class Entrance(Protocol):
    """One open node, as the exam needs it; the door of a real node has this shape, too."""

    @property
    def owner_token(self) -> str:
        """The token that connects as the node's owner."""
        ...

    def client(self) -> Client:
        """Make a client of that node which is not connected yet."""
        ...


@asynccontextmanager
async def connected(entrance: Entrance, session_id: SessionId | None = None) -> AsyncIterator[Client]:
    """Connect a new client as the owner, and disconnect it."""
    client = entrance.client()
    await client.connect(ClientInfo(name="exam", token=entrance.owner_token, session_id=session_id))
    try:
        yield client
    finally:
        await client.disconnect("the exam is over")


async def leave(stream: AsyncIterator[Notice]) -> None:
    """Stop following, as a reader does that has seen enough."""
    close: Any = getattr(stream, "aclose", None)
    assert close is not None, "a follow can be closed"
    await close()


async def next_record(stream: AsyncIterator[Notice]) -> Record:
    """Wait for the next record; what passes by in between is no promise."""
    while not isinstance(notice := await anext(stream), Record):
        pass
    return notice


async def records_until(
    client: Client, session_id: SessionId | None, after: int, enough: Callable[[list[Record]], bool]
) -> list[Record]:
    """Follow until there is enough; where a slow reader was cut off, follow on from the last position."""
    records: list[Record] = []

    async def read() -> None:
        while True:
            stream = client.follow(session_id, after=records[-1].position if records else after)
            try:
                async for notice in stream:
                    if isinstance(notice, Record):
                        records.append(notice)
                    if enough(records):
                        return
                raise AssertionError(f"a follow ended by itself after {len(records)} records")
            except TooMuch:
                continue
            finally:
                await leave(stream)

    await within(read(), f"following from position {after}")
    return records


async def read_whole(client: Client, session_id: SessionId, limit: int = 200) -> list[Record]:
    """Read all of a session, page by page."""
    records: list[Record] = []
    cursor: str | None = None
    while True:
        page: Page[Record] = await client.request(
            ReadSession(session_id=session_id, limit=limit, cursor=cursor)
        )
        assert len(page.items) <= limit, f"a page of {limit} has {len(page.items)} items"
        assert page.items or page.cursor is None, "an empty page is the last one"
        records += page.items
        cursor = page.cursor
        if cursor is None:
            return records


async def say(client: Client, session_id: SessionId, text: str) -> tuple[Posted, list[Record]]:
    """Post a message and wait until the turn that it begins has ended, however it ends."""
    posted = await client.request(PostMessage(session_id=session_id, text=text))
    records = await records_until(
        client,
        session_id,
        posted.position - 1,
        lambda records: any(isinstance(record.event, TurnEnded) for record in records),
    )
    first = records[0]
    assert first.position == posted.position, f"the message is at {posted.position}, not {first.position}"
    assert isinstance(first.event, UserMessage), f"a message is remembered first: {first.event}"
    assert (first.event.message_id, first.event.text) == (posted.message_id, text), "it says what was said"
    return posted, records
