"""What others than the owner of the node are told when a server fails them: what to do, and nothing about the server.

The words of these errors name paths, log files, commands, the last line of a log, tools and prompts that are hidden.
Whether a call may have taken effect is said to everybody.
"""

from mcp_interface.errors import (
    CircuitOpen,
    DeadlineExceeded,
    Interrupted,
    NotFound,
    ServerUnavailable,
    UmbrellaError,
)


def plain(error: UmbrellaError, server: str, name: str) -> UmbrellaError:
    """The same error without what belongs to the owner; one that says nothing of the server stays as it is.

    Args:
        error: As it was raised.
        server: Which server was asked.
        name: Of the tool or prompt, or the URI, as it was asked for.
    """
    server, name = server[:80], name[:200]
    match error:
        case NotFound():
            return NotFound(f"{server!r} has no {name!r}", "list what there is", {"server": server})
        case DeadlineExceeded():
            return DeadlineExceeded(
                f"{name!r} of server {server!r} was not answered in time", "allow more time"
            )
        case CircuitOpen():
            return CircuitOpen(f"{name!r} of server {server!r} is left alone for a while", "try again later")
        case ServerUnavailable():
            return ServerUnavailable(
                f"server {server!r} cannot be reached", "try again later; or tell the owner"
            )
        case Interrupted():
            return Interrupted(
                f"server {server!r} was lost while it worked on {name!r}",
                "it may or may not have taken effect; look before you call again",
            )
    return error
