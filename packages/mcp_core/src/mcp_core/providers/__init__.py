"""Language models behind `mcp_interface.provider`: which one is configured, and the adapters that speak to it.

    environment, model name -> selection.choose -> ProviderChoice -> make_provider -> openai | anthropic

Importing this package loads no vendor's SDK and no HTTP client; `make_provider` does. The scripted provider
for tests lives in `mcp_interface.testing`.
"""

from mcp_core.providers.names import ToolNames
from mcp_core.providers.selection import ProviderChoice, choose, make_provider

__all__ = ["ProviderChoice", "ToolNames", "choose", "make_provider"]
