"""One tree of errors, branched by who must act.

    UmbrellaError
    ├── CallerMistaken      invalid_input      change the request
    │   ├── Deadlock        deadlock
    │   ├── InvalidAddress  invalid_address
    │   └── InvalidRecord   invalid_record
    ├── NotPermitted        denied             ask for a grant
    │   └── LoginRequired   login_required
    ├── NotFound            not_found          look it up again
    ├── LostRace            lost_race          read, decide again
    │   ├── VersionConflict version_conflict
    │   ├── StaleEpoch      stale_epoch
    │   └── WrongState      wrong_state
    ├── TooMuch             overloaded         wait and try again
    │   └── DeadlineExceeded timeout
    ├── WorldBroken         unavailable        mend what is outside
    │   ├── StorageUnavailable storage_unavailable
    │   ├── StorageCorrupt  storage_corrupt
    │   ├── ServerUnavailable  server_unavailable
    │   ├── Interrupted     interrupted
    │   ├── ModelUnavailable   model_unavailable
    │   ├── NodeUnavailable node_unavailable
    │   └── CircuitOpen     circuit_open
    └── OurBug              internal           report it

Each carries a stable code, a message that names the input and the rule, and a remedy. Foreign exceptions
are translated once, at the boundary. Codes are wire format: they never change meaning.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels: in frames, in journaled events, in REST problems."""

    code: str
    message: str
    remedy: str = ""
    details: dict[str, Any] = {}


class UmbrellaError(Exception):
    """Root of every error that Umbrella raises on purpose.

    Args:
        message: What went wrong, naming the input and the rule.
        remedy: What the reader can do about it; empty when nothing can be said.
        details: Identifiers for programs, JSON-compatible.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, remedy: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message

    def body(self) -> ErrorBody:
        """Return the error as data, ready to cross a process boundary."""
        return ErrorBody(code=self.code, message=self.message, remedy=self.remedy, details=self.details)


class CallerMistaken(UmbrellaError):
    """The request itself is wrong; repeating it cannot help."""

    code = "invalid_input"


class Deadlock(CallerMistaken):
    """Actors would wait for each other for ever; the message names them."""

    code = "deadlock"


class InvalidAddress(CallerMistaken):
    """A URI does not follow the grammar of `address`."""

    code = "invalid_address"


class InvalidRecord(CallerMistaken):
    """A struct breaks one of its own rules; `rule` is the rule's stable name."""

    code = "invalid_record"

    def __init__(
        self, rule: str, message: str, remedy: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, remedy, {**(details or {}), "rule": rule})

    @property
    def rule(self) -> str:
        """Stable name of the first broken rule, such as `expires_before_granted`."""
        return str(self.details["rule"])


class NotPermitted(UmbrellaError):
    """No capability allows it. `details["reason"]` and `details["grant"]` say why and what would help."""

    code = "denied"


class LoginRequired(NotPermitted):
    """The client has not shown who it is."""

    code = "login_required"


class NotFound(UmbrellaError):
    """The named thing does not exist, or the caller may not know that it does."""

    code = "not_found"


class LostRace(UmbrellaError):
    """Somebody else was first; read again and decide again."""

    code = "lost_race"


class VersionConflict(LostRace):
    """A stream is not at the expected version; `details["actual"]` is where it is."""

    code = "version_conflict"


class StaleEpoch(LostRace):
    """A newer writer has taken over; this one must stop writing for good."""

    code = "stale_epoch"


class WrongState(LostRace):
    """The thing is not in a state that allows this; `details["status"]` is the state it is in."""

    code = "wrong_state"


class TooMuch(UmbrellaError):
    """A bounded queue, list or quota is full."""

    code = "overloaded"


class DeadlineExceeded(TooMuch):
    """The answer did not come in time; the work may still be going on."""

    code = "timeout"


class WorldBroken(UmbrellaError):
    """Something outside this program does not work."""

    code = "unavailable"


class StorageUnavailable(WorldBroken):
    """The disk or database refused. What was not acknowledged may or may not be there."""

    code = "storage_unavailable"


class StorageCorrupt(WorldBroken):
    """Stored bytes are not what was written; nothing is repaired silently."""

    code = "storage_corrupt"


class ServerUnavailable(WorldBroken):
    """An MCP server cannot be reached; the call was not sent."""

    code = "server_unavailable"


class Interrupted(WorldBroken):
    """The work had begun when its server or node died; it may or may not have taken effect."""

    code = "interrupted"


class ModelUnavailable(WorldBroken):
    """No language model is configured, or its endpoint refused."""

    code = "model_unavailable"


class NodeUnavailable(WorldBroken):
    """No node answers for this data directory or URL."""

    code = "node_unavailable"


class CircuitOpen(WorldBroken):
    """What was meant has failed too often and is not asked for a while; `details["seconds"]` says how long."""

    code = "circuit_open"


class OurBug(UmbrellaError):
    """An invariant of ours does not hold. Please report it."""

    code = "internal"


def _tree(kind: type[UmbrellaError]) -> dict[str, type[UmbrellaError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _tree(child)
    return found


CODES: dict[str, type[UmbrellaError]] = _tree(UmbrellaError)
"""Every stable code and the class that carries it."""


def error_from(body: ErrorBody) -> UmbrellaError:
    """Rebuild the exception that an `ErrorBody` came from; an unknown code becomes the root class."""
    kind = CODES.get(body.code, UmbrellaError)
    if issubclass(kind, InvalidRecord):
        return kind(str(body.details.get("rule", "")), body.message, body.remedy, body.details)
    return kind(body.message, body.remedy, body.details)
