"""The seats of MCP clients and the endpoints of virtual servers: kept as long as somebody uses them, and no longer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_core import McpSettings, open_seal
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_web import mcp as module
from mcp_web.entrance import FOREVER, Entrance, Identity
from mcp_web.mcp import IDLE_S, LOOK_S, McpMount


class AtTheDoor:
    """Lets everybody in under the name they bring."""

    def __init__(self) -> None:
        self.names = {"kept"}
        self.ends_at = FOREVER

    async def identify(self, scope: Any, publication: str | None = None) -> Identity:
        return Identity(scope["who"], scope["who"], "", ends_at=self.ends_at)

    async def still(self, identity: Identity) -> bool:
        return True

    async def published(self) -> set[str]:
        return self.names


class SlowPortal:
    """One whose virtual server is looked up for as long as a test wants."""

    def __init__(self) -> None:
        self.catalogue = self
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.busy, self.closed = 0, False

    async def publication(self) -> None:
        self.asked.set()
        await self.go.wait()

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def mount(tmp_path: Path, clock: ManualClock, door: Any) -> McpMount:
    seal = open_seal(tmp_path, SeededEntropy())
    return McpMount(door, cast("Entrance", AtTheDoor()), seal, clock, McpSettings())


def test_a_client_that_is_being_let_in_is_not_shown_out(
    mount: McpMount, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PORTALS", 1)

    async def come(who: str, served: Callable[[], None]) -> None:
        async with mount._admitted({"who": who}, None):
            served()

    async def scenario() -> None:
        portal = SlowPortal()
        monkeypatch.setattr(mount, "_portal", lambda *_: portal)
        served: list[str] = []
        first = asyncio.create_task(come("first", lambda: served.append("first")))
        sweeper = asyncio.create_task(mount.sweep())
        await portal.asked.wait()
        for _ in range(int(IDLE_S / LOOK_S) + 2):
            clock.advance(LOOK_S)
            for _ in range(5):
                await asyncio.sleep(0)
        with pytest.raises(module.TooMuch):
            await come("second", lambda: served.append("second"))
        assert not portal.closed
        portal.go.set()
        await first
        assert served == ["first"] and portal.busy == 0
        await come("second", lambda: served.append("second"))
        assert portal.closed and served == ["first", "second"]
        sweeper.cancel()

    asyncio.run(scenario())


def test_the_seat_of_a_newer_token_lasts_as_long_as_that(mount: McpMount) -> None:
    async def scenario() -> None:
        ends = []
        for end in (10.0, 30.0, 20.0):
            cast("Any", mount)._entrance.ends_at = end
            async with mount._admitted({"who": "ann"}, None) as seat:
                ends.append(seat.identity.ends_at)
        assert ends == [10.0, 30.0, 30.0]
        await mount.close()

    asyncio.run(scenario())


def test_the_endpoint_of_a_virtual_server_goes_with_it(mount: McpMount) -> None:
    async def scenario() -> None:
        for name in (None, "kept", "gone"):
            await mount._endpoint(name)
        gone = mount._endpoints["gone"]
        await mount._clear()
        assert set(mount._endpoints) == {None, "kept"}
        assert gone._task is not None and gone._task.done()
        await mount.close()

    asyncio.run(scenario())
