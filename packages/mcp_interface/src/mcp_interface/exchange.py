"""The frames of one connection, each brought to whom it concerns: an answer to who asked, a notice to who follows.

For clients over any transport that carries the frames of `mcp_interface.client`. It opens, reads and sends
nothing; the client hands it what has come, and says when nothing more will. Used on one event loop only.
"""

import itertools
from typing import TYPE_CHECKING, TypeAlias

from mcp_interface.backlog import Backlog
from mcp_interface.client import Failure, Happened, NodeFrame, PassedBy, Result, Welcome
from mcp_interface.errors import OurBug, UmbrellaError, error_from

if TYPE_CHECKING:
    import asyncio

_Answer: TypeAlias = "asyncio.Future[Result]"


class Exchange:
    """What one client waits for."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._answers: dict[int, _Answer] = {}
        self._follows: dict[int, Backlog] = {}

    def expect(self) -> tuple[int, _Answer]:
        """A number for a request, and the future of its answer; give it back with `settle`."""
        key = next(self._ids)
        import asyncio  # late: who only reads structs needs none of it to start

        answer: _Answer = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        return key, answer

    def settle(self, key: int) -> None:
        """Nobody waits for an answer any more."""
        answer = self._answers.pop(key, None)
        if answer is not None and answer.done() and not answer.cancelled():
            answer.exception()  # seen, also when a deadline came first

    def follow(self, after: int) -> tuple[int, Backlog]:
        """A number for a follow from a position on, and what waits for its reader; give it back with `leave`."""
        key = next(self._ids)
        backlog = self._follows[key] = Backlog(after)
        return key, backlog

    def leave(self, key: int) -> bool:
        """Nobody reads a follow any more; False when the node had ended it already."""
        return self._follows.pop(key, None) is not None

    def take(self, frame: NodeFrame, size: int) -> None:
        """Bring a frame of so many bytes to whom it concerns; nobody is fine."""
        match frame:
            case Result():
                answer = self._answers.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
            case Failure():
                answer = self._answers.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_exception(error_from(frame.error))
                if (backlog := self._follows.pop(frame.id, None)) is not None:
                    backlog.end(error_from(frame.error))
            case Happened() | PassedBy():
                if (backlog := self._follows.get(frame.id)) is not None:
                    backlog.offer(frame.record if isinstance(frame, Happened) else frame.passing, size)

    def end(self, why: UmbrellaError) -> None:
        """Nothing more will come: everybody who waits is told why."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(why)
        for backlog in self._follows.values():
            backlog.end(why)


def welcomed(frame: NodeFrame) -> Welcome:
    """The welcome with which a node begins.

    Raises:
        UmbrellaError: Why it lets nobody in.
        OurBug: It begins with something else.
    """
    if isinstance(frame, Failure):
        raise error_from(frame.error)
    if not isinstance(frame, Welcome):
        raise OurBug(f"the node began with {type(frame).__name__}")
    return frame
