import asyncio
import sqlite3
import string
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_interface.clock import SystemClock
from mcp_interface.errors import CallerMistaken, StorageUnavailable
from mcp_interface.events import AssistantMessage, EventBase
from mcp_interface.ids import AgentId, MessageId, TurnId
from mcp_interface.testing import ManualClock, MemoryStore
from mcp_interface.testing.samples import a_beginning, a_message
from mcp_interface.testing.time import START
from mcp_persistence import EventCodec, SqliteJournal
from mcp_persistence.projections import text
from mcp_persistence.projections.text import LONGEST, MOST_TERMS, TextIndex, parse
from persistence.projections.rows import ALL_KINDS, open_store, run


async def say(store, stream, *texts):
    epoch = await store.claim()
    version = next((info.version for info in await store.streams(stream)), 0)
    events = [a_message(version + place, each) for place, each in enumerate(texts, start=1)]
    await store.append(stream, events, expected=version, epoch=epoch)


@asynccontextmanager
async def indexed(store, folder, **options):
    index = await TextIndex.open(store, folder, SystemClock(), **options)
    try:
        await index.projector.wait_for(await store.head())
        yield index
    finally:
        await index.close()


async def found(index, query, **options):
    return [(hit.stream, hit.version) for hit in await index.search(query, **options)]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_messages_are_found_by_their_words(kind, tmp_path):
    async def body():
        store = await open_store(kind, tmp_path)
        await store.append("session:1", [a_beginning()], expected=0, epoch=await store.claim())
        await say(store, "session:1", "The Café by the river", "closed on Mondays", "a river, a boat")
        await say(store, "session:2", "No cafeteria here", "boats on the river")
        async with indexed(store, tmp_path) as index:
            assert await found(index, "cafe") == [("session:1", 2)]
            assert await found(index, "CAFÉ river") == [("session:1", 2)]
            assert sorted(await found(index, "caf*")) == [("session:1", 2), ("session:2", 1)]
            assert await found(index, '"on the river"') == [("session:2", 2)]
            assert sorted(await found(index, "river", streams="session:1")) == [
                ("session:1", 2),
                ("session:1", 4),
            ]
            assert await found(index, "river", streams="*:2") == [("session:2", 2)]
            assert await found(index, "ocean") == []
            await say(store, "session:3", "the ocean")
            await index.projector.wait_for(await store.head())
            assert await found(index, "ocean") == [("session:3", 1)]
        await store.close()

    run(body)


def test_a_hit_says_where_it_is_and_shows_the_words_around(tmp_path):
    async def body():
        store = MemoryStore()
        await say(store, "session:1", " ".join(["before"] * 50 + ["needle"] + ["behind"] * 50))
        async with indexed(store, tmp_path) as index:
            hit = (await index.search("needle"))[0]
        assert (hit.position, hit.stream, hit.version) == (1, "session:1", 1)
        assert "needle" in hit.snippet
        assert len(hit.snippet.split()) < 20

    run(body)


def test_what_the_assistant_said_is_found_too(tmp_path):
    async def body():
        store = MemoryStore()
        said = AssistantMessage(
            timestamp=START,
            message_id=MessageId("m"),
            turn_id=TurnId("t"),
            agent_id=AgentId("a"),
            text="forty-two",
        )
        await store.append("session:1", [said], expected=0, epoch=await store.claim())
        async with indexed(store, tmp_path) as index:
            assert await found(index, "forty-two") == [("session:1", 1)]

    run(body)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_what_was_deleted_is_not_found_before_and_not_in_the_file_after_the_sweep(kind, tmp_path):
    async def body():
        store = await open_store(kind, tmp_path)
        await say(store, "session:1", "my secret is zanzibarian")
        await say(store, "session:2", "no secret")
        async with indexed(store, tmp_path) as index:
            assert len(await found(index, "secret")) == 2
            await store.delete_stream("session:1")
            assert await found(index, "secret") == [("session:2", 1)]
            assert await found(index, "zanzibarian") == []
            await say(store, "session:1", "nothing to see")
            assert await found(index, "zanzibarian") == []
            await store.delete_stream("session:1")
            await index.projector.sweep()
            for file in tmp_path.glob("text.db*"):
                assert b"zanzibar" not in file.read_bytes()
            assert await found(index, "secret") == [("session:2", 1)]
        await store.close()

    run(body)


def test_pages_follow_one_another_and_skip_what_is_gone(tmp_path):
    async def body():
        store = MemoryStore()
        for number in range(30):
            await say(store, f"session:{number:02}", "word " * (1 + number % 4))
        async with indexed(store, tmp_path) as index:
            for number in range(0, 30, 3):
                await store.delete_stream(f"session:{number:02}")
            hits, after = [], None
            while page := await index.search("word", limit=4, after=after):
                assert len(page) == 4
                hits += page
                after = page[-1]
            assert sorted(hit.position for hit in hits) == [n + 1 for n in range(30) if n % 3]
            assert [hit.rank for hit in hits] == sorted(hit.rank for hit in hits)

    run(body)


def test_of_too_many_that_fit_the_newest_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "RANKED", 3)

    async def body():
        store = MemoryStore()
        await say(store, "session:1", *["word"] * 10)
        async with indexed(store, tmp_path) as index:
            assert sorted(await found(index, "word")) == [("session:1", version) for version in (8, 9, 10)]

    run(body)


class Note(EventBase, frozen=True, kw_only=True, tag="note"):
    title: str
    body: str


def test_a_library_s_own_events_are_found_by_its_own_table(tmp_path):
    async def body():
        store = await SqliteJournal.open(tmp_path / "journal.db", ManualClock(), codec=EventCodec(Note))
        note = Note(timestamp=START, title="Shopping", body="milk")
        await store.append("notes", [note], expected=0, epoch=await store.claim())
        texts = {Note: lambda event: f"{event.title}\n{event.body}"}
        async with indexed(store, tmp_path, texts=texts) as index:
            assert await found(index, "shopping milk") == [("notes", 1)]
        texts = {Note: lambda event: event.title}
        async with indexed(store, tmp_path, texts=texts, version=2) as index:
            assert await found(index, "milk") == []
        await store.close()

    run(body)


def test_without_fts5_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_MODULE", "fts_of_tomorrow")

    async def body():
        with pytest.raises(StorageUnavailable, match="FTS5"):
            await TextIndex.open(MemoryStore(), tmp_path, ManualClock())

    run(body)


@pytest.mark.parametrize(
    "query", ["", "   ", '""', '"', "*", "?!", "a" * (LONGEST + 1), "a " * (MOST_TERMS + 1)]
)
def test_a_query_without_words_or_with_too_many_is_refused(query):
    with pytest.raises(CallerMistaken):
        parse(query)


LANGUAGE = [
    "AND",
    "OR",
    "NOT",
    "NEAR(a b, 2)",
    "text:a",
    "^a",
    "a+b",
    "{text}",
    "(",
    ")",
    "a**",
    "'",
    '"a',
    "-a",
    "\0",
]


@pytest.fixture(scope="module")
def words():
    """An index without a journal: enough for whatever FTS5 might object to."""
    with sqlite3.connect(":memory:", check_same_thread=False) as db:
        text.TextProjection().prepare(db)
        db.execute("INSERT INTO words (rowid, text) VALUES (1, 'a b c and or not near text')")
        db.execute("INSERT INTO messages VALUES (1, 'session:1', 1)")
    yield db
    db.close()


@given(
    query=st.one_of(
        st.text(),
        st.text(alphabet=st.sampled_from(string.printable)),
        st.lists(st.sampled_from(LANGUAGE)).map(" ".join),
        st.lists(st.sampled_from(LANGUAGE)).map("".join),
    )
)
@example('a"b*"*c')
@example("\ud800")
def test_whatever_is_typed_is_searched_for_or_refused_as_the_caller_s_mistake(words, query):
    try:
        expression = parse(query)
        expression.encode()
    except (CallerMistaken, UnicodeEncodeError):  # the second is translated where SQLite is called
        return
    text._find(words, expression, "*", 20, None)


def test_a_lone_surrogate_is_the_caller_s_mistake(tmp_path):
    async def body():
        async with indexed(MemoryStore(), tmp_path) as index:
            with pytest.raises(CallerMistaken):
                await index.search("a\ud800")

    run(body)


def test_words_of_the_query_language_are_words(words):
    for query in ("and or not", "near", '"a b"', "text"):
        assert text._find(words, parse(query), "*", 20, None)
    assert not text._find(words, parse("a NOT z"), "*", 20, None)


def test_searching_goes_on_while_it_is_made_anew(tmp_path):
    async def body():
        store = MemoryStore()
        await say(store, "session:1", *["word"] * 50)
        async with indexed(store, tmp_path) as index:
            searches = [asyncio.create_task(index.search("word", limit=50)) for _ in range(5)]
            await index.projector.rebuild()
            await asyncio.gather(*searches, return_exceptions=True)
            await index.projector.wait_for(50)
            assert len(await index.search("word", limit=50)) == 50
            assert msgspec.structs.asdict((await index.search("word"))[0])["stream"] == "session:1"

    run(body)
