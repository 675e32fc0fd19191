"""What the rooms beside the actors know of an actor: where to send, and how to hear of its end."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Exit: TypeAlias = Callable[[Any, Any], object]
"""Called with the target that has ended and the reason."""


class Target(Protocol):
    """Whoever takes messages. Hashable by identity; used on the node's event loop."""

    @property
    def name(self) -> str:
        """What people and dead letters call it."""
        ...

    def tell(self, message: Any) -> None:
        """Send without an answer; never blocks.

        Raises:
            pykka.ActorDeadError: It has ended.
            TooMuch: Its mailbox is full.
        """
        ...

    async def call(self, message: Any, *, timeout: float) -> Any:
        """Send and wait for the answer, so many seconds at most.

        Raises:
            pykka.ActorDeadError: It has ended.
            UmbrellaError: No answer in time, no room in its mailbox, or what its handler raised.
        """
        ...

    def is_alive(self) -> bool:
        """Whether a message would be taken now."""
        ...

    def on_exit(self, callback: Exit) -> Callable[[], object]:
        """Call back once when it has ended, at once when it already has; returns what takes the callback back."""
        ...
