"""The node's variables and the models they open: chosen when needed, kept while nothing changes."""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from mcp_core.providers.selection import ProviderChoice, choose, make_provider
from mcp_interface.commands import ModelStatus
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import ModelInfo, Provider

MOST: Final = 16
"""Providers kept ready."""


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be asked now."""

    provider: Provider
    model: str
    """Its own name, as its provider wants it; empty: the provider's default."""
    info: ModelInfo


class Lender:
    """Gives providers by model name.

    Args:
        environ: Where the node's variables begin; clients may lend more.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.variables = dict(environ)
        """Live: MCP servers read their references here too. Never logged, never journaled."""
        self._made: dict[ProviderChoice, Provider] = {}

    def __repr__(self) -> str:
        return "Lender(…)"

    def lend(self, variables: Mapping[str, str]) -> None:
        """Take variables; an empty value removes one."""
        for name, value in variables.items():
            if value:
                self.variables[name] = value
            else:
                self.variables.pop(name, None)

    async def lend_model(self, model: str) -> Lent:
        """What a session's model choice means now.

        Raises:
            ModelUnavailable: None is configured; the remedy says what to set.
        """
        choice = choose(self.variables, model)
        if choice not in self._made:
            if len(self._made) >= MOST:
                self._made.clear()
            # In a thread: the first use of a vendor's SDK imports it, a second in which nothing else would move.
            self._made[choice] = await asyncio.to_thread(make_provider, choice)
        info = ModelInfo(name=f"{choice.vendor}:{choice.model}", provider=choice.vendor)
        return Lent(provider=self._made[choice], model=choice.model, info=info)

    def status(self) -> ModelStatus:
        """Whether a model is configured; nothing is sent to it."""
        try:
            choice = choose(self.variables, "")
        except ModelUnavailable as error:
            return ModelStatus(ready=False, hint=error.remedy)
        return ModelStatus(ready=True, provider=choice.vendor, model=choice.model)
