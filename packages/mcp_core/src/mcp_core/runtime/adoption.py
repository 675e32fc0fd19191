"""How a new incarnation gets the ref of the one before: its constructor finds it here."""

from _thread import get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_core.runtime.cell import Ref
    from mcp_core.runtime.light import LightActor

adopting: dict[int, "Ref[Any]"] = {}
"""The ref that the actor being made takes over, by thread."""


def adopt(ref: "Ref[Any]", make: "Callable[[], LightActor]") -> Any:
    """Make an actor whose constructor takes over an existing ref."""
    thread = get_ident()
    adopting[thread] = ref
    try:
        return make()
    finally:
        adopting.pop(thread, None)


def adopted() -> "Ref[Any] | None":
    """The ref that the actor being made takes over, if there is one."""
    return adopting.pop(get_ident(), None) if adopting else None
