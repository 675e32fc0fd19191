"""What was said is found by whoever owns the session, and by nobody else."""

import asyncio
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core import Node, Settings
from mcp_core.gateway.searching import BEGIN, END, SNIPPET, as_typed, mark
from mcp_interface.access import CreateKey
from mcp_interface.client import Client, ClientInfo
from mcp_interface.commands import ChangeSession, EndSession, GetSession, GrantCapability, Page, ReadSession
from mcp_interface.conversing import FoundMessage, ImportedMessage, ImportSession, SearchMessages
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, StorageUnavailable
from mcp_interface.events import AssistantMessage, UserMessage
from mcp_interface.ids import SessionId

WORDS = ("river", "stone", "bridge", "Brücke", "lamp")
SAID = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)),
    min_size=1,
    max_size=12,
)
"""Who says it, in which of their sessions, in which words."""


async def said(client: Client, *texts: str, title: str = "") -> SessionId:
    roles: Any = ("user", "assistant")
    messages = [ImportedMessage(role=roles[at % 2], content=text) for at, text in enumerate(texts)]
    return (await client.request(ImportSession(messages=messages, title=title))).id


async def caught_up(node: Node, client: Client) -> None:
    """Wait until the index holds all that is in the journal: what was said last is found."""
    mark = f"mark{(await client.request(GetSession(session_id=await said(client, 'begin')))).id[-12:]}"
    await said(client, mark)
    async with asyncio.timeout(20):
        while not (await client.request(SearchMessages(text=mark))).items:
            await asyncio.sleep(0.01)


async def everything(client: Client, text: str, limit: int) -> list[FoundMessage]:
    found: list[FoundMessage] = []
    page: Page[FoundMessage] = Page(items=[], cursor="0")
    while page.cursor is not None:
        page = await client.request(SearchMessages(text=text, limit=limit, cursor=page.cursor))
        found += page.items
    return found


async def two_persons(node: Node) -> tuple[Client, Client]:
    owner, other = node.client(), node.client()
    await owner.connect(ClientInfo(name="owner", token=node.owner_token))
    key = await owner.request(CreateKey(name="other"))
    who = (await other.connect(ClientInfo(name="other", token=key.secret))).principal_id
    await owner.request(GrantCapability(agent=who, resource_uri="mcp://tool/execute/assistant/ask"))
    return owner, other


@settings(deadline=None, max_examples=8)
@given(SAID, st.sampled_from(WORDS), st.integers(1, 4))
def test_everybody_finds_their_own_messages_and_only_those(said_: Any, word: str, limit: int) -> None:
    async def scenario(folder: Path) -> None:
        async with asyncio.timeout(60), Node(Settings(data_dir=folder)) as node:
            persons = await two_persons(node)
            theirs: list[dict[SessionId, list[str]]] = [{}, {}]
            for who in (0, 1):
                for place in (0, 1, 2):
                    texts = [" ".join(words) for by, where, words in said_ if (by, where) == (who, place)]
                    if texts:
                        theirs[who][await said(persons[who], *texts)] = texts
            await caught_up(node, persons[0])
            for who, client in enumerate(persons):
                found = await everything(client, word, limit)
                assert {each.session_id for each in found} <= set(theirs[who])
                expected = sorted(
                    (session, text)
                    for session, texts in theirs[who].items()
                    for text in texts
                    if word in text
                )
                told = [(each.session_id, plain(each.snippet)) for each in found]
                assert sorted(told) == expected
                for each in found:
                    record = (
                        await client.request(
                            ReadSession(session_id=each.session_id, cursor=str(each.version - 1), limit=1)
                        )
                    ).items[0]
                    assert isinstance(record.event, UserMessage | AssistantMessage)
                    assert record.event.text == plain(each.snippet)

    with TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


def plain(snippet: str) -> str:
    return snippet.replace(BEGIN, "").replace(END, "")


def test_a_stranger_finds_nothing_of_a_session_that_is_not_theirs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), Node(Settings(data_dir=tmp_path)) as node:
            owner, other = await two_persons(node)
            session = await said(owner, "the secret river", title="hers")
            await caught_up(node, owner)
            assert (await owner.request(SearchMessages(text="river", session_id=session))).items
            assert (await other.request(SearchMessages(text="river"))).items == []
            with pytest.raises(NotFound):
                await other.request(SearchMessages(text="river", session_id=session))

    asyncio.run(scenario())


def test_ended_sessions_and_new_titles_are_found_after_a_restart_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60):
            async with Node(Settings(data_dir=tmp_path)) as node:
                owner, _ = await two_persons(node)
                session = await said(owner, "where is the Brücke?", "behind the lamp")
                await owner.request(ChangeSession(session_id=session, title="a walk"))
                await owner.request(EndSession(session_id=session))
            text = tmp_path / "search" / "text.db"
            assert text.stat().st_mode & 0o077 == 0 and text.parent.stat().st_mode & 0o077 == 0
            text.write_bytes(b"damaged" * 1000)  # it is made anew from the journal
            for leftover in text.parent.glob("text.db-*"):
                leftover.unlink()
            async with Node(Settings(data_dir=tmp_path)) as node:
                owner = node.client()
                await owner.connect(ClientInfo(name="owner", token=node.owner_token))
                await caught_up(node, owner)
                [found] = (await owner.request(SearchMessages(text="bruck"))).items
                assert (found.session_id, found.title, found.role) == (session, "a walk", "user")
                assert found.snippet == f"where is the {BEGIN}Brücke{END}?"
                assert (await owner.request(SearchMessages(text='"the lamp"'))).items[0].role == "assistant"

    asyncio.run(scenario())


def test_a_query_without_a_word_is_refused_and_no_index_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "search").write_text("a file, where the folder of the index should be")

    async def scenario() -> None:
        async with asyncio.timeout(60), Node(Settings(data_dir=tmp_path)) as node:
            owner, _ = await two_persons(node)
            with pytest.raises(StorageUnavailable, match="no index"):
                await owner.request(SearchMessages(text="river"))
        (tmp_path / "search").unlink()
        async with asyncio.timeout(60), Node(Settings(data_dir=tmp_path)) as node:
            owner = node.client()
            await owner.connect(ClientInfo(name="owner", token=node.owner_token))
            for text in ("", "…", "*"):
                with pytest.raises(CallerMistaken):
                    await owner.request(SearchMessages(text=text))
            with pytest.raises(CallerMistaken, match="cursor"):
                await owner.request(SearchMessages(text="river", cursor="-1"))

    asyncio.run(scenario())


def test_bringing_words_in_needs_the_right_to_say_them_and_leaves_nothing_without(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), Node(Settings(data_dir=tmp_path)) as node:
            owner = node.client()
            await owner.connect(ClientInfo(name="owner", token=node.owner_token))
            key = await owner.request(CreateKey(name="other"))
            other = node.client()
            await other.connect(ClientInfo(name="other", token=key.secret))
            with pytest.raises(NotPermitted):
                await said(other, "hello")

    asyncio.run(scenario())


def test_an_imported_session_says_whence_it_came_and_nothing_begins_in_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), Node(Settings(data_dir=tmp_path)) as node:
            owner, _ = await two_persons(node)
            session = await owner.request(GetSession(session_id=await said(owner, "one", "two", "three")))
            assert (session.metadata["imported"], session.title, session.busy) == ("true", "one", False)
            assert session.message_count == 3 and len(session.agents) == 1

    asyncio.run(scenario())


@given(st.text(max_size=1200), st.text(max_size=40))
def test_marks_change_nothing_but_the_length(text: str, query: str) -> None:
    marked = mark(text, as_typed(query))
    whole = text.replace(BEGIN, " ").replace(END, " ")
    assert plain(marked).strip("…") in whole or plain(marked)[1:-1] in whole
    assert len(plain(marked)) <= SNIPPET + 2
    assert marked.count(BEGIN) == marked.count(END)
    terms = [fold(term) for term in "".join(c if c.isalnum() else " " for c in query).split()]
    for part in marked.split(BEGIN)[1:]:
        word = fold(part.partition(END)[0])
        assert any(word.startswith(term) for term in terms), (word, terms)


def fold(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))


def test_a_long_word_does_not_hide_the_one_that_was_found() -> None:
    assert mark("x" * 5000 + " river", "river").endswith(f" {BEGIN}river{END}")
    assert mark("The Río flows", "rio") == f"The {BEGIN}Río{END} flows"
    assert as_typed("riv") == "riv*" and as_typed('"a b"') == '"a b"' and as_typed("") == ""
