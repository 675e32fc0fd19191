"""Commands about the journal, and its row in the node's health."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcp_core.gateway.handlers.node import disk
from mcp_core.gateway.handlers.storage import StorageCommands, journal_check
from mcp_interface.commands import GetStorage, RebuildStorage, VerifyStorage
from mcp_interface.errors import NotPermitted, StorageCorrupt, StorageUnavailable
from mcp_interface.ids import PrincipalId
from mcp_interface.store import StoreReport
from mcp_interface.testing import MemoryStore

JOURNAL = Path("/data/journal")
OWNER, GUEST = PrincipalId("user_" + "a" * 32), PrincipalId("user_" + "b" * 32)
WELL = StoreReport(kind="memory", state="writable", head=7, streams=2, disk_used=0.4)


class Told(MemoryStore):
    """Says of itself what a test says."""

    def __init__(self, report: StoreReport = WELL, verdict: int | Exception = 7) -> None:
        super().__init__()
        self.told, self.verdict = report, verdict
        self.readings = self.rebuilt = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def report(self) -> StoreReport:
        return self.told

    async def verify(self) -> int:
        self.readings += 1
        await self.may_end.wait()
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    async def rebuild(self) -> None:
        self.rebuilt += 1


def ask(store: Told, who: PrincipalId, command: Any) -> Any:
    commands = StorageCommands(store, OWNER, JOURNAL)
    return asyncio.run(commands.handlers()[type(command)](who, command))


def test_the_owner_may_see_how_the_journal_is_and_check_it_and_nobody_else() -> None:
    for command in (GetStorage(), VerifyStorage()):
        with pytest.raises(NotPermitted):
            ask(Told(), GUEST, command)
    assert ask(Told(), OWNER, GetStorage()) == WELL
    check = ask(Told(), OWNER, VerifyStorage())
    assert (check.ok, check.events, check.problem) == (True, 7, "")


def test_damage_is_an_answer_with_its_place_and_what_to_do() -> None:
    found = StorageCorrupt(
        "position 5 was changed", "restore from a backup", {"position": 5, "file": "2.seg", "saved_up_to": 4}
    )
    check = ask(Told(verdict=found), OWNER, VerifyStorage())
    assert (check.ok, check.events) == (False, 4)
    assert check.problem == "position 5 was changed"
    assert check.remedy.startswith("restore from a backup; ")
    steps = ["umbrella node stop", str(JOURNAL), "umbrella node start"]
    places = [check.remedy.index(step) for step in steps]
    assert places == sorted(places), "how it is put back, in order"
    assert check.details == {"position": 5, "file": "2.seg", "saved_up_to": 4}


def test_a_journal_that_cannot_be_read_to_its_end_is_an_error_not_a_verdict() -> None:
    with pytest.raises(StorageUnavailable):
        ask(Told(verdict=StorageUnavailable("the disk is gone")), OWNER, VerifyStorage())


def test_only_the_owner_may_have_it_rebuilt() -> None:
    store = Told()
    with pytest.raises(NotPermitted):
        ask(store, GUEST, RebuildStorage())
    assert store.rebuilt == 0
    assert ask(store, OWNER, RebuildStorage()) == WELL
    assert store.rebuilt == 1


def test_many_who_ask_cost_one_reading_and_one_who_leaves_does_not_end_it() -> None:
    async def scenario() -> None:
        store = Told()
        store.may_end.clear()
        commands = StorageCommands(store, OWNER, JOURNAL)
        asking = [asyncio.create_task(commands.verify(OWNER, VerifyStorage())) for _ in range(5)]
        await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.gather(asking[0], return_exceptions=True)
        store.may_end.set()
        checks = await asyncio.gather(*asking[1:])
        assert all(check.ok for check in checks)
        assert store.readings == 1
        await commands.verify(OWNER, VerifyStorage())
        assert store.readings == 2, "a later question is answered anew"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("report", "level", "said"),
    [
        ({}, "ok", "writable, 7 events"),
        (
            {"state": "read_only", "reason": "the disk is full"},
            "error",
            "read-only, 7 events: the disk is full",
        ),
        ({"state": "closed"}, "error", "closed"),
        ({"disk": "warning", "disk_used": 0.87}, "warning", "87%"),
        ({"disk": "error", "disk_used": 0.96}, "error", "96%"),
    ],
)
def test_the_journals_row_in_the_health(report: dict[str, Any], level: str, said: str) -> None:
    told = StoreReport(**{"kind": "memory", "state": "writable", "head": 7, "streams": 2, **report})
    check = asyncio.run(journal_check(Told(told)))
    assert (check.name, check.status) == ("journal", level)
    assert said in check.detail
    assert bool(check.remedy) == (level != "ok")


def test_damage_that_was_found_stays_in_health_and_status_until_a_verification_finds_none() -> None:
    async def scenario() -> None:
        store = Told()
        commands = StorageCommands(store, OWNER, JOURNAL)
        assert (await commands.check()).status == "ok", "nothing was verified yet"
        store.verdict = StorageCorrupt("position 5 was changed", "restore from a backup")
        found = await commands.verify(OWNER, VerifyStorage())
        check = await commands.check()
        assert (check.name, check.status, check.remedy) == ("journal", "error", found.remedy)
        assert (await commands.status(OWNER, GetStorage())).damage == "position 5 was changed"
        assert (await commands.rebuild(OWNER, RebuildStorage())).damage == "position 5 was changed"
        assert "position 5 was changed" in check.detail
        store.told = StoreReport(kind="memory", state="read_only", reason="no room", head=7, streams=2)
        assert "no room" in (await commands.check()).detail, "the one trouble does not hide the other"
        store.told, store.verdict = WELL, StorageUnavailable("the disk is gone")
        with pytest.raises(StorageUnavailable):
            await commands.verify(OWNER, VerifyStorage())
        assert (await commands.check()).status == "error", "one that was broken off says nothing"
        store.verdict = 7
        await commands.verify(OWNER, VerifyStorage())
        assert (await commands.check()).status == "ok"
        assert await commands.status(OWNER, GetStorage()) == WELL

    asyncio.run(scenario())


def test_a_nodes_disk_is_counted_as_its_journal_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=100, used=27, free=13)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert disk(tmp_path).detail.startswith("68% used"), "what root keeps back is not free"


def test_a_journal_that_cannot_even_say_how_it_is_is_an_error() -> None:
    class Gone(Told):
        async def report(self) -> StoreReport:
            raise StorageUnavailable("the disk is gone", "mend it")

    check = asyncio.run(journal_check(Gone()))
    assert (check.status, check.detail, check.remedy) == ("error", "the disk is gone", "mend it")
