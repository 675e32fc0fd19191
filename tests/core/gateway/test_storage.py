"""Commands about the journal, and its row in the node's health."""

import asyncio
from typing import Any

import pytest

from mcp_core.gateway.handlers.storage import StorageCommands, journal_check
from mcp_interface.commands import GetStorage, RebuildStorage, VerifyStorage
from mcp_interface.errors import NotPermitted, StorageCorrupt, StorageUnavailable
from mcp_interface.ids import PrincipalId
from mcp_interface.store import StoreReport
from mcp_interface.testing import MemoryStore

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
    commands = StorageCommands(store, OWNER)
    return asyncio.run(commands.handlers()[type(command)](who, command))


def test_whoever_is_let_in_may_see_how_the_journal_is_and_check_it() -> None:
    assert ask(Told(), GUEST, GetStorage()) == WELL
    check = ask(Told(), GUEST, VerifyStorage())
    assert (check.ok, check.events, check.problem) == (True, 7, "")


def test_damage_is_an_answer_with_its_place_and_what_to_do() -> None:
    found = StorageCorrupt(
        "position 5 was changed", "restore from a backup", {"position": 5, "file": "2.seg", "saved_up_to": 4}
    )
    check = ask(Told(verdict=found), OWNER, VerifyStorage())
    assert (check.ok, check.events) == (False, 4)
    assert (check.problem, check.remedy) == ("position 5 was changed", "restore from a backup")
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
        commands = StorageCommands(store, OWNER)
        asking = [asyncio.create_task(commands.verify(GUEST, VerifyStorage())) for _ in range(5)]
        await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.gather(asking[0], return_exceptions=True)
        store.may_end.set()
        checks = await asyncio.gather(*asking[1:])
        assert all(check.ok for check in checks)
        assert store.readings == 1
        await commands.verify(GUEST, VerifyStorage())
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


def test_a_journal_that_cannot_even_say_how_it_is_is_an_error() -> None:
    class Gone(Told):
        async def report(self) -> StoreReport:
            raise StorageUnavailable("the disk is gone", "mend it")

    check = asyncio.run(journal_check(Gone()))
    assert (check.status, check.detail, check.remedy) == ("error", "the disk is gone", "mend it")
