"""Deadlines of calls, many at the price of few timers.

Nearly every call is answered long before its deadline. A timer of the event loop for each costs more than a message;
here all that are due within the same moment share one, and a call that was answered costs a look-up.
"""

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mcp_core.runtime.future import Future

FINE_S, COARSE_S = 0.001, 0.02
"""Seconds; a deadline passes never early, and so much late at most: the first below a second, the second above."""

LONGEST_S: Final = 1e9
"""Seconds; more is as good as none."""

Due = dict["Future", float]
"""Replies that are waited for until the same moment, with the seconds that each was given."""


class Deadlines:
    """Those of one event loop; used on its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._moments: dict[float, Due] = {}

    def add(self, future: "Future", seconds: float) -> Due:
        """Give a reply so many seconds; take it out of what is returned when it has come."""
        unit = FINE_S if seconds < 1 else COARSE_S
        moment = (int((self._loop.time() + min(seconds, LONGEST_S)) / unit) + 1) * unit
        due = self._moments.get(moment)
        if due is None:
            due = self._moments[moment] = {}
            self._loop.call_at(moment, self._pass, moment, context=Context())
        due[future] = seconds
        return due

    def _pass(self, moment: float) -> None:
        for future, seconds in list(self._moments.pop(moment).items()):
            target: Any = future._target
            target._too_late(future, seconds)


_by_loop: dict[Any, Deadlines] = {}


def deadlines() -> Deadlines:
    """The deadlines of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        for other in list(_by_loop):
            if other.is_closed():
                del _by_loop[other]
        found = _by_loop[loop] = Deadlines(loop)
    return found
