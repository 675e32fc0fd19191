"""How a program gets clients: attach to the running node of a data directory, start one, or embed one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mcp_core.daemon import DataDir, answers, start_detached
from mcp_core.settings import Settings
from mcp_interface.client import Client, ClientInfo
from mcp_interface.commands import ShareVariables
from mcp_interface.errors import NodeUnavailable

if TYPE_CHECKING:
    from mcp_core.node import Node

LENT_TOGETHER = (
    ("UMBRELLA_MODEL",),
    ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
    ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL"),
    ("UMBRELLA_FALLBACK_MODELS",),
    ("UMBRELLA_DISCOVER",),
)
"""Variables that mean something as a group only: the key of one terminal must not go to the URL of another."""


class Door(Protocol):
    """A way to one node."""

    @property
    def owner_token(self) -> str:
        """What connects as the node's owner."""
        ...

    def client(self) -> Client:
        """A new client, not connected yet."""
        ...

    async def stopped(self) -> None:
        """Wait until a node in this process is asked to stop; of any other that is not told."""
        ...

    async def close(self) -> None:
        """Let go; an embedded node stops, any other goes on."""
        ...


class AttachedDoor:
    """The way to a node in another process."""

    def __init__(self, place: DataDir) -> None:
        self._place = place

    @property
    def owner_token(self) -> str:
        """Read anew each time: a restarted node has a new one."""
        return self._place.read_token()

    def client(self) -> Client:
        """A client over the socket."""
        from mcp_core.gateway.remote import SocketClient

        return SocketClient(self._place.socket)

    async def stopped(self) -> None:
        """Wait for good: it is another process that ends."""
        import asyncio  # late: a client of a running node needs none of it to start

        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to let go of."""


class EmbeddedDoor:
    """The way to a node in this process."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    @property
    def owner_token(self) -> str:
        """The node's own."""
        return self._node.owner_token

    def client(self) -> Client:
        """A client in the process."""
        return self._node.client()

    async def stopped(self) -> None:
        """Wait until somebody asks the node to stop, or it gives up."""
        await self._node.stopped()

    async def close(self) -> None:
        """Stop the node."""
        await self._node.close()


async def open_door(settings: Settings, *, start: bool = True, embed: bool = False) -> Door:
    """Find or make the node of a data directory.

    Args:
        settings: Whose data directory; its model variables are lent to a node in another process.
        start: Start a detached node when none runs.
        embed: Run the node inside this process instead.

    Raises:
        NodeUnavailable: None runs, and none was to be started, or it did not come up.
        LostRace: `embed`, and another node runs there.
    """
    if embed:
        from mcp_core.node import Node

        node = Node(settings)
        await node.__aenter__()
        return EmbeddedDoor(node)
    place = DataDir(settings.data_dir)
    if not await answers(place):
        if not start:
            raise NodeUnavailable(f"no node runs on {place.root}", "start one with: umbrella node start")
        await start_detached(place)
    door = AttachedDoor(place)
    variables = lendable(settings.environ)
    # Also to a node that was just started: another door's start may have won, with other variables.
    if variables:
        client = door.client()
        await client.connect(ClientInfo(name="door", token=door.owner_token))
        await client.request(ShareVariables(variables=variables))
        await client.disconnect()
    return door


def lendable(environ: Mapping[str, str]) -> dict[str, str]:
    """The model variables of an environment; of a group that is used, what is unset is empty."""
    return {
        name: environ.get(name, "")
        for group in LENT_TOGETHER
        if any(environ.get(each) for each in group)
        for name in group
    }
