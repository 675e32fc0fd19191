"""API keys and virtual servers: shown once, kept hashed, over when they say so, and the owner's alone to make."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_core import Node, Settings, SocketClient
from mcp_interface.access import CreateKey, ListKeys, ListPublications, Publish, RevokeKey, Unpublish
from mcp_interface.client import Client, ClientInfo
from mcp_interface.commands import (
    CheckLogin,
    CreateLogin,
    CreateSession,
    EndLogin,
    GrantCapability,
    ListCapabilities,
    ListSessions,
    RedeemLogin,
    Wish,
)
from mcp_interface.errors import CallerMistaken, InvalidRecord, LoginRequired, NotFound, NotPermitted
from mcp_interface.ids import PrincipalId
from mcp_interface.key import KEY_PREFIX, Publication
from mcp_interface.testing import ManualClock

READ = "mcp://fs/read/etc/**"


async def owner_of(node: Node) -> Client:
    client = node.client()
    await client.connect(ClientInfo(name="test", token=node.owner_token))
    return client


def with_owner(folder: Path, *works: Any) -> None:
    """Run each piece of work on a node of its own over the same folder."""

    async def scenario() -> None:
        for work in works:
            async with asyncio.timeout(30), Node(Settings(data_dir=folder)) as node:
                await work(node, await owner_of(node))

    asyncio.run(scenario())


def test_a_key_opens_the_node_across_restarts_until_it_is_revoked(tmp_path: Path) -> None:
    made: dict[str, Any] = {}

    async def make(node: Node, owner: Client) -> None:
        made["key"] = await owner.request(CreateKey(name="laptop", grants=[Wish(resource_uri=READ)]))

    async def use(node: Node, owner: Client) -> None:
        key = made["key"]
        other = node.client()
        welcome = await other.connect(ClientInfo(name="x", token=key.secret))
        assert welcome.principal_id == key.key.principal_id
        login = await owner.request(CheckLogin(key=key.secret))
        assert (login.principal_id, login.key_name) == (key.key.principal_id, "laptop")
        held = await other.request(ListCapabilities(principal=welcome.principal_id))
        assert [capability.resource_uri for capability in held.items] == [READ]
        (listed,) = (await owner.request(ListKeys())).items
        assert listed.last_used_at is not None and listed.last_used_at.second == 0
        assert (await owner.request(RevokeKey(key="laptop"))).id == key.key.id
        with pytest.raises(LoginRequired, match="revoked"):
            await node.client().connect(ClientInfo(name="x", token=key.secret))

    async def after(node: Node, owner: Client) -> None:
        assert not (await owner.request(ListKeys())).items
        with pytest.raises(LoginRequired):
            await node.client().connect(ClientInfo(name="x", token=made["key"].secret))

    with_owner(tmp_path, make, use, after)
    secret = made["key"].secret
    assert secret.startswith(KEY_PREFIX) and len(secret) > 60
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in written and secret.removeprefix(KEY_PREFIX).encode() not in written


def test_a_key_that_has_expired_opens_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with Node(Settings(data_dir=tmp_path), clock=clock) as node:
            owner = await owner_of(node)
            key = await owner.request(CreateKey(name="short", expires_in_s=60))
            await node.client().connect(ClientInfo(name="x", token=key.secret))
            clock.advance(timedelta(seconds=61).total_seconds())
            with pytest.raises(LoginRequired, match="expired"):
                await node.client().connect(ClientInfo(name="x", token=key.secret))
            assert not (await owner.request(ListKeys())).items
            await owner.request(CreateKey(name="short"))  # the name is free again

    asyncio.run(scenario())


def test_no_key_is_made_when_its_rights_cannot_be_granted(tmp_path: Path) -> None:
    async def work(node: Node, owner: Client) -> None:
        wishes = [Wish(resource_uri=READ), Wish(resource_uri="mcp://fs/read/x/**", constraints={"odd": 1})]
        with pytest.raises((NotPermitted, InvalidRecord)):
            await owner.request(CreateKey(name="x", grants=wishes))
        assert not (await owner.request(ListKeys())).items
        await owner.request(CreateKey(name="taken"))
        before = len((await owner.request(ListCapabilities(limit=1000))).items)
        with pytest.raises(CallerMistaken, match="exists"):
            await owner.request(CreateKey(name="taken", grants=[Wish(resource_uri=READ)]))
        assert len((await owner.request(ListCapabilities(limit=1000))).items) == before
        with pytest.raises(CallerMistaken, match="no person"):
            await owner.request(CreateKey(name="y", principal_id=PrincipalId("agent_" + "1" * 32)))

    with_owner(tmp_path, work)


def test_two_keys_of_one_principal_hold_the_same_and_a_grant_reaches_both(tmp_path: Path) -> None:
    async def work(node: Node, owner: Client) -> None:
        first = await owner.request(CreateKey(name="a"))
        second = await owner.request(CreateKey(name="b", principal_id=first.key.principal_id))
        granted = await owner.request(GrantCapability(agent=first.key.principal_id, resource_uri=READ))
        assert granted.principal_id == second.key.principal_id
        one, other = node.client(), node.client()
        await one.connect(ClientInfo(name="x", token=first.secret))
        await other.connect(ClientInfo(name="x", token=second.secret))
        session = await one.request(CreateSession(title="shared"))
        assert [each.id for each in (await other.request(ListSessions())).items] == [session.id]

    with_owner(tmp_path, work)


def test_a_virtual_server_is_found_by_those_it_is_for(tmp_path: Path) -> None:
    async def publish(node: Node, owner: Client) -> None:
        key = await owner.request(CreateKey(name="a"))
        hers = Publication(name="hers", tools=["git/*"], principal_id=PrincipalId("user_" + "1" * 32))
        his = Publication(name="his", tools=["git/*"], principal_id=key.key.principal_id)
        for publication in (hers, his, Publication(name="all", prompts=["*"])):
            await owner.request(Publish(publication=publication))
        other = node.client()
        await other.connect(ClientInfo(name="x", token=key.secret))
        found = (await other.request(ListPublications())).items
        assert [each.name for each in found] == ["all", "his"]
        await owner.request(Publish(publication=Publication(name="all", tools=["fs/*"])))

    async def after(node: Node, owner: Client) -> None:
        found = {each.name: each for each in (await owner.request(ListPublications())).items}
        assert set(found) == {"all", "hers", "his"} and found["all"].tools == ["fs/*"]
        await owner.request(Unpublish(name="all"))
        with pytest.raises(NotFound):
            await owner.request(Unpublish(name="all"))

    with_owner(tmp_path, publish, after)


@pytest.mark.parametrize(
    "publication",
    [
        Publication(name="Upper", tools=["*"]),
        Publication(name="empty"),
        Publication(name="agent", tools=["*"], principal_id=PrincipalId("agent_" + "1" * 32)),
    ],
)
def test_what_cannot_be_published_is_refused(tmp_path: Path, publication: Publication) -> None:
    async def work(node: Node, owner: Client) -> None:
        with pytest.raises((InvalidRecord, CallerMistaken)):
            await owner.request(Publish(publication=publication))
        assert not (await owner.request(ListPublications())).items

    with_owner(tmp_path, work)


async def both_ways(node: Node, folder: Path, token: str) -> list[Client]:
    """A client in the process and one behind the socket, each let in by the same secret."""
    (socket,) = (path for path in folder.rglob("*") if path.is_socket())
    found: list[Client] = [node.client(), SocketClient(socket)]
    for client in found:
        await client.connect(ClientInfo(name="x", token=token))
    return found


async def refused(client: Client, idle: "asyncio.Task[None]") -> None:
    """Nothing is answered any more, and the follow that waited has ended."""
    with pytest.raises(LoginRequired, match="revoked or has expired"):
        await client.request(CreateSession(title="too late"))
    with pytest.raises(LoginRequired, match="revoked or has expired"):
        await idle
    with pytest.raises(LoginRequired):
        await anext(aiter(client.follow()))
    await client.disconnect()


async def idle_follow(client: Client) -> "asyncio.Task[None]":
    """One that waits for what never comes."""

    async def follow() -> None:
        async for notice in client.follow(after=1_000_000):
            raise AssertionError(f"{notice} came")

    task = asyncio.create_task(follow())
    await client.request(ListSessions())  # its follow is open by now
    assert not task.done()
    return task


@pytest.mark.parametrize("kind", ["key", "login"])
def test_what_is_taken_back_ends_every_open_connection_at_once(tmp_path: Path, kind: str) -> None:
    async def work(node: Node, owner: Client) -> None:
        if kind == "key":
            made = await owner.request(CreateKey(name="laptop"))
            secret, take_back = made.secret, RevokeKey(key="laptop")
        else:
            code = (await owner.request(CreateLogin())).code
            secret = (await owner.request(RedeemLogin(code=code))).key
            take_back = EndLogin(key=secret)  # type: ignore[assignment]
        others = await both_ways(node, tmp_path, secret)
        follows = [await idle_follow(each) for each in others]
        by_owner = await idle_follow(owner)
        await owner.request(take_back)
        for client, idle in zip(others, follows, strict=True):
            await refused(client, idle)
        await owner.request(ListSessions())
        assert not by_owner.done(), "the node's own token lives on"
        by_owner.cancel()
        assert "too late" not in {each.title for each in (await owner.request(ListSessions())).items}

    with_owner(tmp_path, work)


def test_a_key_that_expires_ends_its_open_connections(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        async with asyncio.timeout(30), Node(Settings(data_dir=tmp_path), clock=clock) as node:
            owner = await owner_of(node)
            made = await owner.request(CreateKey(name="short", expires_in_s=3600))
            others = await both_ways(node, tmp_path, made.secret)
            clock.advance(3599.9)
            follows = [await idle_follow(each) for each in others]
            await asyncio.wait(follows)  # until its end by the clock of the machine, a moment later
            clock.advance(1)
            for client, idle in zip(others, follows, strict=True):
                await refused(client, idle)

    asyncio.run(scenario())
