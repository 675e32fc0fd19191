"""A journal that refuses writes for a while: nothing is pretended, and all goes on once it takes them again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.refusing import RefusingStore
from mcp_core.agents.tool_executor import ToolRequest
from mcp_interface.commands import CreateSession, PostMessage
from mcp_interface.errors import StorageUnavailable
from mcp_interface.events import AssistantMessage, ExecutionChanged, TurnEnded, TurnStarted
from mcp_interface.ids import PrincipalId
from mcp_interface.provider import Finished, TextChunk
from mcp_interface.store import Record

OpenHouse = Callable[..., Any]
ANSWER = [TextChunk(text="hello"), Finished(stop_reason="end_turn")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_core.gateway.session_actor.OWED_AGAIN_S", 0.01)
    monkeypatch.setattr("mcp_core.agents.llm.JOURNAL_AGAIN_S", 0.01)
    monkeypatch.setattr("mcp_core.gateway.handlers.sessions.WAKE_AGAIN_S", 0.01)


def kinds(records: list[Record]) -> list[str]:
    return [type(record.event).__name__ for record in records]


async def post(house: Any, session: Any, text: str) -> Any:
    return await house.commands.post(house.owner, PostMessage(session_id=session.id, text=text))


async def begin(house: Any) -> Any:
    return await house.commands.create(house.owner, CreateSession())


async def call(house: Any, session: Any) -> Any:
    tool = house.toolbox.listed()[0]
    request = ToolRequest(
        session_id=session.id,
        principal_id=PrincipalId(house.owner),
        server=tool.server,
        tool=tool.name,
        arguments={"text": "one two"},
    )
    return await house.guard.run(request)


def test_a_refused_message_is_refused_with_a_remedy_and_the_next_one_is_answered(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        store = RefusingStore()
        async with open_house(store) as house:
            session = await begin(house)
            house.script(ANSWER)
            store.refuses = True
            with pytest.raises(StorageUnavailable) as refused:
                await post(house, session, "anybody there?")
            assert refused.value.remedy
            store.refuses = False
            await post(house, session, "and now?")
            records = await house.turn(session.id)
            said = [record.event.text for record in records if type(record.event).__name__ == "UserMessage"]
            assert said == ["and now?"]
            assert records[-1].event.status == "completed"

    asyncio.run(scenario())


def test_a_message_that_was_kept_is_answered_once_its_turn_can_be_recorded(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        store = RefusingStore()
        async with open_house(store) as house:
            session = await begin(house)
            house.script(ANSWER)
            store.refuses = (TurnStarted,)
            await post(house, session, "hello?")
            await store.until_refused(TurnStarted)
            store.refuses = False
            records = await house.turn(session.id)
            assert kinds(records)[-3:] == ["TurnStarted", "AssistantMessage", "TurnEnded"]

    asyncio.run(scenario())


def test_a_turn_that_the_outage_broke_off_ends_as_failed_by_itself(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        store = RefusingStore()
        async with open_house(store) as house:
            session = await begin(house)
            house.script(ANSWER, ANSWER)
            store.refuses = (AssistantMessage, TurnEnded)
            await post(house, session, "hello?")
            await store.until_refused(TurnEnded)
            store.refuses = False
            records = await house.turn(session.id)
            ended = records[-1].event
            assert (ended.status, ended.error.code) == ("failed", "storage_unavailable")
            assert ended.error.remedy
            await post(house, session, "again")
            again = await house.until(
                session.id,
                lambda record: isinstance(record.event, TurnEnded) and record.version > len(records),
            )
            assert again[-1].event.status == "completed"

    asyncio.run(scenario())


def test_the_end_of_a_call_that_could_not_be_recorded_is_recorded_later_and_once(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        store = RefusingStore()
        async with open_house(store) as house:
            session = await begin(house)

            plain = store.append

            async def append(stream: str, events: Any, **given: Any) -> Any:
                ends = isinstance(events[0], ExecutionChanged) and events[0].status != "started"
                if ends and refusing:
                    raise StorageUnavailable("full", "make room")
                return await plain(stream, events, **given)

            refusing = True
            store.append = append
            with pytest.raises(StorageUnavailable):
                await call(house, session)
            assert (await house.sessions.state(session.id)).running
            refusing = False
            records = await house.until(
                session.id,
                lambda record: (
                    isinstance(record.event, ExecutionChanged) and record.event.status != "started"
                ),
            )
            assert records[-1].event.status == "completed"
            assert not (await house.sessions.state(session.id)).running
            await asyncio.sleep(0.05)
            everything = await store.read(f"session:{session.id}")
            assert sum(isinstance(record.event, ExecutionChanged) for record in everything) == 2

    asyncio.run(scenario())


def test_an_append_that_is_in_although_it_was_refused_is_neither_lost_nor_doubled(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        store = RefusingStore()
        async with open_house(store) as house:
            session = await begin(house)
            house.script(ANSWER, ANSWER)
            store.refuses, store.keeps_it_all_the_same = (AssistantMessage, TurnEnded), True
            await post(house, session, "hello?")
            await store.until_refused(TurnEnded)
            store.refuses = False
            await post(house, session, "again")
            await house.until(
                session.id,
                lambda record: isinstance(record.event, TurnEnded) and record.event.status == "completed",
            )
            everything = kinds(await store.read(f"session:{session.id}"))
            assert everything.count("TurnStarted") == everything.count("TurnEnded") == 2
            assert everything.count("UserMessage") == everything.count("AssistantMessage") == 2

    asyncio.run(scenario())
