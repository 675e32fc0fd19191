"""The plug of the data directory's disk is pulled under load and the node killed: nothing acknowledged is lost.

A real node over a real ext4. Only what clients were told before the plug was pulled counts. The audit is asked
too: its chain is whole, and each right that was handed out stands in it once.
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flow.workload import (
    Acknowledged,
    add_slow_server,
    check,
    connect_slow_server,
    until_refused,
    watch,
    work,
)

from mcp_interface.commands import GetStorage, VerifyAudit
from mcp_interface.errors import UmbrellaError
from persistence.crash.conftest import disks, faults  # noqa: F401 the rigs' own fixtures
from persistence.crash.disks import LOG_FLUSH, NO_LOG_FLUSH, Plug, make_image, mounted, plug

ROUNDS = 100 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 4
WORKERS = 4
MEGABYTES = 256
FOUND = re.compile(r"[\d,]+ events in [\d,]+ streams?(; [^;\n]+)*")
DARK = frozenset({"node_unavailable", "interrupted", "storage_unavailable", "denied"})
"""What a client may hear of a node whose disk is gone."""
SECONDS = 20.0


class Rig:
    """One disk, and the lives of the nodes on it.

    Args:
        folder: For the disk and what tools write.
        node_process: Makes a node, see `conftest`.
        seed: Decides what clients do, and when the plug is pulled.
    """

    def __init__(self, folder: Path, node_process: Callable[..., Any], seed: int) -> None:
        self.image, self.point, self.written = folder / "disk.img", folder / "disk", folder / "written"
        self.written.mkdir()
        make_image(self.image, MEGABYTES)
        self.told = Acknowledged()
        self.found: list[str] = []
        self.refusals: Counter[str] = Counter()
        self._node_process = node_process
        self._entropy = random.Random(seed)

    @contextmanager
    def disk(self) -> Iterator[Plug]:
        with mounted(self.image, self.point), plug(self.point) as cord:
            yield cord

    async def live(self, cord: Plug, flag: int, *, patient: bool, environ: dict[str, str]) -> None:
        """Start a node, look, work, pull the plug, kill; a patient one first sees the node refuse."""
        node = self._node_process(environ=environ, data_dir=self.point / "node")
        await node.start()
        clients = [await node.client() for _ in range(WORKERS + 2)]
        observer, watcher, *workers = clients
        if not self.found:
            await add_slow_server(observer)
        await self._look(observer)
        await connect_slow_server(observer)
        os.sync()
        told = self.told
        load = [
            asyncio.create_task(until_refused(work(client, self.written, told, self._entropy), DARK))
            for client in workers
        ]
        watching = asyncio.create_task(until_refused(watch(watcher, told), DARK))
        await asyncio.sleep(0.1 + self._entropy.random() * 0.9)
        self.told = told.copy()
        cord.pull(flag)
        if patient:
            async with asyncio.timeout(SECONDS):
                self.refusals.update(await asyncio.gather(*load))
                await self._see_it_refuse(observer)
        node.kill()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*load, watching)
        for client in clients:
            await client.disconnect()
        await released(self.point)

    async def look(self) -> None:
        """Start a node only to look, and end it."""
        node = self._node_process(data_dir=self.point / "node")
        await node.start()
        client = await node.client()
        try:
            await self._look(client)
        finally:
            await client.disconnect()
            node.kill()
            await released(self.point)

    async def _look(self, client: Any) -> None:
        report = await client.request(GetStorage())
        assert report.state == "writable"
        assert FOUND.fullmatch(report.found), report.found
        self.found.append(report.found)
        await check(client, self.told)
        audit = await client.request(VerifyAudit())
        assert audit.ok, audit.problem

    async def _see_it_refuse(self, client: Any) -> None:
        report = await client.request(GetStorage())
        while report.state == "writable":  # all that was refused so far was refused by the audit
            await asyncio.sleep(0.05)
            report = await client.request(GetStorage())
        assert report.state == "read_only"
        assert "errno" in report.reason or "disk" in report.reason, report.reason


async def released(point: Path) -> None:
    """Wait until no process holds a file of a disk: servers end a moment after their node."""
    async with asyncio.timeout(SECONDS):
        while any(name.startswith(f"{point}/") for name in _open_files()):
            await asyncio.sleep(0.01)


def _open_files() -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                links = list((process / "fd").iterdir())
            except OSError:  # it has ended meanwhile
                continue
            for link in links:
                try:
                    yield os.readlink(link)
                except OSError:
                    continue


@pytest.fixture
def rig(disks: None, tmp_path: Path, node_process: Callable[..., Any]) -> Iterator[Rig]:  # noqa: F811
    made = Rig(tmp_path, node_process, seed=2026)
    yield made
    made.image.unlink()


@pytest.mark.timeout(60 + ROUNDS * 20)
def test_the_plug_is_pulled_and_the_node_comes_back_with_everything_acknowledged(rig: Rig) -> None:
    for number in range(ROUNDS):
        with rig.disk() as cord:
            flag = (LOG_FLUSH, NO_LOG_FLUSH)[number % 2]
            asyncio.run(rig.live(cord, flag, patient=number % 4 > 1, environ={}))
    with rig.disk():
        asyncio.run(rig.look())
    assert len(rig.found) == ROUNDS + 1
    assert rig.told.total > ROUNDS * 10
    print(
        f"{ROUNDS} cuts, {rig.told.total} acknowledged ({len(rig.told.grants)} rights), refused {rig.refusals}"
    )
    print(*rig.found, sep="\n")


def test_the_rig_would_notice_a_node_that_does_not_sync(rig: Rig, faults: Path) -> None:  # noqa: F811
    environ = {"LD_PRELOAD": str(faults), "UMBRELLA_FAULT": "sync:1+:skip"}
    environ["UMBRELLA_FAULT_UNDER"] = str(rig.point)
    with rig.disk() as cord:
        asyncio.run(rig.live(cord, NO_LOG_FLUSH, patient=False, environ=environ))
    assert rig.told.total > 10
    with rig.disk(), pytest.raises((AssertionError, UmbrellaError)) as noticed:
        asyncio.run(rig.look())
    assert re.search(r"acknowledged|position \d+ changed|StorageCorrupt", str(noticed.value)), noticed.value
