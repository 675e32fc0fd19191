"""The supervised actor that owns one server's connection.

The connection rebuilds itself when its server dies; the actor is there for the case that the connection's own
loop dies, which is a bug of ours: the supervisor then answers with a fresh connection under the same name.
"""

from collections.abc import Callable
from typing import Any

from mcp_core.protocol.connections import Connection
from mcp_core.runtime.light import Actor
from mcp_interface.errors import CallerMistaken


class ConnectionOwner(Actor):
    """Starts, watches and stops one `Connection`.

    Args:
        make: Makes a connection that has not been started; called once per incarnation.
    """

    def __init__(self, make: Callable[[], Connection]) -> None:
        super().__init__()
        self._connection = make()

    async def on_start(self) -> None:
        """Begin to connect."""
        self._connection.start(self._died)

    async def on_receive(self, message: Any) -> Any:
        """The connection's loop has ended with an error: crash with it."""
        if isinstance(message, BaseException):
            raise message
        raise CallerMistaken(f"a connection takes no {type(message).__name__}")

    async def on_stop(self) -> None:
        """Disconnect; bounded."""
        await self._connection.stop()

    def _died(self, error: BaseException) -> None:
        if self.actor_ref.is_alive():
            self.actor_ref.tell(error)
