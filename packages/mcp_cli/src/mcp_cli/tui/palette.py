"""The colours of the full screen, in a dark and a light kind, and what each tone looks like in them."""

from typing import Final

import msgspec
from textual.theme import Theme

from mcp_cli.sheet import Tone

DARK: Final = Theme(
    name="umbrella-dark",
    primary="#7aa2f7",
    secondary="#9d7cd8",
    accent="#7dcfff",
    foreground="#c8d0e8",
    background="#14161f",
    surface="#14161f",
    panel="#1f2335",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    dark=True,
)
LIGHT: Final = Theme(
    name="umbrella-light",
    primary="#2e5cb8",
    secondary="#6f42a8",
    accent="#006a83",
    foreground="#24283b",
    background="#f7f7fa",
    surface="#f7f7fa",
    panel="#e6e8f0",
    success="#33691e",
    warning="#8a5a00",
    error="#b3223d",
    dark=False,
)


class Palette(msgspec.Struct, frozen=True, kw_only=True):
    """Colours as rich understands them."""

    text: str
    dim: str
    primary: str
    accent: str
    ok: str
    warn: str
    bad: str
    panel: str
    code_theme: str

    @property
    def tones(self) -> dict[Tone, str]:
        """A rich style for each tone."""
        return {
            "plain": self.text,
            "strong": f"bold {self.text}",
            "dim": self.dim,
            "ok": self.ok,
            "warn": self.warn,
            "bad": self.bad,
            "accent": self.accent,
        }


def palette(theme: Theme) -> Palette:
    """Read the colours off a theme; what it leaves open is taken from ours."""
    base = DARK if theme.dark else LIGHT
    return Palette(
        text=theme.foreground or str(base.foreground),
        dim="#7a83a6" if theme.dark else "#646b85",
        primary=theme.primary,
        accent=theme.accent or str(base.accent),
        ok=theme.success or str(base.success),
        warn=theme.warning or str(base.warning),
        bad=theme.error or str(base.error),
        panel=theme.panel or str(base.panel),
        code_theme="github-dark" if theme.dark else "friendly",
    )
