"""What a yes and a never are bound to, and for how long they hold."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.gateway.changing import STRANGER, Turncoat, answered, call, changes
from mcp_core.gateway import tool_book
from mcp_interface.approval import Answer
from mcp_interface.commands import (
    AcceptTool,
    ForgetRefusal,
    GrantCapability,
    ListRefusals,
)
from mcp_interface.errors import NotPermitted, StorageUnavailable, TooMuch
from mcp_interface.events import ApprovalAsked
from mcp_interface.ids import PrincipalId
from mcp_interface.testing import MemoryStore
from mcp_interface.tool import ToolInfo


def test_an_approval_ends_with_the_definition_it_was_given_for(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            agent = await house.directory.spawn("worker")
            always = Answer(allow=True, remember="always")
            assert await answered(house, agent.id, always) == 1
            assert await answered(house, agent.id, always) == 0
            host.change("push")
            (change,) = await changes(house)
            await house.tools.accept(
                house.owner, AcceptTool(server="git", tool="push", fingerprint=change.fingerprint)
            )
            assert await answered(house, agent.id, always) == 1, "the other definition is another question"

    asyncio.run(scenario())


def test_a_no_is_in_the_audit(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(host=Turncoat()) as house:
            agent = (await house.directory.spawn("worker")).id
            assert await answered(house, agent, Answer(allow=False, reason="not on a Friday")) == 1
            said = [each for each in house.audit.entries if each.reason == "said_no"]
            assert [(each.principal_id, each.decision) for each in said] == [(agent, "denied")]
            assert said[0].details["by"] == house.owner and said[0].details["why"] == "not on a Friday"

    asyncio.run(scenario())


def test_a_yes_is_bound_to_the_arguments_and_to_who_asked(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with open_house(host=Turncoat()) as house:
            agent, other = [(await house.directory.spawn("worker")).id for _ in range(2)]
            always = Answer(allow=True, remember="always")
            assert await answered(house, agent, always, to="origin") == 1
            assert await answered(house, agent, always, to="origin") == 0
            assert await answered(house, agent, always, to="evil") == 1
            assert await answered(house, agent, always, to="origin", force=True) == 1
            assert await answered(house, agent, always) == 1
            assert await answered(house, other, always, to="origin") == 1
            wide = Answer(allow=True, remember="always", any_arguments=True)
            assert await answered(house, other, wide, to="elsewhere") == 1
            assert await answered(house, other, wide, to="wherever") == 0

    asyncio.run(scenario())


def test_never_is_remembered_over_a_restart_until_it_is_forgotten(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        store, host = MemoryStore(), Turncoat()
        never = Answer(allow=False, remember="always", reason="use pull requests")
        async with open_house(store, host=host) as house:
            agent, other = [(await house.directory.spawn("worker")).id for _ in range(2)]
            assert await answered(house, agent, never, to="main") == 1
        async with open_house(store, host=host) as house:
            assert await answered(house, agent, never, to="main") == 0
            assert await answered(house, agent, Answer(allow=False), to="fork") == 1, "another question"
            assert await answered(house, agent, Answer(allow=False), to="fork") == 1, "a no is for once"
            assert await answered(house, other, never, to="main") == 0, "another agent of the same person"
            (known,) = (await house.tools.refusals(house.owner, ListRefusals())).items
            assert (known.principal_id, known.server, known.tool) == (house.owner, "git", "push")
            assert (known.reason, known.by) == ("use pull requests", house.owner)
            assert (await house.tools.refusals(STRANGER, ListRefusals())).items == []
            forget = ForgetRefusal(principal_id=known.principal_id, fingerprint=known.fingerprint)
            with pytest.raises(NotPermitted):
                await house.tools.forget(STRANGER, forget)
            await house.tools.forget(house.owner, forget)
            await house.tools.forget(house.owner, forget)
            assert await answered(house, agent, Answer(allow=False), to="main") == 1
        async with open_house(store, host=host) as house:
            assert (await house.tools.refusals(house.owner, ListRefusals())).items == []

    asyncio.run(scenario())


def test_never_stands_above_every_right_of_agents_and_does_not_bind_the_person(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with open_house(host=Turncoat()) as house:
            agent = await house.directory.spawn("worker", "ann")
            await answered(house, agent.id, Answer(allow=False, remember="always", reason="no"))
            session = await house.sessions.create(house.owner, "", "open", "", {})
            with pytest.raises(NotPermitted, match="said never"):
                await call(house, agent.id, "git/push", session)
            uri = "mcp://tool/execute/git/push"
            await house.agents.grant(house.owner, GrantCapability(agent="ann", resource_uri=uri))
            with pytest.raises(NotPermitted, match="said never") as refused:
                await call(house, agent.id, "git/push", session)
            denied = house.audit.entries[-1]
            assert refused.value.details["audit_seq"] == denied.seq
            assert (denied.kind, denied.decision, denied.reason) == ("access_denied", "denied", "refused")
            assert (denied.principal_id, denied.resource_uri) == (agent.id, uri)
            assert house.host.calls == []
            assert await call(house, agent.id, "git/push", session, force=True) == "git did push"
            assert await call(house, house.owner, "git/push") == "git did push"
            (known,) = house.book.refusals()
            await house.tools.forget(
                house.owner,
                ForgetRefusal(principal_id=known.principal_id, fingerprint=known.fingerprint),
            )
            assert await call(house, agent.id, "git/push", session) == "git did push"

    asyncio.run(scenario())


def test_what_is_remembered_is_bounded(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_book, "MAX_PINS", 1)
    monkeypatch.setattr(tool_book, "MAX_REFUSALS", 1)

    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            await call(house, house.owner)
            with pytest.raises(TooMuch):
                await call(house, house.owner, "gut/log")
            assert host.calls == [("git", "log")]
            tool = host.offered["git", "push"]
            await house.book.remember(house.owner, tool.server, tool.name, {}, "", house.owner)
            with pytest.raises(TooMuch):
                await house.book.remember(house.owner, tool.server, tool.name, {"a": 1}, "", house.owner)
            await house.book.require_not_refused(house.owner, house.owner, "git", "push", {"a": 1})

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", ["revoke", "pin"])
def test_an_approval_ends_before_the_change_is_accepted(open_house: Callable[..., Any], broken: str) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            agent = await house.directory.spawn("worker")
            always = Answer(allow=True, remember="always")
            assert await answered(house, agent.id, always) == 1
            host.change("push")
            (change,) = await changes(house)
            accept = AcceptTool(server="git", tool="push", fingerprint=change.fingerprint)

            async def fail(*_: Any, **__: Any) -> Any:
                with pytest.raises(NotPermitted, match="definition has changed"):
                    await call(house, agent.id, "git/push")
                raise StorageUnavailable("the disk is gone", "mend it")

            room, name = (house.kernel, "revoke") if broken == "revoke" else (house.book, "accept")
            real = getattr(room, name)
            setattr(room, name, fail)
            with pytest.raises(StorageUnavailable):
                await house.tools.accept(house.owner, accept)
            setattr(room, name, real)
            assert bool(house.kernel.held_by(PrincipalId(agent.id))) is (broken == "revoke")
            await house.tools.accept(house.owner, accept)
            assert not house.kernel.held_by(PrincipalId(agent.id))
            assert await answered(house, agent.id, always) == 1
            await house.tools.accept(house.owner, accept)
            assert await answered(house, agent.id, always) == 0, "accepted twice ends nothing more"

    asyncio.run(scenario())


def test_a_yes_to_the_old_definition_while_the_new_is_accepted_ends_too(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            agent = await house.directory.spawn("worker")
            await call(house, house.owner, "git/push")
            old = host.offered["git", "push"]
            host.change("push")
            (change,) = await changes(house)
            real = house.book.accept

            async def late(tool: ToolInfo, by: PrincipalId) -> bool:
                host.offered["git", "push"] = old
                assert await answered(house, agent.id, Answer(allow=True, remember="always")) == 1
                host.offered["git", "push"] = tool
                return bool(await real(tool, by))

            house.book.accept = late
            await house.tools.accept(
                house.owner, AcceptTool(server="git", tool="push", fingerprint=change.fingerprint)
            )
            assert not house.kernel.held_by(PrincipalId(agent.id))

    asyncio.run(scenario())


def test_never_is_about_the_call_whatever_the_tool_says_of_itself(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            agent = await house.directory.spawn("worker")
            never = Answer(allow=False, remember="always", reason="no")
            assert await answered(house, agent.id, never, n=1) == 1
            for number in range(3):
                host.change("push", description=f"push {number}")
                assert await answered(house, agent.id, never, n=1) == 0
            assert await answered(house, agent.id, never, n=1.0) == 0, "the same number to JSON"
            assert await answered(house, agent.id, Answer(allow=False), n=True) == 1

    asyncio.run(scenario())


def test_never_ends_an_equal_question_that_is_open_and_bounds_a_wider_yes(
    open_house: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            agent = await house.directory.spawn("worker")
            for never_first in (True, False):
                to = f"main-{never_first}"
                calls = [
                    asyncio.create_task(call(house, agent.id, "git/push", session, to=to)) for _ in range(2)
                ]
                async with asyncio.timeout(10):
                    while len(house.desk.pending()) < 2:
                        await asyncio.sleep(0.005)
                one, two = house.desk.pending()
                house.desk.answer(one.id, Answer(allow=False, remember="always"), house.owner)
                if not never_first:  # the yes comes when the never is long on the disk
                    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                house.desk.answer(two.id, Answer(allow=True, remember="always"), house.owner)
                errors = await asyncio.gather(*calls, return_exceptions=True)
                assert ["said never" in str(error) for error in errors] == [True, True]
            assert not house.kernel.held_by(PrincipalId(agent.id))
            wide = Answer(allow=True, remember="always", any_arguments=True)
            assert await answered(house, agent.id, wide, to="fork") == 1
            with pytest.raises(NotPermitted, match="said never"):
                await call(house, agent.id, "git/push", session, to="main-True")
            assert host.calls == [("git", "push")]

    asyncio.run(scenario())


def test_a_never_that_comes_while_the_call_is_judged_stops_it(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            agent = await house.directory.spawn("worker", "ann")
            uri = "mcp://tool/execute/git/push"
            await house.agents.grant(house.owner, GrantCapability(agent="ann", resource_uri=uri))
            real = house.kernel.authorize

            async def slow(*arguments: Any, **named: Any) -> Any:
                await house.book.remember(house.owner, "git", "push", {}, "", house.owner)
                return await real(*arguments, **named)

            house.kernel.authorize = slow
            with pytest.raises(NotPermitted, match="said never"):
                await call(house, agent.id, "git/push")
            assert host.calls == []

    asyncio.run(scenario())


def test_nobody_is_asked_what_no_yes_could_be_bound_to(open_house: Callable[..., Any]) -> None:
    async def scenario() -> None:
        host = Turncoat()
        async with open_house(host=host) as house:
            session = await house.sessions.create(house.owner, "", "ask", "", {})
            agent = await house.directory.spawn("worker")
            with pytest.raises(NotPermitted, match="cannot be bound to an approval"):
                await call(house, agent.id, "git/push", session, text="x" * 1_100_000)
            records = await house.journal.read(f"session:{session.id}")
            assert not any(isinstance(record.event, ApprovalAsked) for record in records)
            assert await answered(house, agent.id, Answer(allow=True), number=1e300) == 1
            assert host.calls == [("git", "push")]

    asyncio.run(scenario())
