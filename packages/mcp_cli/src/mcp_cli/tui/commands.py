"""The command palette: every slash command, found by some letters of its name or of what it does."""

from functools import partial
from typing import Final

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from mcp_cli.slashes import SLASHES, Slash, stands_alone

BY_SUMMARY: Final = 0.1
"""Score of what fits by its summary: less than that of any name."""


class SlashCommands(Provider):
    """Offers the registry of slash commands."""

    async def discover(self) -> Hits:
        """Everything, while nothing is typed."""
        for slash in SLASHES:
            yield DiscoveryHit(Content(_name(slash)), partial(self._choose, slash), help=slash.summary)

    async def search(self, query: str) -> Hits:
        """What fits, best first: by its name, then by words of what it does."""
        matcher = self.matcher(query)
        words = query.lower().lstrip("/")
        for slash in SLASHES:
            told = BY_SUMMARY if words in slash.summary.lower() else 0.0
            score = max(matcher.match(f"/{slash.name}"), told)
            if score > 0:
                shown = matcher.highlight(_name(slash))
                yield Hit(score, shown, partial(self._choose, slash), help=slash.summary)

    def _choose(self, slash: Slash) -> None:
        """Do it, or let the person write what it needs."""
        from mcp_cli.tui.app import UmbrellaApp

        if isinstance(self.app, UmbrellaApp):
            self.app.begin(f"/{slash.name}", whole=stands_alone(slash) and not slash.usage)


def _name(slash: Slash) -> str:
    return f"/{slash.name}" + (f" {slash.usage}" if len(slash.usage) <= 30 else " …")
