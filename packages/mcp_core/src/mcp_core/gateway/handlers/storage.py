"""Commands about the journal: how it is, whether it is whole, and making anew what is derived from it."""

import asyncio

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
    """Handlers over the store of a node."""

    def __init__(self, store: Store, owner: PrincipalId) -> None:
        self._store = store
        self._owner = owner
        self._verifying: asyncio.Task[StorageCheck] | None = None

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {GetStorage: self.status, VerifyStorage: self.verify, RebuildStorage: self.rebuild}

    async def status(self, who: PrincipalId, command: GetStorage) -> StoreReport:
        """How the journal is."""
        return await self._store.report()

    async def verify(self, who: PrincipalId, command: VerifyStorage) -> StorageCheck:
        """Read everything back; whoever asks while that goes on gets the same answer.

        It runs to its end also when the asker has left: nothing of it can be thrown away half-way.
        """
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.get_running_loop().create_task(verified(self._store))
        return await asyncio.shield(self._verifying)

    async def rebuild(self, who: PrincipalId, command: RebuildStorage) -> StoreReport:
        """Make anew what is derived from the journal."""
        require_owner(who, self._owner, "rebuild its storage")
        await self._store.rebuild()
        return await self._store.report()


async def verified(store: Store) -> StorageCheck:
    """Read a store back; damage is an answer.

    Raises:
        StorageUnavailable: It could not be read to its end.
    """
    try:
        return StorageCheck(ok=True, events=await store.verify())
    except StorageCorrupt as error:
        return damage(error)


def damage(error: StorageCorrupt) -> StorageCheck:
    """What a reader made of damage."""
    sound = error.details.get("saved_up_to", 0)
    return StorageCheck(
        ok=False,
        events=sound if isinstance(sound, int) else 0,
        problem=error.message,
        remedy=error.remedy,
        details=error.details,
    )


async def journal_check(store: Store) -> Check:
    """The journal as one row of the node's health."""
    try:
        report = await store.report()
    except UmbrellaError as error:
        return Check(name="journal", status="error", detail=error.message, remedy=error.remedy)
    if report.state != "writable":
        word = "read-only" if report.state == "read_only" else report.state
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
