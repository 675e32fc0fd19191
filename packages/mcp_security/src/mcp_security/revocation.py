"""Taking back: at once for whoever is judged, on record before it is acknowledged, one by one behind it.

1. The node is marked and its family's epoch moves on: nothing derived from it is allowed any more.
2. The ends of the first `LISTED`, and of all that were named, are audited and the revocation is journaled;
   then it is acknowledged.
3. What is left is audited in the background, and a last event lets the kernel forget them all. A process that
   dies on the way goes on at its next start.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from mcp_interface.errors import NotPermitted
from mcp_interface.events import CapabilityRevoked, RevocationSettled
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_security.audit import AuditSink, Draft
from mcp_security.derivation import Node
from mcp_security.stream import SecurityStream

LISTED: Final = 1_000
"""Most ids that a revocation gives back."""
BATCH: Final = 1_000
"""Entries that are handed to the audit at a time."""

log = logging.getLogger(__name__)


class Revocation:
    """Ends capabilities of one kernel.

    Args:
        stream: The tree, and how it is written.
        audit: Where each end is recorded.
        now: The present instant.
        tell: Told of each end.
    """

    def __init__(
        self,
        stream: SecurityStream,
        audit: AuditSink,
        now: Callable[[], Any],
        tell: Callable[..., None],
    ) -> None:
        self._stream = stream
        self._audit = audit
        self._now = now
        self._tell = tell
        self._settling: set[asyncio.Task[None]] = set()
        self._one_by_one = asyncio.Lock()

    async def end(self, roots: Iterable[Node], by: PrincipalId, reason: str) -> list[CapabilityId]:
        """End these and all that was derived from them; see `SecurityKernel.revoke`.

        Raises:
            NotPermitted: `by` holds neither one of them nor an ancestor, nor is it `system`.
            UmbrellaError: Store or audit refused; they stay ended in this process.
        """
        roots = list(roots)
        for node in roots:
            if by != SYSTEM and all(by != above.principal for above in node.lineage()):
                await self._refuse(node, by)
        for node in roots:
            node.take_back()
        await asyncio.sleep(0)  # whoever waits to be judged comes before the bookkeeping
        async with self._stream.writer():
            # only now: a delegation that was being written may have added a child, and another revocation may
            # have recorded some of these
            tree = self._stream.tree
            fresh = {node.id: node for node in roots if not node.recorded and tree.get(node.id) is node}
            if not fresh:
                return []
            found = list(islice(_unrecorded(fresh.values(), LISTED + 1), LISTED + 1))
            whole = len(found) <= LISTED and all(len(node.children) <= LISTED for node in found)
            if self._settling:  # it may be on its way through the same family: what is below comes after it
                found, whole = [], False
            # the journal names every root as one whose end is on record, so none of them may wait
            ending = {node.id: node for node in [*found[:LISTED], *fresh.values()]}
            await self._record([*fresh.values()], [*ending.values()], by, reason, whole)
            if whole:
                tree.forget_settled()
        for capability_id in ending:
            self._tell("mcp.capability.revoked", {"count": 1}, capability_id=capability_id)
        if not whole:
            self._later(self._settle([*fresh.values()], by, reason, len(ending) - len(fresh)))
        return list(ending)[:LISTED]

    def resume(self) -> None:
        """Go on with what an earlier process did not get to record."""
        left = self._stream.tree.unsettled()
        if left:
            self._later(self._settle(left, SYSTEM, "an ancestor was revoked", 0))

    async def settled(self) -> None:
        """Wait until every end is on record, or could not be."""
        while self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)

    async def _record(
        self, fresh: list[Node], ending: list[Node], by: PrincipalId, reason: str, whole: bool
    ) -> None:
        entries = await self._audit.append_all([_draft(node, by, reason) for node in ending])
        for node in ending:
            node.recorded = True
        ids = [node.id for node in fresh]
        now = self._now()
        revoked = CapabilityRevoked(
            timestamp=now, capability_ids=ids, by=by, reason=reason, audit_seq=entries[-1].seq
        )
        settled = RevocationSettled(timestamp=now, capability_ids=ids, ended=len(ending) - len(ids))
        try:
            await self._stream.append([revoked, settled] if whole else [revoked])
        except BaseException:
            for node in ending:
                node.recorded = False  # not on record as a whole: repeating the call records it again
            raise

    async def _settle(self, roots: Sequence[Node], by: PrincipalId, reason: str, ended: int) -> None:
        """Record what is left of these families, of which `ended` descendants are on record already."""
        async with self._one_by_one:
            waiting = _unrecorded(roots)
            while batch := list(islice(waiting, BATCH)):
                await self._audit.append_all([_draft(node, by, reason) for node in batch])
                for node in batch:
                    node.recorded = True
                    self._tell("mcp.capability.revoked", {"count": 1}, capability_id=node.id)
                ended += len(batch)
            async with self._stream.writer():
                ids = [root.id for root in roots]
                await self._stream.append(
                    [RevocationSettled(timestamp=self._now(), capability_ids=ids, ended=ended)]
                )
            left = True
            while left:
                left = self._stream.tree.forget_settled(BATCH)
                await asyncio.sleep(0)  # whoever waits to be judged comes in between

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._settling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # nothing is allowed by it: they stay ended, and the next start records what is missing
            log.error("the ends of revoked rights could not all be recorded: %r", task.exception())

    async def _refuse(self, node: Node, by: PrincipalId) -> None:
        await self._audit.append(
            kind="revocation_denied",
            principal_id=by,
            resource_uri=node.right.capability.resource_uri,
            capability_id=node.id,
            decision="denied",
            reason="wrong_principal",
        )
        raise NotPermitted(
            f"{by} may not take back {node.id}: it holds neither it nor what it came from",
            "ask its holder, or the node's owner",
            {"reason": "wrong_principal"},
        )


def _unrecorded(roots: Iterable[Node], most: int | None = None) -> Iterator[Node]:
    """Each of these, and what was derived from it, unless its end is in the audit trail.

    At most `most` children of each are looked at.
    """
    for root in roots:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if not node.recorded:
                yield node
            waiting.extend(reversed(list(islice(node.children, most))))


def _draft(node: Node, by: PrincipalId, reason: str) -> Draft:
    return Draft(
        kind="capability_revoked",
        principal_id=node.principal,
        resource_uri=node.right.capability.resource_uri,
        capability_id=node.id,
        decision="revoked",
        reason=reason,
        details={"by": by},
    )
