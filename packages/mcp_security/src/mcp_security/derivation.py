"""Who came from whom: every capability the kernel knows, with its parent, its children and its secret.

State only. It changes by the events of the stream "security" and by nothing else, so that a replay gives the
same tree; it does no I/O and reads no clock. The kernel above decides when an event may be applied.

Taking back costs the same however many were derived: the node is marked and its family's epoch moves on.
Whoever is judged next walks up to the nearest ancestor that was judged in this epoch and writes the verdict
down on its way, so that each node pays once for each revocation in its family, and nothing otherwise.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec

from mcp_interface.capability import Capability, Sealed, Verdict
from mcp_interface.errors import StorageCorrupt
from mcp_interface.events import (
    CapabilityGranted,
    CapabilityRevoked,
    CapabilityUsed,
    Event,
    RevocationSettled,
)
from mcp_interface.ids import CapabilityId, PrincipalId
from mcp_security.constraints import meets
from mcp_security.decision import Right, allowance, within
from mcp_security.rates import Bucket

REMEMBERED: Final = 32
"""How many ended rights of one principal are kept at hand, to say what ended instead of "nothing held"."""
MAX_REMEMBERING: Final = 10_000
"""Of how many principals."""
MAX_ENDED: Final = 100_000
"""How many ids of ended rights are known, so that taking back twice is harmless."""
_NEVER: Final = -1


class Family:
    """A root grant and all that was derived from it."""

    __slots__ = ("epoch",)

    def __init__(self) -> None:
        self.epoch = 0
        """Moves on with every revocation in the family."""


class Handle(Sealed):
    """The secret of one capability, which also finds it at once. Shows nothing; see `Sealed`."""

    __slots__ = ("node",)

    def __init__(self, value: bytes, node: "Node") -> None:
        super().__init__(value)
        self.node = node


class Node:
    """One capability in the tree, with everything about it that is judged often laid out flat."""

    __slots__ = (
        "allow",
        "buckets",
        "children",
        "counted",
        "exact",
        "expires",
        "family",
        "handle",
        "home",
        "operation",
        "parent",
        "prefix",
        "principal",
        "recorded",
        "revoked",
        "right",
        "seen",
        "sure_until",
        "taken_back",
        "type",
        "uses",
    )

    def __init__(self, right: Right, secret: bytes, parent: "Node | None", home: "Derivation") -> None:
        capability = right.capability
        self.right = right
        self.home = home
        self.handle = Handle(secret, self)
        self.parent = parent
        self.children: dict[Node, None] = {}
        self.family: Family = Family() if parent is None else parent.family
        self.seen = _NEVER
        """The epoch in which it was last found to be alive."""
        self.revoked = False
        """It or an ancestor was taken back. Never turns false again, whoever writes it from whatever thread."""
        self.taken_back = False
        """It was taken back itself, not only with an ancestor."""
        self.recorded = False
        """Its end is in the audit trail; of what was taken back itself, also in the journal."""
        self.uses = 0
        self.counted = self._counters()
        """Those of its lineage whose uses are limited: one use of this one is a use of each of them."""
        self.buckets = self._buckets()
        """The rates of its lineage, shared with everything else derived from there."""
        self.principal = capability.principal_id
        self.type = right.resource.type
        self.operation = right.resource.operation
        self.expires = capability.expires_at
        self.sure_until = float("-inf")
        """Monotonic seconds before which it has not expired, by the latest look at the wall clock."""
        # a wildcard reaches everything but hosts near this machine, which the short way does not know
        wild = right.resource.type == "api" and len(right.paths.segments) < 2
        reach = None if wild else right.paths.reach
        self.prefix, self.exact = reach or ("", "")
        self.allow: Verdict | None = None
        """What it says to everything within reach; None when more has to be looked at."""
        if reach is not None and right.unlimited and not right.rules.limits:
            self.allow = allowance(right, right.resource)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a node of the derivation tree is never pickled")

    @property
    def id(self) -> CapabilityId:
        """The capability's public id."""
        return self.right.capability.id

    def alive(self) -> bool:
        """Whether neither it nor any ancestor was taken back."""
        if self.revoked:
            return False
        # Read before the walk: whoever takes back marks first and moves the epoch afterwards, so a walk that
        # missed the mark writes down an epoch that is already over.
        epoch = self.family.epoch
        walked: list[Node] = []
        node: Node | None = self
        while node is not None and node.seen != epoch and not node.revoked:
            walked.append(node)
            node = node.parent
        if node is not None and node.revoked:
            for each in walked:
                each.revoked = True
            return False
        for each in walked:
            each.seen = epoch
        return True

    @property
    def shown(self) -> Capability:
        """The capability, for others to keep."""
        capability = self.right.capability
        return deepcopy(capability) if capability.constraints or capability.metadata else capability

    def take_back(self) -> None:
        """End it with everything derived from it, at once."""
        self.taken_back = self.revoked = True
        self.family.epoch += 1

    def live(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.alive() and (self.expires is None or now < self.expires)

    @property
    def spent(self) -> bool:
        """Whether its uses, or those of an ancestor, are used up."""
        return any(node.uses >= (node.right.rules.max_uses or 0) for node in self.counted)

    def lineage(self) -> "Iterator[Node]":
        """Itself, then its ancestors up to the root grant."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def _counters(self) -> "tuple[Node, ...]":
        above = () if self.parent is None else self.parent.counted
        limit = self.right.rules.max_uses
        # a limit that is no tighter than the parent's needs no count of its own
        if limit is None or (self.parent is not None and limit == self.parent.right.rules.max_uses):
            return above
        return (*above, self)

    def _buckets(self) -> tuple[Bucket, ...]:
        above = () if self.parent is None else self.parent.buckets
        shared = {bucket.rate for bucket in above}
        return (*above, *(Bucket(rate) for rate in self.right.rules.rates if rate not in shared))


class Derivation:
    """All capabilities of one kernel, found by id, by handle and by holder without a scan.

    Args:
        mint_secret: Makes fresh bytes for the handle of each capability that becomes known.
    """

    def __init__(self, mint_secret: Callable[[], bytes]) -> None:
        self._mint_secret = mint_secret
        self._nodes: dict[CapabilityId, Node] = {}
        self._by_secret: dict[bytes, Node] = {}
        self._held: dict[PrincipalId, dict[CapabilityId, Node]] = {}
        self._ended: OrderedDict[PrincipalId, deque[Node]] = OrderedDict()
        self._ended_ids: OrderedDict[CapabilityId, None] = OrderedDict()
        self._settled: list[Node] = []
        """A path down from each root that is settled, on the way to be forgotten."""
        self.audit_seq = 0
        """Highest number of an audit entry that the events name."""

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a derivation tree is never pickled: it holds secrets")

    def get(self, capability: CapabilityId) -> Node | None:
        """Find by public id; what has ended and is on record may be forgotten."""
        return self._nodes.get(capability)

    def has_ended(self, capability: CapabilityId) -> bool:
        """Whether an id is that of a right that ended and was forgotten."""
        return capability in self._ended_ids

    def lately_ended(self, most: int) -> list[CapabilityId]:
        """Ids of the rights that were forgotten last, oldest first."""
        return list(islice(reversed(self._ended_ids), most))[::-1]

    def find(self, handle: Sealed) -> Node | None:
        """Find by handle, be it the object or its bytes; none of another kernel's, or of an earlier one's."""
        if isinstance(handle, Handle):
            return handle.node if handle.node.home is self else None
        return self._by_secret.get(handle.reveal()) if isinstance(handle, Sealed) else None

    def live(self, now: datetime) -> list[Node]:
        """Every live capability, oldest first."""
        return [node for node in self._nodes.values() if node.live(now)]

    def held_by(self, principal: PrincipalId, now: datetime) -> list[Node]:
        """Live capabilities of one holder, oldest first; those that have ended are put aside for good."""
        held = self._held.get(principal, {})
        for node in [node for node in held.values() if not node.live(now)]:
            self._put_aside(node)
        return list(held.values())

    def recently_ended(self, principal: PrincipalId) -> list[Node]:
        """The last few that ended, for the wording of refusals."""
        return list(self._ended.get(principal, ()))

    def unsettled(self) -> list[Node]:
        """Those that were taken back and whose descendants' ends are not all on record."""
        return [node for node in self._nodes.values() if node.taken_back and node.recorded]

    def apply(self, event: Event) -> None:
        """Move on by one journaled event.

        Raises:
            StorageCorrupt: The event does not fit: an unknown capability, or a child wider than its parent.
        """
        match event:
            case CapabilityGranted(capability=capability, audit_seq=seq):
                self.add(capability)
                self.audit_seq = max(self.audit_seq, seq or 0)
            case CapabilityRevoked(capability_ids=ids, audit_seq=seq):
                for capability_id in ids:
                    node = self._known(capability_id)
                    node.take_back()
                    node.recorded = True
                    self._put_aside(node)
                self.audit_seq = max(self.audit_seq, seq or 0)
            case RevocationSettled(capability_ids=ids):
                for capability_id in ids:
                    settled = self._nodes.get(capability_id)  # gone with an ancestor that was settled before
                    if settled is not None:
                        self._settled.append(settled)
            case CapabilityUsed(capability_id=capability_id, uses=uses):
                node = self._known(capability_id)
                node.uses = max(node.uses, uses)
            case _:
                raise StorageCorrupt(
                    f"the stream 'security' holds a {type(event).__name__}", "restore it from a backup"
                )

    def add(self, capability: Capability) -> Node:
        """Take in a capability; it is alive if its parent is.

        Raises:
            StorageCorrupt: It is known already, its parent is not, or it is wider than its parent.
        """
        if capability.id in self._nodes:
            raise StorageCorrupt(f"{capability.id} was granted twice", "restore the journal from a backup")
        # a copy: what others hold of it, and may change, is never what is judged or kept
        right, parent = Right.of(deepcopy(capability)), None
        if capability.parent_capability_id is not None:
            parent = self._known(capability.parent_capability_id)
            if parent.right.fault is not None and right.fault is None:
                right = msgspec.structs.replace(right, fault=parent.right.fault)
            if not attenuates(right, parent.right):
                raise StorageCorrupt(
                    f"{capability.id} is wider than its parent {parent.id}; no kernel grants that",
                    "restore the journal from a backup",
                )
        node = Node(right, self._mint_secret(), parent, self)
        if parent is not None:
            parent.children[node] = None
        self._nodes[node.id] = node
        self._by_secret[node.handle.reveal()] = node
        self._held.setdefault(capability.principal_id, {})[node.id] = node
        return node

    def forget_settled(self, most: int | None = None) -> bool:
        """Let go of up to `most` of what has ended and is on record, leaves first; tell whether there is more."""
        done = 0
        while self._settled and (most is None or done < most):
            node = self._settled[-1]
            if node.children:
                # popped, not looked up: the last of a dict that shrinks takes longer and longer to find
                self._settled.append(node.children.popitem()[0])
                continue
            self._settled.pop()
            self._forget([node])
            done += 1
        return bool(self._settled)

    def forget_expired(self, now: datetime) -> None:
        """Let go of what has expired; only as the writer, for who writes may be about to name it."""
        self._forget(
            [node for node in self._nodes.values() if node.expires is not None and node.expires <= now]
        )

    def _forget(self, nodes: Iterable[Node]) -> None:
        """Let go of what has ended; a handle that somebody still has goes on saying no."""
        for node in nodes:
            self._put_aside(node)
            if self._nodes.pop(node.id, None) is None:
                continue
            del self._by_secret[node.handle.reveal()]
            if node.parent is not None:
                node.parent.children.pop(node, None)
            self.remember_ended([node.id])

    def remember_ended(self, ids: Iterable[CapabilityId]) -> None:
        """Note ids of rights that ended, oldest first."""
        self._ended_ids.update(dict.fromkeys(ids))
        while len(self._ended_ids) > MAX_ENDED:
            self._ended_ids.popitem(last=False)

    def _known(self, capability: CapabilityId) -> Node:
        node = self._nodes.get(capability)
        if node is None:
            raise StorageCorrupt(
                f"the stream 'security' speaks of {capability}, which was never granted",
                "restore the journal from a backup",
            )
        return node

    def _put_aside(self, node: Node) -> None:
        held = self._held.get(node.principal)
        if held is None or held.pop(node.id, None) is None:
            return
        if not held:
            del self._held[node.principal]
        self._ended.setdefault(node.principal, deque(maxlen=REMEMBERED)).append(node)
        self._ended.move_to_end(node.principal)
        if len(self._ended) > MAX_REMEMBERING:
            self._ended.popitem(last=False)


def attenuates(child: Right, parent: Right) -> bool:
    """Tell whether a right is at most another one: in resource, expiry, depth and every limit."""
    mine, above = child.capability, parent.capability
    ends_in_time = above.expires_at is None or (
        mine.expires_at is not None and mine.expires_at <= above.expires_at
    )
    # limits that this kernel cannot read deny anyway; a newer kernel may have written them rightly
    limited = (
        child.fault is not None or parent.fault is not None or meets(parent.rules.limits, child.rules.limits)
    )
    return (
        within(child.resource, parent.resource)
        and ends_in_time
        and mine.delegation_depth < above.delegation_depth
        and limited
    )
