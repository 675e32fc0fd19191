"""What resources are made of, what is kept behind them, and how they are found."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest

from core.catalog.room import FRIEND, OWNER, STRANGER, Room, room
from mcp_core.catalog import kept, library, watches
from mcp_core.catalog.resources import MAX_PROPERTIES
from mcp_interface.catalog import MAX_CONTENT
from mcp_interface.cataloging import ChangeItem, CountItems, CreateItem, DeleteItem, GetItem, ListItems
from mcp_interface.client import OffersChanged, ResourceChanged
from mcp_interface.errors import (
    CallerMistaken,
    LostRace,
    NotFound,
    StorageCorrupt,
    StorageUnavailable,
    TooMuch,
)
from mcp_interface.reading import Complete


def in_a_room(work: Callable[[Room], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), room() as made:
            await work(made)

    asyncio.run(scenario())


def make(uri: str = "note:a", kind: Any = "text", name: str = "n", **more: Any) -> CreateItem:
    return CreateItem(uri=uri, kind=kind, name=name, **more)


def test_text_is_kept_by_its_hash_and_comes_back_as_text() -> None:
    async def work(made: Room) -> None:
        item = await made.ask(
            OWNER, make(text="Ünïcode\r\n", mime_type="application/x-own", properties={"a": [1]})
        )
        digest = sha256("Ünïcode\r\n".encode()).hexdigest()
        assert (item.sha256, item.size, item.owner_id) == (digest, 11, OWNER)
        assert item.properties == {"a": [1]}
        [contents] = await made.opened.offering.read(OWNER, "note:a")
        assert (contents.text, contents.mime_type) == ("Ünïcode\r\n", "application/x-own")
        empty = await made.text(OWNER, "note:empty", "")
        assert (empty.size, empty.mime_type, await made.read(OWNER, "note:empty")) == (0, "text/plain", "")
        record = (await made.store.read(f"catalog:{OWNER}"))[0]
        assert "Ünïcode" not in str(record.event), "no event carries content"

    in_a_room(work)


@pytest.mark.parametrize(
    ("name", "mime_type", "data", "as_type", "is_text"),
    [
        ("a.md", "", b"# x", "text/markdown", True),
        ("a", "", b"x", "application/octet-stream", False),
        ("a.txt", "text/plain", b"\xff\xfe", "text/plain", False),
        ("a", "text/plain; charset=utf-8", "é".encode(), "text/plain; charset=utf-8", True),
        ("a.json", "", b"{}", "application/json", True),
        ("a.png", "", b"\x89PNG", "image/png", False),
    ],
)
def test_uploads_come_back_as_text_only_where_they_are_some(name, mime_type, data, as_type, is_text) -> None:
    async def work(made: Room) -> None:
        command = make("file:///u/a", "upload", name, blob=data, mime_type=mime_type)
        assert (await made.ask(OWNER, command)).mime_type == as_type
        found = await made.read(OWNER, "file:///u/a")
        assert found == (data.decode() if is_text else data)

    in_a_room(work)


@pytest.mark.parametrize(
    "command",
    [
        make(),
        make(text="a", blob=b"a"),
        make(text="a", source="/a"),
        make(kind="upload"),
        make(kind="upload", text="a"),
        make(kind="file"),
        make(kind="file", source="/a", text="a"),
        make(kind="file", source="a"),
        make(kind="file", source="/a/../b"),
        make(kind="file", source="/a/*"),
        make(kind="file", source="/a/"),
        make(kind="file", source="/a\n"),
        make(kind="url"),
        make(kind="url", source="ftp://example.com/a"),
        make(kind="url", source="file:///etc/passwd"),
        make(kind="url", source="https://me:secret@example.com/"),
        make(kind="url", source="example.com"),
        make(text="\ud800"),
        make(text="x" * (MAX_CONTENT + 1)),
        make(kind="upload", blob=b"x" * (MAX_CONTENT + 1)),
        make(text="a", name=" "),
        make(text="a", name="x" * 201),
        make(text="a", description="x" * 10_001),
        make(text="a", description="\ud800"),
        make(text="a", mime_type="text"),
        make(text="a", mime_type="text/plain\r\nSet-Cookie: a=b"),
        make(text="a", mime_type="text/plain; a=b\x00"),
        make(text="a", properties={"a": "x" * MAX_PROPERTIES}),
        make(text="a", properties={"a": object()}),
        make("blob:sha256:" + "0" * 64, text="a"),
    ],
)
def test_what_is_no_resource_is_refused_and_nothing_stays(command: CreateItem) -> None:
    async def work(made: Room) -> None:
        with pytest.raises(CallerMistaken) as caught:
            await made.ask(OWNER, command)
        assert caught.value.remedy
        assert made.blobs.kept == {}
        assert await made.ask(OWNER, CountItems()) == 0
        assert await made.store.head() == 0, "nobody gets a stream by being refused"

    in_a_room(work)


def test_a_change_is_partial_and_content_is_really_stored() -> None:
    async def work(made: Room) -> None:
        before = await made.text(OWNER, "note:a", "old", description="d", tags=["t"])
        made.clock.advance(5)
        after = await made.ask(OWNER, ChangeItem(uri="note:a", text="new", name="m"))
        assert (after.name, after.description, after.tags) == ("m", "d", ["t"])
        assert after.created_at == before.created_at < after.updated_at
        assert await made.read(OWNER, "note:a") == "new"
        assert list(made.blobs.kept) == [after.sha256], "what nothing names any more is gone"
        cleared = await made.ask(OWNER, ChangeItem(uri="note:a", description="", tags=[], mime_type=""))
        assert (cleared.description, cleared.tags, cleared.mime_type) == ("", [], "text/plain")
        assert cleared.sha256 == after.sha256

    in_a_room(work)


@pytest.mark.parametrize(
    "change",
    [
        {"blob": b"a"},
        {"source": "/a"},
        {"name": ""},
        {"mime_type": "nothing"},
        {"text": "x" * (MAX_CONTENT + 1)},
        {"properties": {"a": "x" * MAX_PROPERTIES}},
    ],
)
def test_a_change_that_breaks_a_rule_changes_nothing(change: dict[str, Any]) -> None:
    async def work(made: Room) -> None:
        before = await made.text(OWNER, "note:a")
        with pytest.raises(CallerMistaken):
            await made.ask(OWNER, ChangeItem(uri="note:a", **change))
        assert await made.ask(OWNER, GetItem(uri="note:a")) == before
        assert await made.read(OWNER, "note:a") == "text"

    in_a_room(work)


def test_two_people_keep_the_same_bytes_once_until_neither_needs_them() -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a", "same")
        await made.text(FRIEND, "note:a", "same")
        await made.text(FRIEND, "note:b", "same")
        assert len(made.blobs.kept) == 1
        await made.ask(FRIEND, DeleteItem(uri="note:a"))
        await made.ask(OWNER, DeleteItem(uri="note:a"))
        assert await made.read(FRIEND, "note:b") == "same"
        await made.ask(FRIEND, ChangeItem(uri="note:b", text="other"))
        await made.ask(FRIEND, DeleteItem(uri="note:b"))
        assert made.blobs.kept == {}

    in_a_room(work)


def test_bytes_that_are_about_to_be_named_stay_when_somebody_else_lets_go_of_them() -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a", "same")
        commit = made.store.append
        let_go = asyncio.Event()

        async def slowly(stream: str, *args: Any, **more: Any) -> Any:
            if stream.endswith(FRIEND):
                await let_go.wait()
            return await commit(stream, *args, **more)

        made.store.append = slowly  # type: ignore[method-assign]
        coming = asyncio.create_task(made.text(FRIEND, "note:b", "same"))
        while not coming.done() and not made.opened.resources._kept._coming:
            await asyncio.sleep(0)
        await made.ask(OWNER, DeleteItem(uri="note:a"))
        let_go.set()
        await coming
        assert await made.read(FRIEND, "note:b") == "same"

    in_a_room(work)


def test_a_refused_duplicate_leaves_no_bytes_and_a_disk_in_doubt_keeps_them() -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a", "first")
        with pytest.raises(LostRace):
            await made.text(OWNER, "note:a", "second")
        twice = await asyncio.gather(
            *(made.text(OWNER, "note:b", f"text {number}") for number in range(5)), return_exceptions=True
        )
        assert sum(isinstance(each, LostRace) for each in twice) == 4
        assert len(made.blobs.kept) == 2
        commit = made.store.append

        async def in_doubt(*args: Any, **more: Any) -> Any:
            await commit(*args, **more)
            raise StorageUnavailable("the disk is gone")

        made.store.append = in_doubt  # type: ignore[method-assign]
        with pytest.raises(StorageUnavailable):
            await made.text(OWNER, "note:c", "in doubt")
        made.store.append = commit  # type: ignore[method-assign]
        await made.open()
        assert await made.read(OWNER, "note:c") == "in doubt", "it had been written"

    in_a_room(work)


def test_what_was_damaged_is_told_as_damage() -> None:
    async def work(made: Room) -> None:
        item = await made.text(OWNER, "note:a")

        async def broken(digest: str) -> bytes:
            raise StorageCorrupt("flipped")

        made.blobs.get = broken  # type: ignore[method-assign]
        with pytest.raises(StorageCorrupt):
            await made.read(OWNER, "note:a")
        assert (await made.ask(OWNER, ListItems(query="word"))).items == [], "search goes on without it"
        assert (await made.ask(OWNER, ListItems(query=item.name))).items == [item]

    in_a_room(work)


# -- finding -------------------------------------------------------------------------------------------------


def test_all_words_must_occur_somewhere_and_none_is_a_pattern() -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:one", "Some.*words (and) ÄPFEL", description="first", tags=["Red"])
        await made.text(OWNER, "note:two", "other", tags=["red", "round"])

        async def found(query: str, **more: Any) -> list[str]:
            page = await made.ask(OWNER, ListItems(query=query, **more))
            assert await made.ask(OWNER, CountItems(query=query, **more)) == len(page.items)
            return [item.uri for item in page.items]

        assert await found("äpfel FIRST red some") == ["note:one"]
        assert await found("A\u0308pfel") == ["note:one"], "however the letter is put together"
        assert await found(".*") == ["note:one"]
        assert await found("s.me") == []
        assert await found("[") == await found("(?:") == await found("\\") == []
        assert sorted(await found("  ")) == sorted(await found("red")) == ["note:one", "note:two"]
        assert await found("red", tags=["red"]) == ["note:two"], "tags are told apart by case"
        assert await found("", tags=["red", "round"], kind="text") == ["note:two"]
        assert await found("", kind="url") == []
        await made.ask(OWNER, ChangeItem(uri="note:two", text="apples"))
        assert await found("other") == []
        assert await found("apples") == ["note:two"]
        with pytest.raises(CallerMistaken):
            await found("x" * 1_001)

    in_a_room(work)


def test_texts_that_are_ready_for_search_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(made: Room) -> None:
        for number in range(10):
            await made.text(OWNER, f"note:{number}", f"word{number} " * 10)
        reads = 0
        get = made.blobs.get

        async def counted(digest: str) -> bytes:
            nonlocal reads
            reads += 1
            return await get(digest)

        made.blobs.get = counted  # type: ignore[method-assign]
        for _ in range(3):
            assert await made.ask(OWNER, CountItems(query="word3")) == 1
        assert reads == 10
        monkeypatch.setattr(kept, "MAX_READY", 150)
        assert await made.ask(OWNER, CountItems(query="word3")) == 1
        held = made.opened.resources._kept
        assert held._ready_size == sum(map(len, held._ready.values())) <= 150

    in_a_room(work)


def test_pages_hold_each_item_once_latest_change_first() -> None:
    async def work(made: Room) -> None:
        for number in range(7):
            made.clock.advance(number % 3)  # several at one instant
            await made.text([OWNER, FRIEND][number % 2], f"note:{number % 5}", visibility="public")
        cursor, seen = None, []
        while True:
            page = await made.ask(OWNER, ListItems(limit=2, cursor=cursor))
            seen += page.items
            cursor = page.cursor
            if cursor is None:
                break
        assert len({(item.owner_id, item.uri) for item in seen}) == len(seen) == 7
        times = [item.updated_at for item in seen]
        assert times == sorted(times, reverse=True)
        with pytest.raises(CallerMistaken):
            await made.ask(OWNER, ListItems(cursor="odd"))

    in_a_room(work)


# -- bounds --------------------------------------------------------------------------------------------------


def test_numbers_are_bounded_for_each_person_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_ITEMS", 2)
    monkeypatch.setattr(library, "MAX_RESULTS", 1)

    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a")
        await made.text(OWNER, "note:b")
        with pytest.raises(TooMuch, match="2 resources"):
            await made.text(OWNER, "note:c")
        await made.text(FRIEND, "note:c")
        uri = await made.opened.resources.keep_result(OWNER, b"1", "text/plain")
        with pytest.raises(TooMuch, match="results"):
            await made.opened.resources.keep_result(OWNER, b"2", "text/plain")
        assert await made.opened.resources.keep_result(OWNER, b"1", "text/plain") == uri
        await made.ask(OWNER, DeleteItem(uri="note:a"))
        await made.text(OWNER, "note:c")
        await made.ask(OWNER, DeleteItem(uri=uri))
        await made.opened.resources.keep_result(OWNER, b"2", "text/plain")
        assert len(made.blobs.kept) == 2, "one text, one result"

    in_a_room(work)


def test_the_room_that_records_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a", description="x" * 1000)
        weight = made.opened.resources._libraries.of(OWNER).weight
        monkeypatch.setattr(library, "MAX_WEIGHT", weight + 100)
        with pytest.raises(TooMuch):
            await made.text(OWNER, "note:b")
        with pytest.raises(TooMuch):
            await made.ask(OWNER, ChangeItem(uri="note:a", description="x" * 1200))
        await made.ask(OWNER, ChangeItem(uri="note:a", description="x" * 10))
        await made.text(OWNER, "note:b")
        for uri in ("note:a", "note:b"):
            await made.ask(OWNER, DeleteItem(uri=uri))
        assert made.opened.resources._libraries.of(OWNER).weight == 0

    in_a_room(work)


# -- results and watches -------------------------------------------------------------------------------------


def test_a_kept_result_is_read_by_its_owner_alone() -> None:
    async def work(made: Room) -> None:
        data = b"\0" * 1000
        uri = await made.opened.resources.keep_result(FRIEND, data, "application/x-big")
        assert uri == f"blob:sha256:{sha256(data).hexdigest()}"
        assert await made.read(FRIEND, uri) == data
        for who in (OWNER, STRANGER):
            with pytest.raises(NotFound):
                await made.read(who, uri)
            assert await made.ask(who, CountItems()) == 0
        assert await made.opened.resources.keep_result(OWNER, data, "odd type") == uri
        await made.ask(FRIEND, DeleteItem(uri=uri))
        assert await made.read(OWNER, uri) == data
        assert (await made.ask(OWNER, GetItem(uri=uri))).mime_type == "application/octet-stream"
        await made.open()
        assert await made.read(OWNER, uri) == data
        with pytest.raises(CallerMistaken, match="names what it holds"):
            await made.ask(OWNER, ChangeItem(uri=uri, blob=b"else"))
        with pytest.raises(TooMuch):
            await made.opened.resources.keep_result(OWNER, bytes(10 * 1024 * 1024 + 1), "")

    in_a_room(work)


def test_changes_are_told_and_a_uri_only_if_somebody_watches_who_may_read_it() -> None:
    async def work(made: Room) -> None:
        offering = made.opened.offering
        await made.text(OWNER, "note:a", visibility="public")
        assert made.told == [OffersChanged(server="catalog", kind="resources")]
        with pytest.raises(NotFound):
            await offering.watch(FRIEND, "note:b")
        for _ in range(2):
            await offering.watch(FRIEND, "note:a")
        made.told.clear()
        await made.ask(OWNER, ChangeItem(uri="note:a", text="new"))
        assert made.told.count(ResourceChanged(server="catalog", uri="note:a")) == 1
        await made.ask(OWNER, ChangeItem(uri="note:a", visibility="private"))
        made.told.clear()
        await made.ask(OWNER, ChangeItem(uri="note:a", text="newer"))
        assert all(isinstance(each, OffersChanged) for each in made.told), "it is no business of theirs now"
        for _ in range(2):
            await offering.unwatch(FRIEND, "note:a")
        await offering.watch(OWNER, "note:a")
        await made.ask(OWNER, DeleteItem(uri="note:a"))
        assert ResourceChanged(server="catalog", uri="note:a") in made.told

    in_a_room(work)


def test_what_one_person_watches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MAX_WATCHED", 1)

    async def work(made: Room) -> None:
        for uri in ("note:a", "note:b"):
            await made.text(OWNER, uri)
        await made.opened.offering.watch(OWNER, "note:a")
        with pytest.raises(TooMuch):
            await made.opened.offering.watch(OWNER, "note:b")
        await made.opened.offering.watch(OWNER, "note:a")

    in_a_room(work)


def test_uris_are_completed_by_their_beginning() -> None:
    async def work(made: Room) -> None:
        for number in range(105):
            await made.text(OWNER, f"note:{number:03}")
        await made.text(FRIEND, "note:private")

        async def asked(value: str) -> Any:
            command = Complete(server="catalog", kind="template", name="", argument="uri", value=value)
            return await made.opened.offering.complete(OWNER, command)

        all_ = await asked("note:")
        assert (len(all_.values), all_.total, all_.has_more) == (100, 105, True)
        few = await asked("note:10")
        assert (few.values, few.has_more) == ([f"note:10{n}" for n in range(5)], False)
        assert await made.opened.offering.templates(OWNER) == []

    in_a_room(work)


def test_everything_is_found_again_after_a_snapshot_too() -> None:
    async def work(made: Room) -> None:
        for number in range(600):  # more than the usual distance of snapshots
            uri = f"note:{number % 10}"
            if number < 10:
                await made.text(OWNER, uri, str(number))
            else:
                await made.ask(OWNER, ChangeItem(uri=uri, text=str(number)))
        assert await made.store.load_snapshot(f"catalog:{OWNER}") is not None
        before = (await made.ask(OWNER, ListItems())).items
        weight = made.opened.resources._libraries.of(OWNER).weight
        await made.open()
        assert (await made.ask(OWNER, ListItems())).items == before
        assert made.opened.resources._libraries.of(OWNER).weight == weight
        assert await made.read(OWNER, "note:9") == "599"

    in_a_room(work)


def test_an_item_that_became_another_one_is_not_changed_by_what_was_meant_for_the_first() -> None:
    async def work(made: Room) -> None:
        seen = await made.text(OWNER, "note:a")
        await made.ask(OWNER, DeleteItem(uri="note:a"))
        made.clock.advance(1)
        state = made.opened.resources._libraries.of(OWNER)
        with pytest.raises(NotFound):
            library.change_item(state, seen, {"name": "m"}, made.clock.now())
        await made.ask(OWNER, make(kind="upload", blob=b"x"))
        with pytest.raises(LostRace):
            library.change_item(state, seen, {"name": "m"}, made.clock.now())

    in_a_room(work)


def test_what_becomes_private_while_a_search_reads_is_not_in_its_answer() -> None:
    async def work(made: Room) -> None:
        await made.text(OWNER, "note:a", "needle", visibility="public")
        get, reading = made.blobs.get, asyncio.Event()
        let_go = asyncio.Event()

        async def slowly(digest: str) -> bytes:
            reading.set()
            await let_go.wait()
            return await get(digest)

        made.blobs.get = slowly  # type: ignore[method-assign]
        search = asyncio.create_task(made.ask(FRIEND, ListItems(query="needle")))
        await reading.wait()
        await made.ask(OWNER, ChangeItem(uri="note:a", visibility="private"))
        let_go.set()
        assert (await search).items == []

    in_a_room(work)


def test_a_clock_that_was_set_back_turns_no_time_around() -> None:
    async def work(made: Room) -> None:
        before = await made.text(OWNER, "note:a")
        made.set_clock_back(3600)
        after = await made.ask(OWNER, ChangeItem(uri="note:a", text="new"))
        assert after.updated_at == before.updated_at

    in_a_room(work)


def test_whoever_is_refused_leaves_nothing_in_memory() -> None:
    async def work(made: Room) -> None:
        for command in (
            DeleteItem(uri="note:a"),
            ChangeItem(uri="note:a", text="x"),
            make(text="x", name=" "),
        ):
            with pytest.raises((NotFound, CallerMistaken)):
                await made.ask(STRANGER, command)
        with pytest.raises(NotFound):
            await made.opened.resources._libraries.change(
                STRANGER, lambda state: library.item_of(state, "x") and []
            )
        assert made.opened.resources._libraries._histories == {}

    in_a_room(work)


@pytest.mark.parametrize(
    ("command", "uri"),
    [
        (CreateItem(kind="text", name="My list/ü", text="x"), f"text:///{OWNER}/My%20list%2F%C3%BC"),
        (CreateItem(kind="upload", name="a b.pdf", blob=b"x"), f"file:///{OWNER}/a%20b.pdf"),
        (CreateItem(kind="file", name="n", source="/tmp/a b"), "file:///tmp/a%20b"),
        (CreateItem(kind="url", name="n", source="https://example.org/a?b"), "https://example.org/a?b"),
    ],
)
def test_a_uri_is_made_for_what_was_given_none(command: CreateItem, uri: str) -> None:
    async def work(made: Room) -> None:
        assert (await made.ask(OWNER, command)).uri == uri
        with pytest.raises(LostRace):
            await made.ask(OWNER, command)
        await made.ask(FRIEND, command)  # two people may have the same name
        with pytest.raises(CallerMistaken, match="no URI"):
            await made.ask(OWNER, CreateItem(kind="upload", name="\U0001f600" * 200, blob=b""))

    in_a_room(work)
