"""What is judged, what judges it, and what every kind of limit has to know. No kind is named here."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from mcp_interface.address import Resource
from mcp_interface.capability import Facts
from mcp_interface.errors import NotPermitted
from mcp_security.patterns import Paths


class Question(msgspec.Struct, frozen=True):
    """One action, as the limits of a right see it."""

    resource: Resource
    """Concrete, or a pattern, of which all has to be allowed."""
    paths: Paths
    """Of `resource.path`, parsed once for all limits."""
    facts: Facts
    now: datetime
    """UTC."""


Check = Callable[[Question], str | None]
"""Says why an action is refused, or None."""


class Kind(Protocol):
    """One kind of limit: how its value is read, what the meet of two is, and what it refuses.

    Two promises hold the delegation law: what the meet allows is allowed by both sides, and the meet of a
    value with what it has met before changes nothing.
    """

    @property
    def types(self) -> frozenset[str] | None:
        """Resource types on which the limit can bite; None is all. On any other it denies."""
        ...

    def read(self, value: Any) -> Any:
        """Return the value in its canonical, JSON-compatible form; reading that again changes nothing.

        Raises:
            CallerMistaken: Naming what the value has to be.
        """
        ...

    def meet(self, parent: Any, child: Any) -> Any:
        """Return the limit that both allow, canonical, from two canonical values.

        Raises:
            NotPermitted: The child's value is not inside the parent's, or nothing would be left.
        """
        ...

    def check(self, value: Any) -> Check | None:
        """Return what judges an action; None for a limit that is kept elsewhere (uses, rates, depth)."""
        ...


def too_wide(message: str, remedy: str = "ask for less than the parent has") -> NotPermitted:
    """Word that a limit cannot be narrowed to the parent's."""
    return NotPermitted(message, remedy, {"reason": "constraint_violated"})
