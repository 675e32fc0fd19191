"""What runs on a node, as it is at one moment: the tree of actors, their mail, what was not delivered.

For operators, like telemetry: a look, not a record. Implementation: `mcp_core.runtime.observer`. The commands below
are for the owner of the node alone; whoever else asks is not permitted.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mcp_interface.clock import Instant
from mcp_interface.commands import Command, Limit, Page

ActorOrder = Literal["mail", "handled", "restarts", "name"]
"""Which actors come first: most mail, most messages so far, most restarts, or by name."""
ActorState = Literal["idle", "ready", "busy", "waiting", "down", "asleep", "ended"]
"""Has nothing to do; has mail; handles a message or works by itself; its handler waits for something; is between two
incarnations; has left memory until somebody needs it; has ended."""


class ActorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One actor."""

    name: str
    type: str
    """Its class."""
    about: str = ""
    """Who that is to people: an agent's type and name, a session's title."""
    kind: Literal["loop", "pool"] = "loop"
    """Whether it shares the event loop or a pool of threads."""
    state: ActorState
    mail: int
    """Messages that wait."""
    handled: int
    """Messages so far, by all incarnations; two looks give a rate."""
    restarts: int
    memory: int | None = None
    """Bytes of the actor and what it holds directly, about; None when nobody asked."""
    waits_for: list[str] = []
    """Actors whose replies its handler waits for."""
    watched: bool = False
    """Whether its messages are being recorded."""


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor and what is below it."""

    name: str
    strategy: str
    failures: int
    """How often it has failed as a whole."""
    total: int
    """Its own actors that fit, of which `actors` are the first that were asked for."""
    actors: list[ActorStatus]
    branches: list["Branch"] = []


class Blockage(msgspec.Struct, frozen=True, kw_only=True):
    """A handler that keeps the event loop, or kept it."""

    actor: str
    """Its name; empty when it was no actor's code."""
    duration_s: float
    """So far, or until it let go."""
    where: str
    """File, line and function at which it was seen."""
    ago_s: float = 0.0
    """Seconds since it let go; zero while it does not."""


class RuntimeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole runtime at one moment."""

    at: Instant
    uptime_s: float
    """Seconds since the runtime began; two looks give rates."""
    tree: Branch
    actors: int
    """Running actors of the process, supervised or not."""
    suspended: int
    """Handlers that wait for something."""
    threads: int
    """Threads of the pool for actors that block."""
    dead_letters: int
    """Messages that reached nobody and are kept."""
    memory: int
    """Resident bytes of the process."""
    worst_block_s: float
    """Longest time that one handler has kept the event loop."""
    blocked: Blockage | None = None
    """What keeps the event loop at this moment; seen by whoever looks from another loop or thread only."""
    blocks: list[Blockage] = []
    """The last ones that have let go, the latest last."""


class SeenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of an actor that is watched."""

    at: Instant
    message: str
    """A short text that tells what it was; never all of it."""
    sender: str = ""
    duration_s: float
    outcome: str
    """`ok`, or the code of the error."""


class LostMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that reached nobody."""

    number: int
    at: Instant
    to: str
    message: str
    """A short text that tells what it was."""
    reason: str
    sender: str = ""
    can_be_sent: bool = True
    """Whether it is still there to be sent again."""


# -- commands ----------------------------------------------------------------------------------------------


class ObserveRuntime(Command[RuntimeStatus], frozen=True, kw_only=True, tag="runtime.observe"):
    """The runtime as it is now."""

    order: ActorOrder = "mail"
    limit: Limit = 200
    """Actors of each supervisor."""
    match: Annotated[str, Meta(max_length=200)] = ""
    """Only actors whose name, type or `about` has this in it, whatever the case."""
    memory: bool = False
    """Whether to measure those actors; some microseconds each."""


class WatchActor(Command[None], frozen=True, kw_only=True, tag="runtime.watch"):
    """Begin to record what an actor receives, or forget it; harmless when repeated. An actor that is not watched pays nothing."""

    name: str
    on: bool = True


class ListSeen(Command[list[SeenMessage]], frozen=True, kw_only=True, tag="runtime.seen"):
    """The latest messages of an actor that is watched, the last one last; 200 at most."""

    name: str


class KillActor(Command[None], frozen=True, kw_only=True, tag="runtime.kill"):
    """End an actor's present incarnation: its handler is cancelled, and its supervisor brings it back at once.

    Its name and its mail stay, and its state as far as that is kept. Harmless while it is down or asleep. Refused
    when it has ended so often that its supervisor would give it up.
    """

    name: str


class ListLost(Command[Page[LostMessage]], frozen=True, kw_only=True, tag="runtime.lost"):
    """Messages that reached nobody and are kept, oldest first."""

    to: str | None = None
    """Only those for this target, as its sender named it."""
    limit: Limit = 200
    cursor: str | None = None


class ResendLost(Command[LostMessage], frozen=True, kw_only=True, tag="runtime.resend"):
    """Send one again, judged anew, and forget it; when it cannot be sent it stays as it is."""

    number: Annotated[int, Meta(ge=1)]


class ForgetLost(Command[LostMessage], frozen=True, kw_only=True, tag="runtime.forget"):
    """Drop one for good."""

    number: Annotated[int, Meta(ge=1)]
