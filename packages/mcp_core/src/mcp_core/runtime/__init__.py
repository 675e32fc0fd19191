"""Actors: light, supervised, named, watched. Usable without the rest of `mcp_core`.

Everything of pykka holds here: refs, futures, proxies, the registry. What is new is how actors run (`light`), how
they fail (`exits`, `supervisor`) and what they find around them.
"""

from mcp_core.runtime.cell import Ref
from mcp_core.runtime.exits import ActorGone, Down, Exit
from mcp_core.runtime.future import Future
from mcp_core.runtime.light import Actor, PoolActor
from mcp_core.runtime.sourced import Sourced
from mcp_core.runtime.supervisor import ChildSpec, Supervisor
from mcp_core.runtime.system import System

__all__ = [
    "Actor",
    "ActorGone",
    "ChildSpec",
    "Down",
    "Exit",
    "Future",
    "PoolActor",
    "Ref",
    "Sourced",
    "Supervisor",
    "System",
]
