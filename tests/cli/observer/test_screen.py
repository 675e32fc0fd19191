"""The observer as a person uses it, without a terminal, over a real node in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from mcp_cli.attachment import Opened
from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation
from mcp_cli.observer.app import ObserverApp
from mcp_cli.observer.letters import LettersScreen
from mcp_cli.observer.question import Question
from mcp_cli.observer.rows import Rows
from mcp_cli.observer.screen import ObserverScreen
from mcp_cli.tui.app import UmbrellaApp
from mcp_core import Node, Settings
from mcp_interface.client import Client, ClientInfo
from mcp_interface.clock import SystemClock
from mcp_interface.commands import ListAgents, SendMessage, SpawnAgent
from mcp_interface.errors import NodeUnavailable, NotFound
from mcp_interface.observe import ListLost, ListSeen, ObserveRuntime

PATIENCE_S = 15.0


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times a second: no test has to wait for the next one."""
    monkeypatch.setattr("mcp_cli.observer.screen.LOOK_S", 0.1)
    monkeypatch.setattr("mcp_cli.observer.screen.SILENT_S", 0.4)
    monkeypatch.setattr("mcp_cli.observer.letters.LOOK_S", 0.1)


class Opener:
    """Opens clients of a node in this process; none while it is `away`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.away = False

    async def open(self, start: bool) -> Opened:
        if self.away:
            raise NodeUnavailable("no node runs here")
        client = self.node.client()
        welcome = await client.connect(ClientInfo(name="test", token=self.node.owner_token))
        return Opened(client, welcome, client.disconnect)

    async def crashed(self) -> bool:
        return True


class Scene:
    """An open observer, as a test drives it."""

    def __init__(self, app: Any, pilot: Pilot[None], client: Client) -> None:
        self.app = app
        self.pilot = pilot
        self.client = client

    @property
    def text(self) -> str:
        """Everything that the screen in front says."""
        screen = self.app.screen
        parts = [str(each.render()) for each in screen.query(Static)]
        return "\n".join([*parts, *(rows.text for rows in screen.query(Rows) if rows.display)])

    @property
    def told(self) -> str:
        """What is told in passing, in a corner."""
        return "\n".join(each.message for each in self.app._notifications)

    async def until(self, condition: Callable[[], Any]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    await self.pilot.pause(0.02)
        except TimeoutError as error:
            raise AssertionError(f"still not so; the screen shows:\n{self.text}") from error

    async def sees(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text for text in texts))

    async def marks(self, text: str) -> None:
        """Move the cursor to the line that has this in it."""
        await self.sees(text)
        rows = self.app.screen.query(Rows).first()
        await self.pilot.press("home")
        for _ in range(50):
            if text in rows._rows[rows.cursor][1].plain:
                return
            await self.pilot.press("down")
        raise AssertionError(f"no line with {text!r}")

    async def spawn(self, name: str, **metadata: Any) -> str:
        return (await self.client.request(SpawnAgent(name=name, metadata=metadata))).id


def observing(
    place: Path, work: Callable[[Scene, Opener], Awaitable[None]], size: tuple[int, int] = (80, 24)
) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Scene, Opener]]:
        async with Node(Settings.load(place / "node", {})) as node:
            opener = Opener(node)
            client = (await opener.open(False)).client
            app = ObserverApp(opener, SystemClock())
            async with app.run_test(size=size) as pilot:
                yield Scene(app, pilot, client), opener

    async def scenario() -> None:
        async with opened() as (scene, opener):
            await scene.sees("▾ agents")
            await work(scene, opener)

    asyncio.run(scenario())


def test_the_tree_fits_eighty_columns_and_follows_what_happens(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        await scene.sees(
            "▾ node (one_for_one, 0)", "▾ sessions", "tool_executor", "0 dead letters", "s", "quit"
        )
        await scene.spawn("ann")
        await scene.sees("worker ann agent_")
        rows = scene.app.screen.query_one("#tree", Rows)
        assert all(len(line) <= 78 for line in rows.text.splitlines())
        (line,) = [line for line in rows.text.splitlines() if "worker ann" in line]
        assert "idle" in line or "waiting" in line, "on a busy machine it is still at its beginning"
        assert line.split()[-1].endswith("k"), "its memory"

    observing(tmp_path, work)


def test_rates_are_told_and_the_order_is_chosen(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        ann, _bob = await scene.spawn("ann"), await scene.spawn("bob")
        await scene.sees("worker ann", "worker bob", "sort: mail")
        sending = asyncio.ensure_future(_keep_sending(scene.client, ann))
        await scene.pilot.press("s")
        await scene.sees("sort: rate")

        def first() -> str:
            lines = [each for each in scene.app.view._lines.values() if each.actor is not None]
            return lines[0].actor.name if (lines[0].rate or 0) > 1 else ""

        await scene.until(lambda: first() == ann)
        sending.cancel()
        for sort in ("restarts", "name", "mail"):
            await scene.pilot.press("s")
            await scene.sees(f"sort: {sort}")

    observing(tmp_path, work)


async def _keep_sending(client: Client, agent: str) -> None:
    while True:
        await client.request(SendMessage(to=f"mcp://agent/{agent}"))
        await asyncio.sleep(0.01)


def test_the_cursor_stays_on_its_actor_when_the_order_changes(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        for name in ("ann", "bob", "cid"):
            await scene.spawn(name)
        await scene.marks("worker bob")
        rows = scene.app.screen.query_one("#tree", Rows)
        key = rows.key
        for _sort in range(4):
            await scene.pilot.press("s")
            assert rows.key == key
        await scene.spawn("dan")
        await scene.sees("worker dan")
        assert rows.key == key

    observing(tmp_path, work)


def test_a_filter_is_asked_of_the_node_and_ends_with_esc(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        await scene.spawn("ann")
        await scene.sees("worker ann", "tool_executor")
        await scene.pilot.press("slash")
        await scene.until(lambda: scene.app.screen.focused is scene.app.view.filter)
        await scene.pilot.press(*"WORKER")
        await scene.until(lambda: "tool_executor" not in scene.text and "worker ann" in scene.text)
        await scene.pilot.press("enter")
        assert not scene.app.view.filter.display
        await scene.sees("/ WORKER")
        await scene.pilot.press("escape")
        await scene.sees("tool_executor")

    observing(tmp_path, work)


def test_an_actor_is_watched_and_left_alone_again(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        ann = await scene.spawn("ann")
        await scene.marks("worker ann")
        await scene.pilot.press("w")
        await scene.sees("◉ worker ann")
        await scene.client.request(SendMessage(to=f"mcp://agent/{ann}", payload={"text": "[bold]the mail"}))
        await scene.sees("[bold]the mail", "ok", "user_")
        await scene.pilot.press("w")
        await scene.until(lambda: not scene.app.view.seen.display)
        with pytest.raises(NotFound):
            await scene.client.request(ListSeen(name=ann))
        await scene.pilot.press("w")
        await scene.sees("◉ worker ann")
        await scene.pilot.press("q")
        await scene.until(lambda: not scene.app.is_running)
        with pytest.raises(NotFound):
            await scene.client.request(ListSeen(name=ann))

    observing(tmp_path, work)


def test_a_kill_is_asked_about_first_and_the_actor_comes_back(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        ann = await scene.spawn("ann")
        await scene.marks("worker ann")

        async def restarts() -> int:
            return next(
                each.restarts for each in (await scene.client.request(ListAgents())).items if each.id == ann
            )

        await scene.pilot.press("k")
        await scene.until(lambda: isinstance(scene.app.screen, Question))
        assert "Kill worker ann" in scene.text
        await scene.pilot.press("n")
        await scene.until(lambda: isinstance(scene.app.screen, ObserverScreen))
        assert await restarts() == 0
        await scene.pilot.press("k")
        await scene.until(lambda: isinstance(scene.app.screen, Question))
        await scene.pilot.press("y")
        await scene.until(
            lambda: any(line.actor and line.actor.restarts == 1 for line in scene.app.view._lines.values())
        )
        assert await restarts() == 1
        await scene.marks("▾ agents")
        await scene.pilot.press("k")
        await scene.until(lambda: "a supervisor is not killed" in scene.told)
        assert isinstance(scene.app.screen, ObserverScreen)
        await scene.pilot.press("w")
        await scene.until(lambda: "a supervisor receives no messages" in scene.told)

    observing(tmp_path, work)


def test_dead_letters_are_sent_again_and_forgotten(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        for topic in ("news", "weather"):
            with pytest.raises(NotFound):
                await scene.client.request(SendMessage(to=f"mcp://broadcast/{topic}", payload=f"the {topic}"))
        await scene.sees("2 dead letters")
        await scene.pilot.press("d")
        await scene.until(lambda: isinstance(scene.app.screen, LettersScreen))
        await scene.sees("2 messages reached nobody", "'the weather'", "broadcast/news", "not_found")
        await scene.marks("the news")
        await scene.pilot.press("r")
        await scene.until(lambda: bool(scene.app._notifications))
        assert len((await scene.client.request(ListLost())).items) == 2, "still nobody listens"
        await scene.spawn("ann", topics=["news"])
        await scene.pilot.press("r")
        await scene.until(lambda: "the news" not in scene.text)
        await scene.pilot.press("f")
        await scene.sees("every message reached somebody")
        await scene.pilot.press("escape")
        await scene.sees("0 dead letters")

    observing(tmp_path, work)


def test_a_node_that_does_not_answer_is_told_in_red_and_found_again(tmp_path: Path) -> None:
    async def work(scene: Scene, opener: Opener) -> None:
        view, ask = scene.app.view, scene.app.view._ask
        held = asyncio.Event()

        async def silent(command: Any, timeout: float | None = 60.0) -> Any:
            await held.wait()
            return await ask(command, timeout)

        view._ask = silent
        await scene.sees("no answer for", "umbrella logs")
        held.set()
        await scene.until(lambda: "no answer" not in scene.text)

        async def gone(command: Any, timeout: float | None = 60.0) -> Any:
            raise NodeUnavailable("the node is away; it is looked for again")

        view._ask = gone
        await scene.sees("the node is away")
        view._ask = ask
        await scene.until(lambda: "the node is away" not in scene.text)

    observing(tmp_path, work)


def test_a_connection_that_breaks_is_made_again_and_no_node_is_started(tmp_path: Path) -> None:
    async def work(scene: Scene, opener: Opener) -> None:
        connection = scene.app.connection
        await scene.until(lambda: connection._opened is not None)
        await connection._opened.client.disconnect("cut")
        opener.away = True
        with pytest.raises(NodeUnavailable):
            await connection.request(ObserveRuntime())
        opener.away = False
        await scene.until(lambda: connection._opened is not None)
        assert (await connection.request(ObserveRuntime())).tree.name == "node"

    observing(tmp_path, work)


@pytest.mark.parametrize("size", [(80, 24), (44, 10), (160, 50)])
def test_it_is_usable_at_every_size(tmp_path: Path, size: tuple[int, int]) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        await scene.spawn("ann")
        await scene.marks("worker ann")
        rows = scene.app.screen.query_one("#tree", Rows)
        assert rows.cursor - rows.scroll_offset.y in range(rows.size.height)
        strip = rows.render_line(rows.cursor - rows.scroll_offset.y)
        assert strip.cell_length == rows.scrollable_content_region.width
        assert any(segment.style and segment.style.reverse for segment in strip), "seen without colours, too"

    observing(tmp_path, work, size)


def test_a_look_that_says_nothing_new_draws_nothing(tmp_path: Path) -> None:
    async def work(scene: Scene, _: Opener) -> None:
        await scene.sees("tool_executor")
        rows = scene.app.screen.query_one("#tree", Rows)
        drawn: list[int] = []
        refresh = rows.refresh

        def drawing(*given: Any, **options: Any) -> Any:
            drawn.append(1)
            return refresh(*given, **options)

        rows.refresh = drawing
        same = [(key, text.copy()) for key, text in rows._rows]
        rows.fill(same)
        assert drawn == []
        rows.fill(same[:-1])
        assert drawn

    observing(tmp_path, work)


def test_the_repl_opens_it_and_has_its_keys_back_afterwards(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(Settings.load(tmp_path / "node", {})) as node:
            app = UmbrellaApp(Invocation(), Opener(node), InputHistory())
            async with app.run_test(size=(100, 32)) as pilot:
                scene = Scene(app, pilot, (await Opener(node).open(False)).client)
                await scene.until(lambda: app.repl.status is not None)
                app.prompt.insert("/observe")
                app.popup.offer(())
                await pilot.press("enter")
                await scene.until(lambda: isinstance(app.screen, ObserverScreen))
                await scene.sees("▾ agents", "tool_executor")
                await pilot.press("pagedown", "ctrl+d", "escape")
                assert isinstance(app.screen, ObserverScreen)
                await pilot.press("q")
                await scene.until(lambda: not isinstance(app.screen, ObserverScreen))
                await pilot.press("h", "i")
                await scene.until(lambda: app.prompt.text == "hi")

    asyncio.run(scenario())
