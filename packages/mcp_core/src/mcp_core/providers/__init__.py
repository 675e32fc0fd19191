"""Language models behind `mcp_interface.provider`: which one is configured, and the adapters that speak to it.

    environment, vault (keys), this machine (discovery), model name
        -> selection.choose -> ProviderChoice -> make_provider -> openai | anthropic | scripted
        -> fallback, cards -> lender.Lender -> Lent

Importing this package loads no vendor's SDK and no HTTP client; `make_provider` does. The scripted provider
of the tests lives in `mcp_interface.testing`; `scripted` here plays a person's file.
"""

from mcp_core.providers.names import ToolNames
from mcp_core.providers.selection import ProviderChoice, choose, make_provider

__all__ = ["ProviderChoice", "ToolNames", "choose", "make_provider"]
