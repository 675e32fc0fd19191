"""Who came from whom: every capability the kernel knows, with its parent, its children and its secret.

State only. It changes by the events of the stream "security" and by nothing else, so that a replay gives the
same tree; it does no I/O and reads no clock. The kernel above decides when an event may be applied.
"""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from mcp_interface.capability import Capability, Sealed
from mcp_interface.errors import StorageCorrupt
from mcp_interface.events import CapabilityGranted, CapabilityRevoked, CapabilityUsed, Event
from mcp_interface.ids import CapabilityId, PrincipalId
from mcp_security.constraints import meets
from mcp_security.decision import Right, within

REMEMBERED: Final = 32
"""How many ended rights of one principal are kept at hand, to say what ended instead of "nothing held"."""


class Node:
    """One capability in the tree. Its handle is never shown; see `Sealed`."""

    __slots__ = ("children", "handle", "parent", "recorded", "revoked", "right", "uses")

    def __init__(self, right: Right, handle: Sealed, parent: "Node | None") -> None:
        self.right = right
        self.handle = handle
        self.parent = parent
        self.children: list[Node] = []
        self.revoked = False
        """Judged as ended from now on."""
        self.recorded = False
        """The end is in the journal."""
        self.uses = 0

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a node of the derivation tree is never pickled")

    @property
    def id(self) -> CapabilityId:
        """The capability's public id."""
        return self.right.capability.id

    def lineage(self) -> "Iterator[Node]":
        """Itself, then its ancestors up to the root grant."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def descent(self) -> "Iterator[Node]":
        """Itself, then everything derived from it; no recursion, so that depth cannot hurt."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def counted(self) -> "list[Node]":
        """Those of its lineage whose uses are limited: one use of this one is a use of each of them."""
        # constraints are merged at mint, so a limit above is also a limit here
        if self.right.rules.max_uses is None:
            return []
        return [node for node in self.lineage() if node.right.rules.max_uses is not None]

    @property
    def spent(self) -> bool:
        """Whether its uses, or those of an ancestor, are used up."""
        return any(node.uses >= (node.right.rules.max_uses or 0) for node in self.counted())

    def live(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        expires = self.right.capability.expires_at
        return not self.revoked and (expires is None or now < expires)


class Derivation:
    """All capabilities of one kernel, found by id, by handle and by holder without a scan.

    Args:
        mint_handle: Makes a fresh secret for each capability that becomes known.
    """

    def __init__(self, mint_handle: Callable[[], Sealed]) -> None:
        self._mint_handle = mint_handle
        self._nodes: dict[CapabilityId, Node] = {}
        self._by_handle: dict[bytes, Node] = {}
        self._held: dict[PrincipalId, dict[CapabilityId, Node]] = {}
        self._ended: dict[PrincipalId, deque[Node]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a derivation tree is never pickled: it holds secrets")

    def get(self, capability: CapabilityId) -> Node | None:
        """Find by public id."""
        return self._nodes.get(capability)

    def by_handle(self, handle: Sealed) -> Node | None:
        """Find by secret."""
        return self._by_handle.get(handle.reveal())

    def live(self, now: datetime) -> list[Node]:
        """Every live capability, oldest first."""
        return [node for node in self._nodes.values() if node.live(now)]

    def held_by(self, principal: PrincipalId, now: datetime) -> list[Node]:
        """Live capabilities of one holder, oldest first; those that have expired are put aside for good."""
        held = self._held.get(principal, {})
        for node in [node for node in held.values() if not node.live(now)]:
            self._put_aside(node)
        return list(held.values())

    def recently_ended(self, principal: PrincipalId) -> list[Node]:
        """The last few that ended, for the wording of refusals."""
        return list(self._ended.get(principal, ()))

    def end(self, node: Node) -> None:
        """Judge a capability as revoked from now on; harmless when repeated."""
        if not node.revoked:
            node.revoked = True
            self._put_aside(node)

    def apply(self, event: Event) -> None:
        """Move on by one journaled event.

        Raises:
            StorageCorrupt: The event does not fit: an unknown capability, or a child wider than its parent.
        """
        match event:
            case CapabilityGranted(capability=capability):
                self._add(capability)
            case CapabilityRevoked(capability_ids=ids):
                for capability_id in ids:
                    node = self._known(capability_id)
                    self.end(node)
                    node.recorded = True
            case CapabilityUsed(capability_id=capability_id, uses=uses):
                node = self._known(capability_id)
                node.uses = max(node.uses, uses)
            case _:
                raise StorageCorrupt(
                    f"the stream 'security' holds a {type(event).__name__}", "restore it from a backup"
                )

    def _add(self, capability: Capability) -> None:
        if capability.id in self._nodes:
            raise StorageCorrupt(f"{capability.id} was granted twice", "restore the journal from a backup")
        right, parent = Right.of(capability), None
        if capability.parent_capability_id is not None:
            parent = self._known(capability.parent_capability_id)
            if not attenuates(right, parent.right):
                raise StorageCorrupt(
                    f"{capability.id} is wider than its parent {parent.id}; no kernel grants that",
                    "restore the journal from a backup",
                )
        node = Node(right, self._mint_handle(), parent)
        if parent is not None:
            parent.children.append(node)
        self._nodes[node.id] = node
        self._by_handle[node.handle.reveal()] = node
        self._held.setdefault(capability.principal_id, {})[node.id] = node
        if parent is not None and parent.revoked:
            self.end(node)  # the parent ended while the grant was being written

    def _known(self, capability: CapabilityId) -> Node:
        node = self._nodes.get(capability)
        if node is None:
            raise StorageCorrupt(
                f"the stream 'security' speaks of {capability}, which was never granted",
                "restore the journal from a backup",
            )
        return node

    def _put_aside(self, node: Node) -> None:
        principal = node.right.capability.principal_id
        if self._held.get(principal, {}).pop(node.id, None) is not None:
            self._ended.setdefault(principal, deque(maxlen=REMEMBERED)).append(node)


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
