"""A sandbox for the process of a server: ordered (`order`), made (`start`), compared with the order (`inspection`).

Linux and bubblewrap 0.8 or newer. There is no way around it: what cannot be caged as ordered does not start.
"""

from mcp_core.protocol.cage.order import take_order
from mcp_core.protocol.cage.start import Caged, find_bubblewrap, start_caged

__all__ = ["Caged", "find_bubblewrap", "start_caged", "take_order"]
