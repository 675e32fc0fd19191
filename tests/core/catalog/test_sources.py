"""Files and URLs behind resources: by the owner's right, judged at each reading, refused where it does not reach."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.catalog.room import FRIEND, OWNER, STRANGER, Room, room
from mcp_core.catalog import sources
from mcp_interface.catalog import MAX_CONTENT
from mcp_interface.cataloging import ChangeItem, CountItems, CreateItem, GetItem, ListItems
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.offers import Contents
from security.local_web import OTHER, PUBLIC, Network, Page, Seen, Web, moved, reply, serving

SITE = "site.example"
ALL = "mcp://api/get/http/site.example/**"


def in_a_room(work: Callable[[Room], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), room() as made:
            await work(made)

    asyncio.run(scenario())


async def add_file(made: Room, path: Path, uri: str = "doc:a", **more: Any) -> None:
    await made.ask(OWNER, CreateItem(uri=uri, kind="file", name="n", source=str(path), **more))


# -- files ---------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_is_now_by_the_right_of_the_owner(tmp_path: Path) -> None:
    async def work(made: Room) -> None:
        file = tmp_path / "a.md"
        await add_file(made, file, visibility="public")
        with pytest.raises(NotPermitted) as caught:
            await made.read(OWNER, "doc:a")
        assert caught.value.remedy == f"umbrella grant {OWNER} mcp://fs/read{file}"
        grant = await made.grant(OWNER, f"mcp://fs/read{tmp_path}/**")
        with pytest.raises(NotFound):
            await made.read(OWNER, "doc:a")
        file.write_text("one")
        assert await made.read(OWNER, "doc:a") == "one"
        file.write_text("two")
        [contents] = await made.opened.offering.read(FRIEND, "doc:a")
        marked = {"umbrella/owner": OWNER}
        assert contents == Contents(uri="doc:a", mime_type="text/markdown", text="two", meta=marked)
        noted = [entry for entry in made.kernel.audit if entry.kind == "access_allowed"]
        assert {entry.principal_id for entry in noted} == {OWNER}, "the owner's right, on record"
        await made.kernel.revoke(grant.capability.id, OWNER)
        for who in (OWNER, FRIEND):
            with pytest.raises(NotPermitted):
                await made.read(who, "doc:a")
        with pytest.raises(NotPermitted) as caught:
            await made.read(FRIEND, "doc:a")
        assert str(tmp_path) not in str(caught.value.body()) and OWNER not in str(caught.value.body())
        assert (await made.ask(OWNER, GetItem(uri="doc:a"))).source == str(file)
        assert (await made.ask(FRIEND, GetItem(uri="doc:a"))).source == ""
        [item] = (await made.ask(FRIEND, ListItems())).items
        assert item.source == "", "where it comes from is its owner's affair"

    in_a_room(work)


def test_the_right_of_who_reads_does_not_count(tmp_path: Path) -> None:
    async def work(made: Room) -> None:
        (tmp_path / "a").write_text("x")
        await add_file(made, tmp_path / "a", visibility="public")
        await made.grant(FRIEND, "mcp://fs/read/**")
        with pytest.raises(NotPermitted):
            await made.read(FRIEND, "doc:a")

    in_a_room(work)


def test_no_link_leads_out_of_the_right(tmp_path: Path) -> None:
    async def work(made: Room) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
        await made.grant(OWNER, f"mcp://fs/read{tmp_path}/in/**")
        await add_file(made, tmp_path / "in" / "link")
        with pytest.raises(NotPermitted):
            await made.read(OWNER, "doc:a")

    in_a_room(work)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("notes", b"plain", "text/plain"),
        ("data", b"\0\1", "application/octet-stream"),
        ("data", b"\xff", "application/octet-stream"),
        ("a.html", b"<p>", "text/html"),
        ("a.txt", b"\xff", "text/plain"),
    ],
)
def test_a_file_is_what_its_name_and_bytes_say(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    async def work(made: Room) -> None:
        (tmp_path / name).write_bytes(data)
        await made.grant(OWNER, "mcp://fs/read/**")
        await add_file(made, tmp_path / name)
        [contents] = await made.opened.offering.read(OWNER, "doc:a")
        assert contents.mime_type == kind
        text = data.decode("utf-8", "replace")
        assert (contents.text or contents.blob) == (data if "\ufffd" in text or "\0" in text else text)

    in_a_room(work)


def test_limits_of_the_right_and_of_the_catalog_hold(tmp_path: Path) -> None:
    async def work(made: Room) -> None:
        (tmp_path / "a").write_bytes(b"x" * (MAX_CONTENT + 1))
        (tmp_path / "b").write_bytes(b"x" * MAX_CONTENT)
        await made.grant(OWNER, "mcp://fs/read/**")
        await add_file(made, tmp_path / "a", "doc:a")
        await add_file(made, tmp_path / "b", "doc:b")
        with pytest.raises(CallerMistaken, match="at most"):
            await made.read(OWNER, "doc:a")
        assert len(await made.read(OWNER, "doc:b")) == MAX_CONTENT
        with pytest.raises(NotPermitted, match="max_file_size"):
            item = await made.ask(OWNER, ChangeItem(uri="doc:b", name="m"))
            made.opened.resources._sources._bytes(item.source, "mcp://fs/read/**", {"max_file_size": 10})

    in_a_room(work)


def test_whoever_is_not_the_owner_is_not_told_where_a_thing_is(tmp_path: Path) -> None:
    async def work(made: Room) -> None:
        await add_file(made, tmp_path / "big", visibility="public")
        await made.grant(OWNER, f"mcp://fs/read{tmp_path}/**")
        for data, kind in ((None, NotFound), (b"x" * (MAX_CONTENT + 1), CallerMistaken)):
            if data is not None:
                (tmp_path / "big").write_bytes(data)
            for who in (OWNER, FRIEND):
                with pytest.raises(kind) as caught:
                    await made.read(who, "doc:a")
                assert (str(tmp_path) in repr(caught.value.body())) == (who == OWNER)

    in_a_room(work)


def test_whoever_is_not_the_owner_is_not_told_from_which_url_a_thing_is() -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made, "/a?key=hidden", visibility="public")
        for who in (OWNER, FRIEND):
            with pytest.raises(WorldBroken) as caught:
                await made.read(who, "web:a")
            assert ("hidden" in repr(caught.value.body())) == (who == OWNER)

    with_web({"/a?key=hidden": reply(404, b"")}, work)


# -- URLs ----------------------------------------------------------------------------------------------------


def with_web(
    pages: Mapping[str, Page],
    work: Callable[[Room, Web, Network], Awaitable[None]],
    names: Mapping[str, list[list[str]]] | None = None,
) -> None:
    """Run `work` in a room whose network is this one: public addresses lead to a real server on this machine."""

    async def scenario() -> None:
        async with asyncio.timeout(60), serving(pages) as web:
            network = Network(web, names or {SITE: [[PUBLIC]]})
            async with room(network.gate()) as made:
                await made.grant(OWNER, ALL)
                await work(made, web, network)

    asyncio.run(scenario())


async def add_url(made: Room, path: str = "/a", uri: str = "web:a", **more: Any) -> None:
    source = path if "://" in path else f"http://{SITE}{path}"
    await made.ask(OWNER, CreateItem(uri=uri, kind="url", name="n", source=source, **more))


def test_a_url_is_fetched_at_each_reading_and_nothing_is_kept() -> None:
    pages: dict[str, Page] = {"/a": reply(200, b"one", Content_Type="text/plain; charset=utf-8")}

    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made, visibility="public")
        assert web.seen == [], "nothing is fetched before it is read"
        assert await made.read(OWNER, "web:a") == "one"
        web.pages = {"/a": reply(200, b"\0", Content_Type="image/png")}
        [contents] = await made.opened.offering.read(STRANGER, "web:a")
        marked = {"umbrella/owner": OWNER}
        assert contents == Contents(uri="web:a", mime_type="image/png", blob=b"\0", meta=marked)
        assert [(one.method, one.target) for one in web.seen] == [("GET", "/a")] * 2
        assert made.blobs.kept == {}
        assert await made.ask(OWNER, CountItems(query="one")) == 0
        web.pages = {"/a": reply(200, b"bare")}
        assert await made.read(OWNER, "web:a") == b"bare", "without a type nothing is guessed"
        await made.ask(OWNER, ChangeItem(uri="web:a", mime_type="text/plain"))
        assert await made.read(OWNER, "web:a") == "bare"

    with_web(pages, work)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (reply(404, b"nothing"), "status 404"),
        (reply(500, b"broken"), "status 500"),
        (reply(204), None),
        (reply(200, b"x" * (MAX_CONTENT + 1)), "more than"),
        (reply(200, b"<p>log in", Content_Type="text/html"), "text/html, not application/json"),
        (moved(f"http://{SITE}/b"), None),
        (moved("http://other.example/b"), "not followed"),
        (moved("http://127.0.0.1/b"), "not followed"),
        (moved("http://localhost/b"), "not followed"),
        (moved("http://[::1]/b"), "not followed"),
        (moved("http://169.254.169.254/latest"), "not followed"),
        (moved("file:///etc/passwd"), "not followed"),
        (b"no HTTP at all", ""),
    ],
)
def test_what_is_not_what_it_stands_for_is_an_error_and_never_text(page: Page, told: str | None) -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        await made.grant(OWNER, "mcp://api/get/**")
        await add_url(made, mime_type="application/json")
        if told is None:
            await made.opened.offering.read(OWNER, "web:a")
            return
        with pytest.raises(WorldBroken) as caught:
            await made.read(OWNER, "web:a")
        assert told in caught.value.message
        assert all(address == PUBLIC for address, _ in network.connected)
        assert made.blobs.kept == {}

    pages: dict[str, Page] = {"/a": page, "/b": reply(200, b"{}", Content_Type="application/json")}
    with_web(pages, work, {SITE: [[PUBLIC]], "other.example": [["10.0.0.1"]]})


@pytest.mark.parametrize(
    "answers",
    [
        [["127.0.0.1"]],
        [["10.1.2.3"]],
        [["192.168.0.1"]],
        [["169.254.169.254"]],
        [["::1"]],
        [["fd00::1"]],
        [["::ffff:127.0.0.1"]],
        [["0.0.0.0"]],
        [[PUBLIC, "127.0.0.1"]],
        [],
    ],
)
def test_a_name_that_leads_to_a_private_address_is_refused(answers: list[list[str]]) -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made)
        with pytest.raises((NotPermitted, WorldBroken)):
            await made.read(OWNER, "web:a")
        assert network.connected == []

    with_web({"/a": reply(200, b"secret")}, work, {SITE: answers or [[]]})


def test_a_name_that_changes_its_mind_is_judged_again_at_each_reading() -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made)
        assert await made.read(OWNER, "web:a") == b"public"
        with pytest.raises(NotPermitted):
            await made.read(OWNER, "web:a")
        assert network.connected == [(PUBLIC, 80)]
        assert network.looked_up == [SITE, SITE], "resolved once for each reading, and connected to that"

    with_web({"/a": reply(200, b"public")}, work, {SITE: [[PUBLIC], ["127.0.0.1"]]})


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1/", "http://localhost/", "http://10.0.0.1/", "http://[::1]/"]
)
def test_no_wildcard_right_reaches_this_machine(source: str) -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        await made.grant(OWNER, "mcp://api/get/**")
        await add_url(made, source)
        with pytest.raises(NotPermitted):
            await made.read(OWNER, "web:a")
        assert network.connected == []

    with_web({}, work)


def test_a_url_needs_the_right_of_its_owner() -> None:
    async def work(made: Room, web: Web, network: Network) -> None:
        command = CreateItem(
            uri="web:f", kind="url", name="n", source=f"http://{SITE}/a", visibility="public"
        )
        await made.ask(FRIEND, command)
        for who in (FRIEND, OWNER):
            with pytest.raises(NotPermitted):
                await made.read(who, "web:f")
        assert web.seen == []
        await add_url(made, f"http://{OTHER}/a")
        with pytest.raises(NotPermitted):
            await made.read(OWNER, "web:a")

    with_web({"/a": reply(200, b"x")}, work)


def test_a_server_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SECONDS", 0.2)

    async def never(request: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        await asyncio.sleep(5)

    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made)
        with pytest.raises(DeadlineExceeded):
            await made.read(OWNER, "web:a")

    with_web({"/a": never}, work)


def test_an_endless_answer_is_cut_while_it_comes() -> None:
    sent = 0

    async def endless(request: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 x\r\nContent-Type: text/plain\r\n\r\n")
        while sent < 100 * MAX_CONTENT:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    async def work(made: Room, web: Web, network: Network) -> None:
        await add_url(made)
        with pytest.raises(UmbrellaError, match="more than"):
            await made.read(OWNER, "web:a")
        assert sent < 10 * MAX_CONTENT

    with_web({"/a": endless}, work)
