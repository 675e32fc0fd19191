"""Which transport a specification means. Imports the SDK; imported late."""

from contextlib import AbstractAsyncContextManager
from typing import TextIO

from mcp.client._transport import TransportStreams

from mcp_core.protocol.doors import Doors
from mcp_core.protocol.process import process_transport
from mcp_core.protocol.sse import sse_transport
from mcp_core.protocol.streamable import http_transport
from mcp_core.protocol.watch import Watch
from mcp_interface.errors import OurBug
from mcp_interface.server import ServerSpec


def transport_of(
    name: str, spec: ServerSpec, errlog: TextIO | None, watch: Watch, doors: Doors
) -> AbstractAsyncContextManager[TransportStreams]:
    """The transport, not yet entered.

    Raises:
        OurBug: A process without a place for what it says on stderr.
    """
    if spec.transport == "stdio":
        if errlog is None:
            raise OurBug(f"server {name!r} has no log file")
        return process_transport(spec, errlog, watch, doors.closed)
    auth = doors.auth(name, spec)
    return (sse_transport if spec.transport == "sse" else http_transport)(spec, watch, auth)
