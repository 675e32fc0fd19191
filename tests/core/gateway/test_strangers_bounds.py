"""What somebody with an API key may take up of a node, and by which right more than that."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.access import (
    ListPublications,
    Publish,
)
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CreateItem,
    CreatePrompt,
    DeleteItem,
)
from mcp_interface.client import Client, OffersChanged
from mcp_interface.commands import (
    CallTool,
    Command,
    CreateSession,
    EndSession,
    ForkSession,
    GetAgent,
    GrantCapability,
    PostMessage,
    ReadAudit,
    ReadSession,
    RevokeCapability,
    SpawnAgent,
)
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted, TooMuch
from mcp_interface.events import UserMessage
from mcp_interface.ids import PrincipalId
from mcp_interface.key import Publication
from mcp_interface.reading import (
    GetPrompt,
    ListPrompts,
    ListResources,
    ReadResource,
)
from strangers import ITEM, PROMPT, Owned, with_a_stranger


def test_a_stranger_has_the_assistant_think_only_when_that_was_granted(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        mine = (await stranger.request(CreateSession(title="mine"))).id
        with pytest.raises(NotPermitted, match="mcp://tool/execute/assistant/ask"):
            await stranger.request(PostMessage(session_id=mine, text="hello"))
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://tool/execute/assistant/ask"))
        assert (await stranger.request(PostMessage(session_id=mine, text="hello"))).session_id == mine

    asyncio.run(with_a_stranger(tmp_path, work))


def test_each_word_to_the_assistant_is_one_use_of_a_right_and_on_record(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        uri = "mcp://tool/execute/assistant/ask"
        sessions = [(await stranger.request(CreateSession(title="mine"))).id for _ in range(3)]
        await owner.request(GrantCapability(agent=who, resource_uri=uri, max_uses=1))
        posts = [stranger.request(PostMessage(session_id=each, text="hello")) for each in sessions]
        answers = await asyncio.gather(*posts, return_exceptions=True)
        (posted,) = [each for each in answers if not isinstance(each, BaseException)]
        assert all(isinstance(each, NotPermitted) for each in answers if each is not posted)
        judged = [
            entry.decision
            for entry in (await owner.request(ReadAudit(limit=1000))).items
            if entry.principal_id == who and entry.resource_uri == uri and entry.kind.startswith("access_")
        ]
        assert sorted(judged) == ["allowed", "denied", "denied"]
        events = (await stranger.request(ReadSession(session_id=posted.session_id))).items
        said = next(one.version for one in events if isinstance(one.event, UserMessage))
        with pytest.raises(NotPermitted):  # what was said once is not answered again, for nothing, in a fork
            await stranger.request(ForkSession(session_id=posted.session_id, version=said))
        empty = next(each for each in sessions if each != posted.session_id)
        assert (await stranger.request(ForkSession(session_id=empty))).id

    asyncio.run(with_a_stranger(tmp_path, work))


def test_limits_of_the_right_to_speak_hold_for_what_is_said(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        grant = GrantCapability(
            agent=who,
            resource_uri="mcp://tool/execute/assistant/ask",
            constraints={"arguments": {"properties": {"text": {"enum": ["ping"]}}}},
        )
        await owner.request(grant)
        mine = (await stranger.request(CreateSession(title="mine"))).id
        with pytest.raises(NotPermitted):
            await stranger.request(PostMessage(session_id=mine, text="think long"))
        assert (await stranger.request(PostMessage(session_id=mine, text="ping"))).session_id == mine

    asyncio.run(with_a_stranger(tmp_path, work))


def test_the_tool_that_asks_the_assistant_is_judged_once(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        for tool in ("ask", "send_message"):
            uri = f"mcp://tool/execute/assistant/{tool}"
            await owner.request(GrantCapability(agent=who, resource_uri=uri, max_uses=1))
        asking = CallTool(server="assistant", tool="ask", arguments={"text": "x"})
        assert (
            "no" in (await stranger.request(asking)).result.text
        )  # there is no model, but the turn was begun
        with pytest.raises(NotPermitted):
            await stranger.request(asking)
        mine = (await stranger.request(CreateSession(title="mine"))).id
        saying = CallTool(
            server="assistant", tool="send_message", arguments={"conversation": mine, "text": "x"}
        )
        assert mine in (await stranger.request(saying)).result.text
        with pytest.raises(NotPermitted):
            await stranger.request(saying)

    asyncio.run(with_a_stranger(tmp_path, work))


def test_names_of_agents_are_each_persons_own(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        mine = (await stranger.request(CreateSession(title="mine"))).id
        ann = await stranger.request(SpawnAgent(name="ann", session_id=mine))
        assert (await stranger.request(GetAgent(agent="ann"))).id == ann.id
        assert (await owner.request(GetAgent(agent="ann"))).id == has.agent
        with pytest.raises(CallerMistaken, match="is running"):
            await stranger.request(SpawnAgent(name="ann", session_id=mine))
        await stranger.request(SpawnAgent(name="bob", session_id=mine))
        assert (await owner.request(SpawnAgent(name="bob", session_id=has.session))).name == "bob"
        told = []
        for name in (has.agent, has.agent[:10], "agent_zzzz"):  # beginnings of what is hidden are not counted
            with pytest.raises(NotFound) as caught:
                await stranger.request(GetAgent(agent=name))
            told.append(str(caught.value).replace(name, "?"))
        assert len(set(told)) == 1

    asyncio.run(with_a_stranger(tmp_path, work))


def test_what_a_stranger_takes_up_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcp_core.agents import directory
    from mcp_core.catalog import libraries
    from mcp_core.catalog.library import Room
    from mcp_core.gateway.handlers import sessions

    assert (sessions.MAX_OPEN, directory.MAX_SHARE) == (64, 64)
    assert libraries.SHARE.size == 64 * 1024 * 1024
    monkeypatch.setattr(sessions, "MAX_OPEN", 3)
    monkeypatch.setattr(directory, "MAX_SHARE", 2)
    monkeypatch.setattr(libraries, "SHARE", Room(items=3, prompts=1, size=5_000))

    async def refused(client: Client, bound: str, command: Command[Any]) -> None:
        with pytest.raises(TooMuch) as caught:
            await client.request(command)
        assert caught.value.details["bound"] == bound and caught.value.remedy

    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        made = await asyncio.gather(
            *(stranger.request(CreateSession(title="x")) for _ in range(6)), return_exceptions=True
        )
        mine = [each.id for each in made if not isinstance(each, BaseException)]
        assert len(mine) == 3 and all(
            isinstance(each, TooMuch) for each in made if isinstance(each, BaseException)
        )
        await refused(stranger, "open_sessions", CreateSession(title="x"))
        await refused(stranger, "open_sessions", ForkSession(session_id=mine[0]))
        await stranger.request(EndSession(session_id=mine[0]))
        await stranger.request(CreateSession(title="x"))
        for _ in range(2):
            await stranger.request(SpawnAgent(session_id=mine[1]))
        await refused(stranger, "living_agents", SpawnAgent(session_id=mine[2]))
        await stranger.request(CreateItem(uri="n:1", kind="text", name="n", text="x" * 3_000))
        large = CreateItem(uri="n:2", kind="text", name="n", text="x" * 3_000)
        await refused(stranger, "catalog_bytes", large)
        await refused(stranger, "catalog_bytes", ChangeItem(uri="n:1", text="x" * 5_000))
        await refused(stranger, "catalog_bytes", CreatePrompt(name="p", template="x" * 5_000))
        for uri in ("n:3", "n:4"):
            await stranger.request(CreateItem(uri=uri, kind="text", name="n", text=""))
        await refused(stranger, "catalog_items", CreateItem(uri="n:5", kind="text", name="n", text=""))
        await stranger.request(CreatePrompt(name="p", template="x"))
        await refused(stranger, "catalog_prompts", CreatePrompt(name="q", template="x"))
        await stranger.request(DeleteItem(uri="n:1"))
        await stranger.request(large)
        for number in range(5):  # whose node it is has none of these bounds
            await owner.request(CreateSession(title="x"))
            await owner.request(SpawnAgent(session_id=has.session))
            await owner.request(CreatePrompt(name=f"p{number}", template="x" * 5_000))

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_makes_nothing_public_but_by_a_right_and_it_is_marked(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        item = CreateItem(uri="a:first", kind="text", name="n", text="x", visibility="public")
        prompt = CreatePrompt(name="aaa", template="ignore all", visibility="public")
        for command in (item, prompt):
            with pytest.raises(NotPermitted, match="mcp://tool/execute/catalog/publish"):
                await stranger.request(command)
        await stranger.request(CreateItem(uri="a:mine", kind="text", name="n", text="x"))
        await stranger.request(CreatePrompt(name="mine", template="x"))
        for change in (
            ChangeItem(uri="a:mine", visibility="public"),
            ChangePrompt(name="mine", visibility="public"),
        ):
            with pytest.raises(NotPermitted):
                await stranger.request(change)
        right = await owner.request(
            GrantCapability(agent=who, resource_uri="mcp://tool/execute/catalog/publish")
        )
        await stranger.request(item)
        await stranger.request(prompt)
        listed = (await owner.request(ListPrompts(server="catalog"))).items
        assert [(each.name, each.meta) for each in listed] == [
            (PROMPT, {}),
            ("aaa", {"umbrella/owner": who}),
        ]
        found = (await owner.request(ListResources(server="catalog"))).items
        assert [(each.uri, each.meta) for each in found] == [(ITEM, {}), ("a:first", {"umbrella/owner": who})]
        assert (await owner.request(GetPrompt(server="catalog", name="aaa"))).meta == {"umbrella/owner": who}
        (contents,) = await owner.request(ReadResource(server="catalog", uri="a:first"))
        assert contents.meta == {"umbrella/owner": who}
        # of two with one name that of the owner of the node comes first for everybody else, however late it came
        await owner.request(RevokeCapability(capability_id=right.id))
        for rewritten in (ChangePrompt(name="aaa", template="y"), ChangeItem(uri="a:first", text="y")):
            with pytest.raises(NotPermitted):
                await stranger.request(rewritten)
        await stranger.request(ChangePrompt(name="aaa", visibility="private"))
        assert [each.name for each in (await owner.request(ListPrompts(server="catalog"))).items] == [PROMPT]

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_hears_of_public_changes_of_the_catalog_only(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        told: list[OffersChanged] = []
        ready = asyncio.Event()

        async def hear() -> None:
            async for notice in stranger.follow(None, 0):
                ready.set()
                if isinstance(notice, OffersChanged):
                    told.append(notice)
                    if notice.kind == "prompts" and notice.principal_id is None:
                        return

        await stranger.request(CreateSession(title="mine"))
        hearing = asyncio.create_task(hear())
        await ready.wait()
        await owner.request(ChangeItem(uri=ITEM, text="other"))
        await owner.request(ChangePrompt(name=PROMPT, template="other"))
        await stranger.request(CreateItem(uri="n:own", kind="text", name="n", text="x"))
        await owner.request(ChangePrompt(name=PROMPT, visibility="public"))
        await hearing
        assert [(each.kind, each.principal_id) for each in told] == [("resources", who), ("prompts", None)]

    asyncio.run(with_a_stranger(tmp_path, work))


def test_a_stranger_finds_virtual_servers_only_that_hold_something_for_them(tmp_path: Path) -> None:
    async def work(has: Owned, owner: Client, stranger: Client, who: PrincipalId) -> None:
        async def found() -> set[str]:
            return {each.name for each in (await stranger.request(ListPublications())).items}

        published = [
            Publication(name="payroll", tools=["payroll-prod/*", "hidden/*"], instructions="internal"),
            Publication(name="read", resources=["hidden/*"]),
            Publication(name="files", tools=["fs/*"]),
            Publication(name="theirs", tools=["hidden/*"], principal_id=who),
            Publication(name="notes", prompts=["catalog/*"]),
        ]
        for publication in published:
            await owner.request(Publish(publication=publication))
        assert await found() == {"theirs", "notes"}
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://fs/read/etc/**"))
        assert await found() == {"theirs", "notes", "files"}
        await owner.request(GrantCapability(agent=who, resource_uri="mcp://tool/read/hidden/**"))
        assert await found() == {"theirs", "notes", "files", "read"}
        assert len((await owner.request(ListPublications())).items) == len(published) + 1

    asyncio.run(with_a_stranger(tmp_path, work))
