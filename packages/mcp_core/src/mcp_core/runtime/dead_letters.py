"""Messages that reached nobody: kept for a while with the reason, looked at, sent again.

A ring with two bounds, so that a flood of lost messages pushes out the oldest and costs no more. People are shown
a short text of a message, made when they look; the message itself stays here until it is sent again.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pykka

from mcp_core.runtime.outline import content, weigh
from mcp_core.runtime.target import Target
from mcp_interface.clock import Clock, Instant
from mcp_interface.errors import CallerMistaken, NotFound, TooMuch, UmbrellaError
from mcp_interface.store import PAGE
from mcp_interface.telemetry import Telemetry

log = logging.getLogger(__name__)

ENTRIES: Final = 1000
BYTES: Final = 4 * 1024 * 1024
LARGEST: Final = 256 * 1024
"""Bytes; of a larger message only the outline is kept."""
OVERHEAD: Final = 512
"""Bytes that an entry costs beside its message, about."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that was not delivered, as people see it."""

    number: int
    """Counts up from one; larger is later."""
    at: Instant
    to: str
    """Name of the target, as its sender knew it."""
    outline: str
    """A short text that tells what the message was; never all of it."""
    reason: str
    """The stable code of the error, or a word of the same kind such as `expired`."""
    sender: str = ""
    size: int = 0
    """Bytes in memory, about."""
    kept: bool = True
    """Whether it can be sent again; too large ones cannot, nor answers."""


class DeadLetters:
    """The dead letters of one node; used on its event loop only.

    Args:
        clock: For the time of each letter.
        telemetry: Told `mcp.message.dropped` of each; None tells nobody.
        entries: How many are kept at most.
        size: How many bytes at most, all together, about.
        largest: A message of more bytes is noted without being kept.
    """

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry | None = None,
        *,
        entries: int = ENTRIES,
        size: int = BYTES,
        largest: int = LARGEST,
    ) -> None:
        if entries < 1 or size < 1:
            raise CallerMistaken(
                f"{entries} dead letters of {size} bytes cannot be kept",
                "allow one entry and one byte or more",
            )
        self._clock = clock
        self._telemetry = telemetry
        self._most = entries
        self._most_bytes = size
        self._largest = min(largest, size)
        self._letters: OrderedDict[int, tuple[DeadLetter, Any]] = OrderedDict()
        self._telling = False
        self.recorded = 0
        """How many there have ever been."""
        self.dropped = 0
        """How many were pushed out by later ones."""
        self.size = 0
        """Bytes kept now, about."""

    def __len__(self) -> int:
        return len(self._letters)

    def record(self, to: str, message: Any, reason: str, sender: str = "", *, again: bool = True) -> int:
        """Keep a message that reached nobody. Never raises for what the message is.

        Args:
            to: Whom it did not reach.
            message: Anything.
            reason: Why, as in `DeadLetter`.
            sender: On whose behalf it was sent.
            again: Whether it makes sense to send it again; without, only its outline is kept.

        Returns:
            Its number.
        """
        weight = weigh(message, self._largest) if again else 0
        kept = again and weight <= self._largest
        self.recorded += 1
        letter = DeadLetter(
            number=self.recorded,
            at=self._clock.now(),
            to=to,
            outline="" if kept else content(message),
            reason=reason,
            sender=sender,
            size=OVERHEAD + (weight if kept else 0),
            kept=kept,
        )
        self._letters[letter.number] = (letter, message if kept else None)
        self.size += letter.size
        while len(self._letters) > self._most or (self.size > self._most_bytes and len(self._letters) > 1):
            _, (oldest, _) = self._letters.popitem(last=False)
            self.size -= oldest.size
            self.dropped += 1
        self._tell(letter)
        return letter.number

    def page(self, *, to: str | None = None, after: int = 0, limit: int = PAGE) -> list[DeadLetter]:
        """What is kept, oldest first.

        Args:
            to: Only those for this target; None takes all.
            after: Only those with a larger number.
            limit: How many at most, one to `PAGE`.

        Raises:
            CallerMistaken: The limit is out of bounds.
        """
        if not 1 <= limit <= PAGE:
            raise CallerMistaken(f"a page of {limit} dead letters cannot be had", f"ask for 1 to {PAGE}")
        found: list[DeadLetter] = []
        for letter, message in self._letters.values():
            if letter.number > after and to in (None, letter.to):
                found.append(_shown(letter, message))
                if len(found) == limit:
                    break
        return found

    def count(self, to: str) -> int:
        """How many are kept for one target."""
        return sum(letter.to == to for letter, _ in self._letters.values())

    def replay(self, number: int, find: Callable[[str], Target]) -> DeadLetter:
        """Send one again and forget it; when it cannot be sent, it stays as it is.

        Args:
            number: Of the letter.
            find: Gives the target of a name, or raises `NotFound`.

        Raises:
            NotFound: There is no such letter, or still nobody of that name.
            TooMuch: The target's mailbox is full, or the message was too large to be kept.
            UmbrellaError: Whatever else `find` or the target raised.
        """
        letter, message = self.open(number)
        try:
            find(letter.to).tell(message)
        except pykka.ActorDeadError as error:
            raise NotFound(
                f"{letter.to} has ended: dead letter {number} cannot be sent again",
                "start it first, or forget the letter",
                {"number": number, "to": letter.to},
            ) from error
        return self.forget(number)

    def open(self, number: int) -> tuple[DeadLetter, Any]:
        """One as people see it, with its message; both stay here.

        Raises:
            NotFound: There is no such letter.
            TooMuch: The message was too large to be kept, or is an answer.
        """
        letter, message = self._get(number)
        if not letter.kept:
            raise TooMuch(
                f"of dead letter {number} only its outline was kept: it was larger than {self._largest} bytes, or an answer",
                "let its sender send it again",
                {"number": number},
            )
        return _shown(letter, message), message

    def forget(self, number: int) -> DeadLetter:
        """Drop one for good.

        Raises:
            NotFound: There is no such letter.
        """
        letter, message = self._get(number)
        del self._letters[number]
        self.size -= letter.size
        return _shown(letter, message)

    def _get(self, number: int) -> tuple[DeadLetter, Any]:
        found = self._letters.get(number)
        if found is None:
            raise NotFound(
                f"there is no dead letter {number}", "list them: it may have been pushed out or sent again"
            )
        return found

    def _tell(self, letter: DeadLetter) -> None:
        # A listener may send, to somebody who is not there either: that letter is kept, and told no further.
        if self._telemetry is None or self._telling:
            return
        self._telling = True
        try:
            names = {"to": letter.to, "sender": letter.sender, "reason": letter.reason}
            self._telemetry.emit("mcp.message.dropped", {}, names)
        finally:
            self._telling = False


def _shown(letter: DeadLetter, message: Any) -> DeadLetter:
    return msgspec.structs.replace(letter, outline=content(message)) if letter.kept else letter


def deliver(target: Target, message: Any, letters: DeadLetters | None, sender: str = "") -> bool:
    """Tell a target something; what it does not take becomes a dead letter. Never raises.

    Args:
        target: Who is told.
        message: Anything.
        letters: Where it goes instead; None writes a line into the log.
        sender: On whose behalf, for the dead letter.

    Returns:
        Whether the target took it.
    """
    try:
        target.tell(message)
    except Exception as error:  # whatever it is, the sender has other things to do
        miss(target, message, error, letters, sender)
        return False
    return True


def miss(target: Target, message: Any, error: Exception, letters: DeadLetters | None, sender: str) -> None:
    """Keep what a target did not take; without `letters`, write a line into the log."""
    if letters is None:
        log.warning("%s did not take a message: %s", target.name, reason_of(error))
    else:
        letters.record(target.name, message, reason_of(error), sender)


def reason_of(error: BaseException) -> str:
    """The word that a dead letter gives as its reason."""
    if isinstance(error, UmbrellaError):
        return error.code
    return NotFound.code if isinstance(error, pykka.ActorDeadError) else type(error).__name__
