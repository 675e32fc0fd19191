"""The part of the client exam about sessions: created, listed, talked in, changed, ended."""

from typing import Any, Final

from mcp_interface.client import Client
from mcp_interface.commands import (
    ChangeSession,
    Command,
    CreateSession,
    EndSession,
    GetSession,
    GetStatus,
    ListSessions,
    Page,
    PostMessage,
    ReadSession,
)
from mcp_interface.errors import CallerMistaken, LostRace, NotFound
from mcp_interface.events import (
    SessionChanged,
    SessionCreated,
    SessionEnded,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from mcp_interface.ids import SessionId, new_id
from mcp_interface.session import Session
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.exams.connection import Entrance, connected, read_whole, say
from mcp_interface.testing.time import SeededEntropy

METADATA: Final[dict[str, Any]] = {
    "none": None,
    "zero": 0,
    "no": False,
    "empty": "",
    "list": [],
    "text": "ü\u2028\n",
}


async def _creates_sessions(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        before = await client.request(GetStatus())
        made = await client.request(CreateSession(title="", profile="ask", metadata=METADATA))
        made.validate()
        assert made.created_by == before.owner, "a session belongs to who created it"
        assert (made.title, made.profile, made.status) == ("", "ask", "active"), f"not as asked: {made}"
        assert made.metadata == METADATA, f"metadata is kept: {made.metadata}"
        types = {key: type(value) for key, value in made.metadata.items()}
        assert types == {key: type(value) for key, value in METADATA.items()}, "falsy values keep their type"
        assert await client.request(GetSession(session_id=made.id)) == made, "get gives what create gave"
        after = await client.request(GetStatus())
        assert after.position > before.position, "the journal has moved on"
        record = (await client.request(ReadSession(session_id=made.id))).items[0]
        assert isinstance(record.event, SessionCreated), f"a session begins with {record.event}"
        assert record.version == 1, "versions count from one"
        assert record.event.session_id == made.id, "it is its own stream"


async def _lists_sessions(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        made = [await client.request(CreateSession(title=f"{number}")) for number in range(5)]
        ids = [session.id for session in made]
        await say(client, ids[0], "wake up")
        listed = await _list_whole(client, limit=2)
        assert listed[0] == ids[0], "the latest activity comes first"
        assert [one for one in listed if one in ids] == [ids[0], *reversed(ids[1:])], "latest first"
        await client.request(EndSession(session_id=ids[1]))
        assert ids[1] not in await _list_whole(client, limit=50), "an ended session is not listed"
        assert ids[1] in await _list_whole(client, limit=3, ended=True), "unless it is asked for"
        with refuses(CallerMistaken, what="a page of zero items"):
            await client.request(ListSessions(limit=0))
        with refuses(CallerMistaken, what="a page of 1001 items"):
            await client.request(ListSessions(limit=1001))
        with refuses(CallerMistaken, what="a made-up cursor"):
            await client.request(ListSessions(cursor="made up"))


async def _list_whole(client: Client, *, limit: int, ended: bool = False) -> list[SessionId]:
    found: list[SessionId] = []
    cursor: str | None = None
    while True:
        page: Page[Session] = await client.request(ListSessions(limit=limit, cursor=cursor, ended=ended))
        assert len(page.items) <= limit, f"a page of {limit} has {len(page.items)} items"
        found += [session.id for session in page.items]
        assert len(set(found)) == len(found), "pages repeat nothing"
        cursor = page.cursor
        if cursor is None:
            return found


async def _talks(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession())
        texts = ["hello", "ü 🎉 \u2028 \x85 \t\n\n", "x" * 300_000, " "]
        for text in texts:
            posted, records = await say(client, session.id, text)
            assert posted.session_id == session.id, "the message is in its session"
            started = [record.event for record in records if isinstance(record.event, TurnStarted)]
            ended = [record.event for record in records if isinstance(record.event, TurnEnded)]
            assert len(started) == len(ended) == 1, f"one turn for one message: {records}"
            assert started[0].turn_id == ended[0].turn_id, "the turn that began is the one that ended"
            assert ended[0].status != "failed" or ended[0].error is not None, "a failed turn says why"
        read = await client.request(GetSession(session_id=session.id))
        assert read.message_count >= 4, f"messages are counted: {read.message_count}"
        assert read.updated_at >= session.updated_at, "a session that changes was updated"
        whole = await read_whole(client, session.id)
        said = [record.event.text for record in whole if isinstance(record.event, UserMessage)]
        assert said == texts, f"every message is remembered once: {[text[:20] for text in said]}"
        for text in ("", "x" * 1_000_001):
            with refuses(CallerMistaken, what=f"a message of {len(text)} characters"):
                await client.request(PostMessage(session_id=session.id, text=text))
        assert await read_whole(client, session.id) == whole, "a refused message leaves no trace"


async def _reads_pages(entrance: Entrance) -> None:
    async with connected(entrance) as client, connected(entrance) as other:
        session = await client.request(CreateSession())
        for number in range(7):
            await client.request(ChangeSession(session_id=session.id, title=f"title {number}"))
        whole = await read_whole(client, session.id)
        assert [record.version for record in whole] == list(range(1, len(whole) + 1)), "in order, no gap"
        assert {record.stream for record in whole} == {f"session:{session.id}"}, "of this session only"
        assert len(whole) >= 8, f"every change is remembered: {whole}"
        for limit in (1, 3, 1000):
            assert await read_whole(other, session.id, limit=limit) == whole, f"pages of {limit} add up"
        with refuses(CallerMistaken, what="a made-up cursor"):
            await client.request(ReadSession(session_id=session.id, cursor="made up"))


async def _changes_sessions(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession(title="before", profile="careful", model="one"))
        for change, expected in (
            (ChangeSession(session_id=session.id), ("before", "careful", "one")),
            (ChangeSession(session_id=session.id, title="after"), ("after", "careful", "one")),
            (ChangeSession(session_id=session.id, profile="open"), ("after", "open", "one")),
            (ChangeSession(session_id=session.id, title="", model=""), ("", "open", "")),
        ):
            changed = await client.request(change)
            assert (changed.title, changed.profile, changed.model) == expected, f"not {expected}: {changed}"
            assert await client.request(GetSession(session_id=session.id)) == changed, "get agrees"
        events = [record.event for record in await read_whole(client, session.id)]
        titles = [event.title for event in events if isinstance(event, SessionChanged)]
        assert titles[-1] == "" and "after" in titles, f"changes are remembered: {titles}"


async def _ends_sessions(entrance: Entrance) -> None:
    async with connected(entrance) as client:
        session = await client.request(CreateSession())
        await say(client, session.id, "goodbye")
        for _ in range(2):
            command: Command[Any] = EndSession(session_id=session.id, reason="exam")
            assert await client.request(command) is None, "ending gives nothing back"
        over = await client.request(GetSession(session_id=session.id))
        assert over.status == "terminated", f"an ended session is terminated, not {over.status}"
        whole = await read_whole(client, session.id)
        reasons = [record.event.reason for record in whole if isinstance(record.event, SessionEnded)]
        assert reasons == ["exam"], f"it ends once: {reasons}"
        too_late: tuple[Command[Any], ...] = (
            PostMessage(session_id=session.id, text="still there?"),
            ChangeSession(session_id=session.id, title="too late"),
        )
        for command in too_late:
            with refuses(CallerMistaken, LostRace, NotFound, what=f"{type(command).__name__} after the end"):
                await client.request(command)
        assert await read_whole(client, session.id) == whole, "nothing is added to an ended session"


async def _knows_only_its_sessions(entrance: Entrance) -> None:
    unknown = SessionId(new_id("session", SeededEntropy(405)))
    commands: tuple[Command[Any], ...] = (
        GetSession(session_id=unknown),
        ReadSession(session_id=unknown),
        PostMessage(session_id=unknown, text="hello?"),
        ChangeSession(session_id=unknown, title="new"),
        EndSession(session_id=unknown),
    )
    async with connected(entrance) as client:
        for command in commands:
            with refuses(NotFound, what=f"{type(command).__name__} of an unknown session"):
                await client.request(command)


CONVERSATION: Final = (
    _creates_sessions,
    _lists_sessions,
    _talks,
    _reads_pages,
    _changes_sessions,
    _ends_sessions,
    _knows_only_its_sessions,
)
"""Every part; `check_client` runs them."""
