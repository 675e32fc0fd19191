"""Who listens to what: topics that running things join, and messages for all who have joined.

`mcp://broadcast/<topic>` is the address of a topic. Membership ends with the member. What one publisher publishes
to one topic reaches each member in that order; between publishers there is none.
"""

from collections.abc import Callable
from heapq import nsmallest
from threading import RLock
from typing import Any, Final

from mcp_core.runtime.dead_letters import DeadLetters, miss
from mcp_core.runtime.target import Target
from mcp_interface.address import parse_address
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch
from mcp_interface.store import PAGE

MEMBERS: Final = 1_000_000
"""Memberships of one node; each of a member in a topic counts."""
MAX_TOPIC: Final = 200
"""Characters of a topic's name."""


def check_topic(topic: str) -> None:
    """Return if this can be the name of a topic.

    Raises:
        CallerMistaken: It is empty, too long or not printable.
    """
    if not topic or len(topic) > MAX_TOPIC or not topic.isprintable():
        raise CallerMistaken(
            f"{topic[:MAX_TOPIC]!r} is not a topic", f"use 1 to {MAX_TOPIC} printable characters"
        )


class Groups:
    """The topics of one node; used on its event loop, but members may end on any thread.

    Joining and leaving cost the same however large a group is; publishing costs once for each member.

    Args:
        letters: Where a message goes for a member that does not take it.
        most: How many memberships there may be.
    """

    def __init__(self, letters: DeadLetters | None = None, *, most: int = MEMBERS) -> None:
        self._letters = letters
        self._most = most
        self._topics: dict[str, dict[Target, None]] = {}
        self._members: dict[Target, _Membership] = {}
        self._count = 0
        self._lock = RLock()  # who has ended says so while it joins

    def __len__(self) -> int:
        return self._count

    def join(self, topic: str, member: Target) -> bool:
        """Make somebody a member of a topic, until it leaves or ends; who has ended does not become one.

        Returns:
            False when it was a member already, or has ended.

        Raises:
            CallerMistaken: As `check_topic`.
            TooMuch: There are too many memberships.
        """
        check_topic(topic)
        with self._lock:
            membership = self._members.get(member)
            if membership is not None and topic in membership.topics:
                return False
            if self._count >= self._most:
                raise TooMuch(
                    f"{self._count} memberships, the most there can be: no room in topic {topic!r}",
                    "leave topics that are not needed",
                )
            if membership is None:
                membership = self._members[member] = _Membership()
            membership.topics[topic] = None
            self._topics.setdefault(topic, {})[member] = None
            self._count += 1
            if membership.take_back is None:
                membership.take_back = member.on_exit(self._ended)
            return member in self._members

    def leave(self, topic: str, member: Target) -> bool:
        """End one membership; False when there was none."""
        with self._lock:
            membership = self._members.get(member)
            if membership is None or topic not in membership.topics:
                return False
            del membership.topics[topic]
            self._drop(topic, member)
            if not membership.topics:
                del self._members[member]
                if membership.take_back is not None:
                    membership.take_back()
            return True

    def members(self, topic: str) -> list[Target]:
        """Who would get a message now, in the order of joining."""
        return list(self._topics.get(topic, ()))

    def count(self, topic: str) -> int:
        """How many members a topic has."""
        return len(self._topics.get(topic, ()))

    def topics(self, *, after: str = "", limit: int = PAGE) -> list[str]:
        """Topics that have members, by name, beginning behind one.

        Raises:
            CallerMistaken: The limit is not one to `PAGE`.
        """
        if not 1 <= limit <= PAGE:
            raise CallerMistaken(f"a page of {limit} topics cannot be had", f"ask for 1 to {PAGE}")
        return nsmallest(limit, (topic for topic in list(self._topics) if topic > after))

    def publish(self, topic: str, message: Any, sender: str = "") -> int:
        """Tell every member something.

        A member that does not take it becomes a dead letter's target; the others get theirs. Who joins or leaves
        while this runs does so for the next message.

        Args:
            topic: Nobody need have joined it.
            message: The same object for all.
            sender: For the dead letters.

        Returns:
            How many members took it.
        """
        members = self.members(topic)
        missed: list[tuple[Target, Exception]] = []
        for member in members:
            try:
                member.tell(message)
            except Exception as error:  # whatever it is, the others get theirs
                missed.append((member, error))
        # Only now: who listens to dead letters may publish, and that must not overtake this message.
        for member, why in missed:
            miss(member, message, why, self._letters, sender)
        return len(members) - len(missed)

    def publish_to(self, address: str, message: Any, sender: str = "") -> int:
        """As `publish`, to an address such as `mcp://broadcast/news`; somebody has to listen.

        Raises:
            InvalidAddress: It is no address.
            CallerMistaken: It is the address of an agent.
            NotFound: The topic has no members.
        """
        parsed = parse_address(address)
        if parsed.kind != "broadcast":
            raise CallerMistaken(
                f"{address} is no topic", "write mcp://broadcast/<topic>, or send to the agent"
            )
        if parsed.name not in self._topics:
            raise NotFound(f"nobody listens to {address}", "send to an agent: mcp://agent/<id>")
        return self.publish(parsed.name, message, sender)

    def _ended(self, member: Target, reason: object) -> None:
        with self._lock:
            membership = self._members.pop(member, None)
            if membership is not None:
                for topic in membership.topics:
                    self._drop(topic, member)

    def _drop(self, topic: str, member: Target) -> None:
        members = self._topics[topic]
        del members[member]
        self._count -= 1
        if not members:
            del self._topics[topic]


class _Membership:
    __slots__ = ("take_back", "topics")

    def __init__(self) -> None:
        self.topics: dict[str, None] = {}
        self.take_back: Callable[[], object] | None = None
