"""What a REPL says of the journal: what its opening found, when it refuses, and when it takes writes again."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.refusing import REASON, REMEDY, RefusingNode
from mcp_cli.attachment import Opened
from mcp_cli.invocation import Invocation
from mcp_cli.plain import run_plain
from mcp_cli.watching import StorageWatch
from mcp_core import Settings
from mcp_interface.client import ClientInfo
from mcp_interface.clock import SystemClock
from mcp_interface.commands import GetStorage
from mcp_interface.errors import NodeUnavailable, StorageUnavailable
from mcp_interface.store import StoreReport

FOUND = "7 events in 2 streams; cut off an unfinished write of 512 bytes behind position 7"
NEWS = "cut off an unfinished write of 512 bytes"


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_cli.watching.LOOK_S", 0.02)


class Opener:
    """Opens clients of a node in this process."""

    def __init__(self, node: RefusingNode) -> None:
        self._node = node

    async def open(self, start: bool) -> Opened:
        client = self._node.client()
        welcome = await client.connect(ClientInfo(name="test", token=self._node.owner_token))
        return Opened(client, welcome, client.disconnect)

    async def crashed(self) -> bool:
        return True


class Person:
    """Types lines into a plain REPL and reads what it prints."""

    def __init__(self, keys: int, printed: Callable[[], str]) -> None:
        self._keys = keys
        self._printed = printed

    def types(self, line: str) -> None:
        os.write(self._keys, f"{line}\n".encode())

    async def reads(self, text: str) -> str:
        try:
            async with asyncio.timeout(10):
                while text not in self._printed():
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise AssertionError(f"{text!r} was not printed in:\n{self._printed()}") from error
        return self._printed()


@asynccontextmanager
async def plain(node: RefusingNode, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Person]:
    ending, keys = os.pipe()
    so_far = ""

    def printed() -> str:
        nonlocal so_far
        so_far += capsys.readouterr().out
        return so_far

    with os.fdopen(ending) as source:
        repl = asyncio.create_task(run_plain(Invocation(), Opener(node), None, False, source))
        yield Person(keys, printed)
        os.close(keys)
        async with asyncio.timeout(10):
            assert await repl == 0


def test_the_plain_repl_says_why_nothing_is_taken_and_goes_on_when_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with (
            RefusingNode(Settings.load(tmp_path, {})) as node,
            plain(node, capsys) as person,
        ):
            person.types("/agent spawn before")
            await person.reads("before")
            node.refuse()
            await person.reads(REASON)
            person.types("hello?")
            told = await person.reads(f"remedy: {REMEDY}")
            assert told.count(REASON) == 1, "it is said once, not every few seconds"
            person.types("/storage")
            await person.reads("read-only")
            node.accept()
            await person.reads("takes writes again")
            person.types("hello again")
            await person.reads("> hello again")
            assert "Traceback" not in await person.reads("OPENAI_API_KEY")

    asyncio.run(scenario())


class Journal:
    """The client of a node whose journal is as a test says; also what a watch is attached to."""

    def __init__(self) -> None:
        self.state: Any = "writable"
        self.up = True

    @property
    def present(self) -> Any:
        return self if self.up else None

    async def request(self, command: Any, timeout: float | None = None) -> Any:
        if isinstance(command, GetStorage):
            return StoreReport(kind="memory", state=self.state, reason=REASON, head=1, streams=1)
        return SimpleNamespace(started_at=datetime(2026, 1, 1, tzinfo=UTC))


def looked(journal: Journal, *steps: Callable[[StorageWatch], None]) -> list[str]:
    """What a watch says when it looks after each of the steps."""
    said: list[str] = []

    async def scenario() -> None:
        attachment: Any = journal
        watch = StorageWatch(
            attachment, SystemClock(), lambda shown: said.append(getattr(shown, "text", "")), lambda: None
        )
        for step in steps:
            step(watch)
            await watch.look()

    asyncio.run(scenario())
    return said


def becomes(journal: Journal, state: str) -> Callable[[StorageWatch], None]:
    return lambda _: setattr(journal, "state", state)


def test_each_change_is_said_once_however_often_it_is_looked_at() -> None:
    journal = Journal()
    refusing, well = becomes(journal, "read_only"), becomes(journal, "writable")
    first, second = looked(journal, well, well, refusing, refusing, well, well)
    assert REASON in first
    assert "takes writes again" in second


def test_a_refusal_that_a_person_was_told_of_is_not_told_twice_but_its_end_is() -> None:
    journal = Journal()

    def refused(watch: StorageWatch) -> None:
        journal.state = "read_only"
        watch.refused(StorageUnavailable("the journal is read-only", REMEDY))

    (said,) = looked(journal, refused, becomes(journal, "writable"))
    assert "takes writes again" in said


def test_a_node_that_is_away_is_not_asked_and_changes_nothing() -> None:
    journal = Journal()
    (said,) = looked(
        journal,
        becomes(journal, "read_only"),
        lambda _: setattr(journal, "up", False),
        becomes(journal, "closed"),
    )
    assert REASON in said


@pytest.mark.parametrize(("found", "told"), [(FOUND, True), ("7 events in 2 streams", False), ("", False)])
def test_the_plain_repl_tells_what_the_opening_found_when_that_is_news(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], found: str, told: bool
) -> None:
    async def scenario() -> None:
        async with RefusingNode(Settings.load(tmp_path, {})) as node:
            node.found = found
            async with plain(node, capsys) as person:
                person.types("/status")
                await person.reads("epoch 1")
                text = await person.reads("data")
                assert (NEWS in text) == told
                assert ("when the node started" in text) == told

    asyncio.run(scenario())


def test_where_no_node_can_start_the_repl_says_why_and_still_reads_the_journal_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_cli.attachment.PATIENCE_S", 0.1)

    class NoNode:
        async def open(self, start: bool) -> Opened:
            raise NodeUnavailable("the node did not come up: position 3 is damaged", "see its log")

        async def crashed(self) -> bool:
            return True

    async def scenario() -> None:
        async with RefusingNode(Settings.load(tmp_path, {})):
            pass
        source = io.StringIO("/storage verify\n/agent list\n")
        async with asyncio.timeout(20):
            await run_plain(Invocation(data_dir=tmp_path), NoNode(), None, False, source)
        said = capsys.readouterr().out
        assert said.startswith("the node did not come up: position 3 is damaged\n")
        assert "whole" in said
        assert said.count("error: the node is away") == 2, "at the beginning, and where a node is needed"

    asyncio.run(scenario())


def test_the_full_screen_repl_tells_all_that_too(tmp_path: Path) -> None:
    from mcp_cli.history import InputHistory
    from mcp_cli.tui.app import UmbrellaApp

    async def scenario() -> None:
        async with RefusingNode(Settings.load(tmp_path, {})) as node:
            node.found = FOUND
            app: Any = UmbrellaApp(Invocation(), Opener(node), InputHistory())

            def screen() -> str:
                return " ".join(strip.text.strip() for strip in app.pane._lines)

            def status() -> str:
                return str(app.query_one("StatusBar").render().plain)

            async def until(condition: Callable[[], bool]) -> None:
                try:
                    async with asyncio.timeout(15):
                        while not condition():
                            await pilot.pause(0.02)
                except TimeoutError as error:
                    raise AssertionError(f"still not so:\n{screen()}\n{status()}") from error

            async def send(text: str) -> None:
                app.prompt.insert(text)
                app.popup.offer(())
                await pilot.press("enter")

            async with app.run_test(size=(120, 40)) as pilot:
                await until(lambda: NEWS in screen())
                assert "/mcp add NAME" in screen(), "beside what can be done"
                node.refuse()
                await until(lambda: REASON in screen() and "journal takes nothing" in status())
                await send("hello?")
                await until(lambda: f"→ {REMEDY}" in screen())
                node.accept()
                await until(lambda: "takes writes again" in screen())
                await until(lambda: "journal takes nothing" not in status())
                await send("hello again")
                await until(lambda: "▌ hello again" in screen())

    asyncio.run(scenario())
