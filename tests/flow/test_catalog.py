"""The catalog of a real node: kill -9 behind an acknowledgement, and what another principal reaches of it."""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_core import Node, Settings
from mcp_interface.access import CreateKey
from mcp_interface.cataloging import (
    ChangeItem,
    ChangePrompt,
    CountItems,
    CountPrompts,
    CreateItem,
    CreatePrompt,
    DeleteItem,
    DeletePrompt,
    GetItem,
    GetStoredPrompt,
    ListItems,
    ListPromptVersions,
    ListStoredPrompts,
    RenderPrompt,
    RevertPrompt,
)
from mcp_interface.client import ClientInfo
from mcp_interface.commands import GrantCapability
from mcp_interface.errors import NotFound, NotPermitted, UmbrellaError
from mcp_interface.reading import Complete, GetPrompt, ListPrompts, ListResources, ReadResource, WatchResource

ROUNDS = 50 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 3
WRITERS = 3


class Told:
    """What was acknowledged, and what was being asked for when the node went."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """By URI."""
        self.versions: dict[str, list[str]] = {}
        """By the name of the prompt."""
        self.doubt: set[str] = set()


async def write(client: Any, writer: int, told: Told) -> None:
    """Create, change and delete until the node is gone."""
    for number in range(10_000):
        text = f"{writer} {number} " * (number % 50 + 1)
        await write_item(client, f"note:{writer}/{number % 20}", text, told, delete=number % 7 == 0)
        await write_prompt(client, f"p{writer}-{number % 20}", text, told, delete=number % 7 == 0)


async def write_item(client: Any, uri: str, text: str, told: Told, *, delete: bool) -> None:
    told.doubt.add(uri)
    if uri not in told.texts:
        await client.request(CreateItem(uri=uri, kind="text", name="n", text=text))
        told.texts[uri] = text
    elif delete:
        await client.request(DeleteItem(uri=uri))
        del told.texts[uri]
    else:
        await client.request(ChangeItem(uri=uri, text=text))
        told.texts[uri] = text
    told.doubt.remove(uri)


async def write_prompt(client: Any, name: str, text: str, told: Told, *, delete: bool) -> None:
    told.doubt.add(name)
    if name not in told.versions:
        await client.request(CreatePrompt(name=name, template=text))
        told.versions[name] = [text]
    elif delete:
        await client.request(DeletePrompt(name=name))
        del told.versions[name]
    else:
        await client.request(ChangePrompt(name=name, template=text))
        told.versions[name].append(text)
    told.doubt.remove(name)


async def check(client: Any, told: Told) -> None:
    """See that the node has what it acknowledged; what was in doubt is whole, and taken as it is from now on."""
    items = (await client.request(ListItems(limit=1000))).items
    texts: dict[str, str] = {}
    for item in items:
        [contents] = await client.request(ReadResource(server="catalog", uri=item.uri))
        assert len(contents.text.encode()) == item.size
        texts[item.uri] = contents.text
    versions: dict[str, list[str]] = {}
    for prompt in (await client.request(ListStoredPrompts(limit=1000))).items:
        page = await client.request(ListPromptVersions(name=prompt.name, limit=1000))
        assert [each.version for each in reversed(page.items)] == list(range(1, len(page.items) + 1))
        versions[prompt.name] = [each.template for each in reversed(page.items)]
    assert sure(texts, told) == sure(told.texts, told)
    assert sure(versions, told) == sure(told.versions, told)
    told.texts, told.versions, told.doubt = texts, versions, set()


def sure(known: dict[str, Any], told: Told) -> dict[str, Any]:
    return {key: value for key, value in known.items() if key not in told.doubt}


@pytest.mark.timeout(60 + ROUNDS * 20)
def test_kill_9_loses_nothing_that_was_acknowledged(node_process: Callable[..., Any]) -> None:
    async def scenario() -> None:
        entropy, node = random.Random(6), node_process()
        told = Told()
        for _ in range(ROUNDS):
            await node.start()
            clients = [await node.client() for _ in range(WRITERS)]
            await check(clients[0], told)
            load = [asyncio.create_task(write(client, n, told)) for n, client in enumerate(clients)]
            await asyncio.sleep(0.3 + entropy.random() * 0.7)
            node.kill()
            for end in await asyncio.gather(*load, return_exceptions=True):
                assert isinstance(end, UmbrellaError | ConnectionError), repr(end)
            for client in clients:
                await client.disconnect()
        assert told.texts and told.versions, "something was written"
        await node.start()
        await check(await node.client(), told)
        await node.let_go()

    asyncio.run(scenario())


def test_an_upload_that_was_acknowledged_is_there_after_kill_9(node_process: Callable[..., Any]) -> None:
    async def scenario() -> None:
        node, data = node_process(), os.urandom(3_000_000)
        await node.start()
        client = await node.client()
        made = await client.request(CreateItem(kind="upload", name="a.bin", blob=data))
        node.kill()
        await client.disconnect()
        await node.start()
        client = await node.client()
        assert await client.request(GetItem(uri=made.uri)) == made
        [contents] = await client.request(ReadResource(server="catalog", uri=made.uri))
        assert contents.blob == data
        await node.let_go()

    asyncio.run(scenario())


def test_another_principal_finds_nothing_private_on_any_path(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "node" / "prompts").mkdir(parents=True)
        (tmp_path / "node" / "prompts" / "filed.md").write_text("secret")
        async with Node(Settings(data_dir=tmp_path / "node")) as node, asyncio.timeout(60):
            mine, theirs = node.client(), node.client()
            await mine.connect(ClientInfo(name="mine", token=node.owner_token))
            key = await mine.request(CreateKey(name="friend"))
            friend = (await theirs.connect(ClientInfo(name="theirs", token=key.secret))).principal_id
            made = await mine.request(CreateItem(uri="note:a", kind="text", name="a", text="secret"))
            assert friend != made.owner_id
            await mine.request(CreatePrompt(name="stored", template="secret"))
            uri, names = {"uri": "note:a"}, [{"name": "stored"}, {"name": "filed"}]
            refused: list[Any] = [GetItem(**uri), ChangeItem(**uri, text="x"), DeleteItem(**uri)]
            refused += [ReadResource(server="catalog", **uri), WatchResource(server="catalog", **uri)]
            for name in names:
                refused += [GetStoredPrompt(**name), ChangePrompt(**name, title="x"), DeletePrompt(**name)]
                refused += [RenderPrompt(**name), RevertPrompt(**name, version=1), ListPromptVersions(**name)]
                refused += [GetPrompt(server="catalog", **name)]
                refused += [Complete(server="catalog", kind="prompt", argument="x", **name)]
            for command in refused:
                with pytest.raises(NotFound) as caught:
                    await theirs.request(command)
                assert "secret" not in str(caught.value.body()) and made.owner_id not in str(caught.value)
            for listing in (
                ListItems(),
                ListItems(query="secret"),
                ListStoredPrompts(),
                ListStoredPrompts(query="stored"),
            ):
                assert (await theirs.request(listing)).items == []
            for listing in (ListResources(server="catalog"), ListPrompts(server="catalog")):
                assert (await theirs.request(listing)).items == []
            for count in (CountItems(), CountItems(query="secret"), CountPrompts()):
                assert await theirs.request(count) == 0
            asked = Complete(server="catalog", kind="template", name="", argument="uri", value="note")
            assert (await theirs.request(asked)).values == []
            for count in (CountItems(), CountPrompts()):
                assert await mine.request(count) == (1 if isinstance(count, CountItems) else 2)
            # the same names are free for them, and theirs stay apart
            await theirs.request(CreateItem(uri="note:a", kind="text", name="b", text="theirs"))
            assert (await theirs.request(ReadResource(server="catalog", **uri)))[0].text == "theirs"
            assert (await mine.request(ReadResource(server="catalog", **uri)))[0].text == "secret"

    asyncio.run(scenario())


def test_files_and_pages_need_the_right_of_their_owner_and_the_data_directory_stays_closed(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        (tmp_path / "note.txt").write_text("on disk")
        async with Node(Settings(data_dir=tmp_path / "node")) as node, asyncio.timeout(60):
            mine, theirs = node.client(), node.client()
            await mine.connect(ClientInfo(name="mine", token=node.owner_token))
            key = await mine.request(CreateKey(name="friend"))
            await theirs.connect(ClientInfo(name="theirs", token=key.secret))

            async def read(client: Any, uri: str) -> str | None:
                [contents] = await client.request(ReadResource(server="catalog", uri=uri))
                text: str | None = contents.text
                return text

            async def add(client: Any, uri: str, kind: Any, source: str) -> None:
                await client.request(
                    CreateItem(uri=uri, kind=kind, name="n", source=source, visibility="public")
                )

            await add(mine, "doc:note", "file", str(tmp_path / "note.txt"))
            assert await read(mine, "doc:note") == await read(theirs, "doc:note") == "on disk"
            publish = GrantCapability(
                agent=key.key.principal_id, resource_uri="mcp://tool/execute/catalog/publish"
            )
            await mine.request(publish)
            await add(theirs, "doc:theirs", "file", str(tmp_path / "note.txt"))
            await add(theirs, "web:theirs", "url", "https://example.org/")
            for uri in ("doc:theirs", "web:theirs"):
                for client in (mine, theirs):
                    with pytest.raises(NotPermitted):
                        await read(client, uri)
            for name in ("node.token", "audit.jsonl", "node.lock"):
                await add(mine, f"doc:{name}", "file", str(tmp_path / "node" / name))
                with pytest.raises(NotPermitted):
                    await read(mine, f"doc:{name}")
            for source in ("http://127.0.0.1:1/", "http://localhost:1/", "http://192.168.1.1/"):
                await add(mine, f"web:{source}", "url", source)
                with pytest.raises(NotPermitted):
                    await read(mine, f"web:{source}")

    asyncio.run(scenario())
