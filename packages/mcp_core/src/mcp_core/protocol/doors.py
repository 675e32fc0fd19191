"""What a node adds to its connections: logins, extensions of the protocol, cages. Knows nothing of the SDK."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_interface.secret import Vault
from mcp_interface.server import ServerSpec

if TYPE_CHECKING:
    import httpx2
    from mcp.client.extension import ClientExtension


def _no_auth(name: str, spec: ServerSpec) -> None:
    return None


def _tasks(name: str) -> "Sequence[ClientExtension]":
    from mcp_core.protocol.tasks_client import TasksExtension

    return (TasksExtension(),)


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Given to every connection of a host."""

    auth: "Callable[[str, ServerSpec], httpx2.Auth | None]" = _no_auth
    """How to show a login to a server that is reached over HTTP, by its name and expanded entry; None: not at all.

    Where a person has to log in first, it raises `LoginNeeded` during a request; the server's state is `login` then."""
    extensions: "Callable[[str], Sequence[ClientExtension]]" = _tasks
    """The client's halves of protocol extensions, by the name of the server; asked for once for each connection, off the
    event loop's start. A claimed result is finished by its extension, which finds the call in `errand.CURRENT`."""
    stopping: Callable[[], bool] = _never
    """Whether the node is about to stop: what servers do for it as tasks then goes on without it."""
    vault: Vault | None = None
    """Where `${secret:NAME}` of an entry looks when its server is started; None: there are no secrets."""
    closed: Sequence[Path] = ()
    """What no cage of a server's process may hold: the node's own folders."""
