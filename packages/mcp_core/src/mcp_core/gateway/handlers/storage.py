"""Commands about the journal: how it is, whether it is whole, and making anew what is derived from it."""

import asyncio
from pathlib import Path

from msgspec.structs import replace

from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_interface.commands import (
    Check,
    GetStorage,
    RebuildStorage,
    StorageCheck,
    VerifyStorage,
)
from mcp_interface.errors import StorageCorrupt, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.store import Store, StoreReport


class StorageCommands:
    """Handlers over the store of a node.

    Args:
        store: The node's.
        owner: Who may have it rebuilt.
        journal: Where it lies, for whoever has to put it back.
    """

    def __init__(self, store: Store, owner: PrincipalId, journal: Path) -> None:
        self._store = store
        self._owner = owner
        self._journal = journal
        self._last: StorageCheck | None = None
        self._verifying: asyncio.Task[StorageCheck] | None = None

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {GetStorage: self.status, VerifyStorage: self.verify, RebuildStorage: self.rebuild}

    async def status(self, who: PrincipalId, command: GetStorage) -> StoreReport:
        """How the journal is; damage stays in it until a verification finds none."""
        require_owner(who, self._owner, "look at its storage")
        return await self._report()

    async def verify(self, who: PrincipalId, command: VerifyStorage) -> StorageCheck:
        """Read everything back; whoever asks while that goes on gets the same answer.

        It runs to its end also when the asker has left: nothing of it can be thrown away half-way.
        """
        require_owner(who, self._owner, "verify its storage")
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.get_running_loop().create_task(self._verify())
        return await asyncio.shield(self._verifying)

    async def check(self) -> Check:
        """The journal as one row of the node's health; damage stays in it until a verification finds none."""
        return await journal_check(self._store, self._last)

    async def rebuild(self, who: PrincipalId, command: RebuildStorage) -> StoreReport:
        """Make anew what is derived from the journal."""
        require_owner(who, self._owner, "rebuild its storage")
        await self._store.rebuild()
        return await self._report()

    async def _report(self) -> StoreReport:
        report = await self._store.report()
        return report if self._last is None else replace(report, damage=self._last.problem)

    async def _verify(self) -> StorageCheck:
        self._last = await verified(self._store, self._journal)  # one that was broken off changes nothing
        return self._last


async def verified(store: Store, journal: Path) -> StorageCheck:
    """Read a store back; damage is an answer.

    Args:
        store: What to read.
        journal: Where it lies.

    Raises:
        StorageUnavailable: It could not be read to its end.
    """
    try:
        return StorageCheck(ok=True, events=await store.verify())
    except StorageCorrupt as error:
        return damage(error, journal)


def damage(error: StorageCorrupt, journal: Path) -> StorageCheck:
    """What a reader made of damage, and how its journal is put back."""
    sound = error.details.get("saved_up_to", 0)
    return StorageCheck(
        ok=False,
        events=sound if isinstance(sound, int) else 0,
        problem=error.message,
        remedy=f"{error.remedy}; that is: stop the node if one runs (umbrella node stop), "
        f"put {journal} back from a backup, start again (umbrella node start)",
        details=error.details,
    )


async def journal_check(store: Store, last: StorageCheck | None = None) -> Check:
    """The journal as one row of the node's health.

    Args:
        store: What to ask.
        last: What the last verification found, if there was one.
    """
    try:
        report = await store.report()
    except UmbrellaError as error:
        return Check(name="journal", status="error", detail=error.message, remedy=error.remedy)
    word = "read-only" if report.state == "read_only" else report.state
    if last is not None and not last.ok:
        return Check(
            name="journal",
            status="error",
            detail=f"{f'{word}: {report.reason}' if report.reason else word}; "
            f"the last verification found it damaged: {last.problem}",
            remedy=last.remedy,
        )
    if report.state != "writable":
        return Check(
            name="journal",
            status="error",
            detail=f"{word}, {report.head} events: {report.reason}",
            remedy="reading goes on; it is writable again by itself once the cause has ended",
        )
    detail = f"writable, {report.head} events in {report.streams} streams"
    if report.disk == "ok":
        return Check(name="journal", status="ok", detail=detail)
    return Check(
        name="journal",
        status=report.disk,
        detail=f"{detail}; its disk is {report.disk_used:.0%} full",
        remedy="make room: a full disk makes it read-only",
    )
