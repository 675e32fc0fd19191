"""What the fakes do beyond the exams that they pass."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from mcp_interface import (
    CallerMistaken,
    ClientInfo,
    CreateSession,
    DeadlineExceeded,
    Finished,
    GetHealth,
    GetStatus,
    GrantOptions,
    ListSessions,
    NodeUnavailable,
    NotFound,
    NotPermitted,
    Ok,
    PostMessage,
    ReadSession,
    StaleEpoch,
    Stop,
    StorageUnavailable,
    parse_resource,
)
from mcp_interface.testing import (
    DictRegistry,
    EchoAgent,
    FakeClient,
    FakeKernel,
    FakeNode,
    ManualClock,
    MemoryStore,
    ScriptedProvider,
)
from mcp_interface.testing.patterns import covers
from mcp_interface.testing.samples import a_message, a_person, a_session, an_agent, an_envelope


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


async def joined(node: FakeNode) -> FakeClient:
    client = node.client()
    await client.connect(ClientInfo(name="test", token=node.owner_token))
    return client


def test_an_echo_agent_declines_stops_and_crashes_on_demand() -> None:
    async def scenario() -> None:
        agent = EchoAgent()
        assert await agent.init({"decline": "busy"}) == Stop("busy")
        begun = await agent.init({})
        assert isinstance(begun, Ok)
        ended = await agent.handle_message(an_envelope("stop"), begun.state)
        assert isinstance(ended, Stop)
        assert ended.reason == "normal"
        assert ended.state is not None
        assert ended.state.handled == 1
        with pytest.raises(RuntimeError, match="asked to fail"):
            await agent.handle_message(an_envelope("fail"), begun.state)
        await agent.terminate("normal", begun.state)
        assert agent.ended_because == "normal"

    run(scenario())


def test_a_scripted_provider_remembers_what_it_was_asked() -> None:
    async def scenario() -> None:
        from mcp_interface import Completion

        provider = ScriptedProvider([[Finished(stop_reason="end")]], models=["a", "b"])
        question = Completion(model="a", system="be brief")
        assert [chunk async for chunk in provider.stream(question)] == [Finished(stop_reason="end")]
        assert provider.asked == [question]
        assert await provider.models() == ["a", "b"]

    run(scenario())


def test_a_memory_store_keeps_few_snapshots_and_refuses_epochs_it_never_gave() -> None:
    from mcp_interface import Snapshot

    async def scenario() -> None:
        store = MemoryStore()
        epoch = await store.claim()
        await store.append("s", [a_message(n) for n in range(9)], expected=0, epoch=epoch)
        for version in range(1, 10):
            taken = a_message(version).timestamp
            await store.save_snapshot(
                Snapshot(stream="s", version=version, schema="1", state=b"", taken_at=taken)
            )
        for left in (9, 8, 7, 6, 5):
            found = await store.load_snapshot("s")
            assert found is not None
            assert found.version == left
            del store._streams["s"].snapshots[left]
        assert await store.load_snapshot("s") is None
        with pytest.raises(StaleEpoch):
            await store.append("s", [a_message(1)], expected=9, epoch=epoch + 1)
        await store.close()
        with pytest.raises(StorageUnavailable, match="closed"):
            await store.claim()

    run(scenario())


@pytest.mark.parametrize(
    ("pattern", "other", "covered"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/", False),
        ("a/b", "a/b/**", False),
        ("a/*", "a/*", True),
        ("a/*", "a/b*", True),
        ("a/b*", "a/*", False),
        ("a/*", "a/**", False),
        ("a/*", "a/b/", False),
        ("a/**", "a/**", True),
        ("a/**", "a/*", True),
        ("a/**", "a/b/", True),
        ("a/**", "a", True),
        ("a/**", "a/", True),
        ("a/**", "**", False),
        ("a/", "a", True),
        ("a/", "a/**", True),
        ("a/", "b/c", False),
        ("**", "a/", True),
        ("*/b", "a/b", True),
        ("a*c", "abbc", True),
        ("a*c", "abcd", False),
    ],
)
def test_covering_is_inclusion(pattern: str, other: str, covered: bool) -> None:
    wide, narrow = parse_resource(f"mcp://fs/read/{pattern}"), parse_resource(f"mcp://fs/read/{other}")
    assert covers(wide, narrow) is covered
    assert not covers(wide, parse_resource(f"mcp://fs/write/{other}"))


def test_a_kernel_counts_a_use_of_a_child_as_a_use_of_its_parent() -> None:
    async def scenario() -> None:
        kernel, thing = FakeKernel(ManualClock()), parse_resource("mcp://fs/read/x")
        owner, agent = a_person(), an_agent()
        root = await kernel.request(owner, thing, GrantOptions(constraints={"max_uses": 1}))
        await kernel.delegate(root.handle, owner, agent)
        assert (await kernel.authorize(agent, thing)).allowed
        assert (await kernel.authorize(owner, thing)).reason == "uses_exhausted"
        with pytest.raises(NotPermitted, match="uses_exhausted"):
            await kernel.delegate(root.handle, owner, agent)

    run(scenario())


def test_a_kernel_reads_the_machines_clock_unless_it_is_given_one() -> None:
    async def scenario() -> None:
        kernel, thing = FakeKernel(), parse_resource("mcp://fs/read/x")
        grant = await kernel.request(a_person(), thing, GrantOptions(expires_in=timedelta(hours=1)))
        assert kernel.validate(grant.handle, a_person(), thing).allowed

    run(scenario())


def test_a_node_answers_session_commands_only() -> None:
    async def scenario() -> None:
        async with FakeNode() as node:
            client = await joined(node)
            with pytest.raises(NotFound, match="GetHealth"):
                await client.request(GetHealth())
            with pytest.raises(NotFound):
                async for _ in client.follow(a_session()):
                    pass

    run(scenario())


def test_a_node_echoes_and_tells_its_followers() -> None:
    async def scenario() -> None:
        async with FakeNode() as node:
            client = await joined(node)
            session = await client.request(CreateSession(title="talk"))
            assert (await client.request(GetStatus())).sessions == 1
            await client.request(PostMessage(session_id=session.id, text="hello"))
            kinds = []
            async with aclosing(client.follow(session.id)) as stream:
                async for notice in stream:
                    kinds.append(type(notice.event).__name__)
                    if kinds[-1] == "TurnEnded":
                        break
            assert kinds == ["SessionCreated", "UserMessage", "TurnStarted", "AssistantMessage", "TurnEnded"]
            page = await client.request(ReadSession(session_id=session.id, limit=2))
            assert (len(page.items), page.cursor) == (2, "2")
            with pytest.raises(CallerMistaken, match="not a cursor"):
                await client.request(ListSessions(cursor="x"))

    run(scenario())


def test_a_node_that_ends_frees_everybody_who_waits() -> None:
    async def scenario() -> None:
        async with FakeNode(stalled=(GetHealth,)) as node:
            client = await joined(node)
            with pytest.raises(DeadlineExceeded):
                await client.request(GetHealth(), timeout=0.01)
            waiting = asyncio.create_task(client.request(GetHealth(), timeout=None))
            following = asyncio.create_task(anext(client.follow()))
            await client.request(GetStatus())
        for task in (waiting, following):
            with pytest.raises(NodeUnavailable):
                await task

    run(scenario())


def test_an_echo_only_answers_and_has_nothing_to_end() -> None:
    async def scenario() -> None:
        agent = EchoAgent()
        begun = await agent.init({})
        assert isinstance(begun, Ok)
        assert not agent.is_busy(begun.state)
        agent.detach()
        assert agent.export_state(begun.state)

    asyncio.run(scenario())


def test_a_registry_forgets_a_type_that_is_taken_away() -> None:
    registry: DictRegistry[str] = DictRegistry()
    registry.register("ann", "ref", {"type": "worker"})
    registry.update("ann", {"type": None})
    assert registry.list_by_type("worker") == []
    assert registry.whereis("ann") == "ref"
