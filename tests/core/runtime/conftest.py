"""What several rooms of the runtime send to in their tests."""

from collections.abc import Callable
from typing import Any

import pykka
import pytest

from mcp_interface.errors import TooMuch


class Sink:
    """Takes what it is told, until it is full or has ended; keeps the promises of `Target`."""

    def __init__(self, name: str = "sink", room: int = 1_000_000) -> None:
        self.name = name
        self.room = room
        self.got: list[Any] = []
        self.watchers: dict[object, Callable[[Any, Any], object]] = {}
        self.ended = False

    def tell(self, message: Any) -> None:
        if self.ended:
            raise pykka.ActorDeadError(f"{self.name} not found")
        if len(self.got) >= self.room:
            raise TooMuch(f"the mailbox of {self.name} is full")
        self.got.append(message)

    async def call(self, message: Any, *, timeout: float) -> Any:
        self.tell(message)

    def is_alive(self) -> bool:
        return not self.ended

    def on_exit(self, callback: Callable[[Any, Any], object]) -> Callable[[], object]:
        if self.ended:
            callback(self, "ended")
            return lambda: None
        key = object()
        self.watchers[key] = callback
        return lambda: self.watchers.pop(key, None)

    def end(self) -> None:
        self.ended = True
        watchers, self.watchers = self.watchers, {}
        for watcher in watchers.values():
            watcher(self, "ended")


@pytest.fixture(scope="session")
def sink() -> type[Sink]:
    """The class; each test makes as many as it needs."""
    return Sink
