"""What a node stands on: the data directory and the concrete store, audit, kernel and vault, seen through their contracts.

A part of the composition root: beside the node, the only place that names concrete security and persistence.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from importlib.metadata import version
from typing import Any, Protocol, cast

import msgspec

from mcp_core.catalog.opening import Opened, open_catalog
from mcp_core.catalog.sources import Sources
from mcp_core.daemon import DataDir, check_journal_is_there
from mcp_core.gateway.handlers.security import AuditTrail
from mcp_core.gateway.searching import Texts
from mcp_core.gateway.tool_book import AuditNotes
from mcp_core.observe.exporters import Exporters
from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.runtime.bus import Bus
from mcp_core.runtime.commit import Journal
from mcp_core.settings import Settings, read_telemetry
from mcp_core.tools.filesystem import FileGate
from mcp_interface.address import OPERATIONS, resource
from mcp_interface.approval import ApprovalDesk
from mcp_interface.capability import MAX_DEPTH, Ask, GrantOptions, SecurityKernel
from mcp_interface.clock import Clock, Entropy
from mcp_interface.errors import NotFound, UmbrellaError
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.secret import Vault
from mcp_interface.store import KeyValueStore, Record, Store

log = logging.getLogger(__name__)

OWNER_KEY = "owner"
ROOTS_KEY = "roots"
SEARCH = "search"
"""The folder of the index of what was said, in the data directory; it may be removed while no node runs."""


SEARCH_LAG_S = 0.2
"""Seconds until what was said is found, at most, on a machine that is not busy."""


class Audit(AuditTrail, AuditNotes, Protocol):
    """What the rooms of the node need of the audit (`mcp_security.AuditLog`)."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The concrete rooms below, seen through their contracts."""

    place: DataDir
    token: str
    """What connects as the owner."""
    exporters: Exporters
    store: Store
    bus: Bus
    journal: Journal
    audit: Audit
    kernel: SecurityKernel
    desk: ApprovalDesk
    gate: FileGate
    catalog: Opened
    vault: Vault
    owner: PrincipalId
    texts: Texts | None
    """The index of what was said; None where there can be none, which keeps no node from starting."""


async def break_ground(
    settings: Settings, stack: AsyncExitStack, clock: Clock, entropy: Entropy, telemetry: LocalTelemetry
) -> Ground:
    """Open what everything stands on; `stack` closes it.

    Raises:
        LostRace: Another node runs on this data directory.
        StorageUnavailable: The disk refused.
        StorageCorrupt: What is stored is not what was written.
    """
    from mcp_persistence import open_journal
    from mcp_security import Approvals, AuditLog, EncryptedVault, FilesystemGate, Kernel

    place = DataDir(settings.data_dir)
    stack.callback(place.lock().close)
    token = place.make_token(entropy)
    check_journal_is_there(place)
    exporters = _open_exporters(
        settings, telemetry, clock
    )  # before what they shall hear of, and closed after it
    stack.push_async_callback(exporters.close)
    store = await open_journal(place.journal, clock, telemetry, entropy=entropy, before=place.old_journal)
    stack.push_async_callback(store.close)
    texts = await _texts(place, store, stack, clock)
    bus = Bus(store, await store.head())
    journal = Journal(store, await store.claim(), bus)
    audit = await AuditLog.open(place.audit, clock, entropy)
    stack.push_async_callback(audit.close)
    kernel = await Kernel.open(journal, journal.epoch, audit, clock, entropy, telemetry)
    stack.push_async_callback(kernel.close)
    vault = await EncryptedVault.open(place.root, entropy)
    gate, owner = FilesystemGate(closed=[place.root]), await _owner(store, kernel, entropy)
    catalog = await _catalog(place, store, journal, kernel, gate, owner, clock)
    stack.push_async_callback(catalog.close)
    return Ground(
        place=place,
        token=token,
        exporters=exporters,
        store=store,
        bus=bus,
        journal=journal,
        audit=audit,
        kernel=kernel,
        desk=Approvals(clock),
        gate=gate,
        owner=owner,
        catalog=catalog,
        vault=vault,
        texts=texts,
    )


def _open_exporters(settings: Settings, telemetry: LocalTelemetry, clock: Clock) -> Exporters:
    wanted = settings.telemetry
    if wanted is None:
        wanted = read_telemetry(settings.data_dir)
    return Exporters.open(wanted, telemetry, clock, version("mcp-umbrella-core"))


async def _texts(place: DataDir, store: Store, stack: AsyncExitStack, clock: Clock) -> Texts | None:
    """Open the index of what was said; it catches up with the journal by itself, beside everything else."""
    from mcp_persistence import TextIndex

    folder = place.root / SEARCH
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        index = await TextIndex.open(cast("Store", _Unhurried(store, clock)), folder, clock)
    except (OSError, UmbrellaError) as error:
        log.warning("what was said cannot be searched: %s", error)
        return None
    stack.push_async_callback(index.close)
    return index


class _Unhurried:
    """A store whose news come some at a time: following each by itself costs as much as to write it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def subscribe(self, *, after: int = 0, streams: str = "*") -> AsyncGenerator[Record]:
        async with aclosing(self._store.subscribe(after=after, streams=streams)) as records:
            async for record in records:
                await self._clock.sleep(SEARCH_LAG_S)
                yield record


async def _catalog(
    place: DataDir,
    store: Store,
    journal: Journal,
    kernel: SecurityKernel,
    gate: FileGate,
    owner: PrincipalId,
    clock: Clock,
) -> Opened:
    """The node's own resources and prompts."""
    from mcp_persistence import FileBlobs
    from mcp_security.validators.api import ApiGate

    sources, blobs = Sources(kernel, gate, ApiGate()), await FileBlobs.open(place.blobs)
    tell = journal.bus.pass_by
    return await open_catalog(
        journal, store, blobs, sources, place.prompts, place.skills, owner, clock, tell, kernel
    )


async def _owner(store: KeyValueStore, kernel: SecurityKernel, entropy: Entropy) -> PrincipalId:
    """The person whose node this is, with the roots of all rights; made on the first start.

    A right is given once: what its owner takes back stays taken back.
    """
    try:
        owner = PrincipalId(str(await store.get(OWNER_KEY)))
    except NotFound:
        owner = PrincipalId(new_id("user", entropy))
        await store.put(OWNER_KEY, owner)
    given = set(await store.get(ROOTS_KEY)) if await store.list_keys(ROOTS_KEY) else set()
    roots = [resource(kind, each, "**") for kind in OPERATIONS for each in sorted(OPERATIONS[kind])]
    held = {capability.resource_uri for capability in kernel.held_by(owner)}
    options = GrantOptions(delegation_depth=MAX_DEPTH, metadata={"by": "first start"})
    missing = [Ask(resource=root, options=options) for root in roots if root.uri not in given | held]
    if missing:
        await kernel.request_all(owner, missing)
    # Last: after a crash on the way here, the next start gives what is missing.
    if given != {root.uri for root in roots}:
        await store.put(ROOTS_KEY, [root.uri for root in roots])
    return owner


async def tell_storage(store: Store) -> None:
    """Log how the journal was found, in one line."""
    report = await store.report()
    log.info("the journal: %s", report.found or f"{report.head} events")
    if report.state != "writable":
        log.warning("the journal is %s: %s", report.state, report.reason)
