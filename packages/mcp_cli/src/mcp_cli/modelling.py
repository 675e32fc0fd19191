"""What models look like: which there are, how much they read and write, and what they charge. Pure."""

from collections.abc import Sequence
from typing import Final

from mcp_cli.sheet import Cell, Sheet, Shown, facts, row
from mcp_cli.untrusted import one_line
from mcp_interface.provider import ModelInfo

NONE_YET: Final = (
    "no models; keep a key: umbrella secret set OPENAI_API_KEY or ANTHROPIC_API_KEY; or start Ollama"
)
UNKNOWN: Final = Cell("?", "dim")


def models(found: Sequence[ModelInfo]) -> Shown:
    """All models; the one that a session gets which names none is marked."""
    rows = [
        row(
            Cell(one_line(info.name), "strong"),
            Cell("default", "ok") if info.default else "",
            tokens(info.context_tokens),
            tokens(info.max_output_tokens),
            price(info.input_price),
            price(info.output_price),
        )
        for info in found
    ]
    return Sheet(
        columns=("model", "", "#context", "#answer", "#$ in", "#$ out"),
        rows=rows,
        empty=NONE_YET,
        note="tokens; US dollars for a million of them; ? is not known" if rows else "",
    )


def model(info: ModelInfo) -> Shown:
    """One model."""
    return facts(
        ("model", Cell(one_line(info.name), "strong")),
        ("default", Cell("for sessions that name none", "ok") if info.default else ""),
        ("reads and writes", _unit(tokens(info.context_tokens), "tokens together")),
        ("longest answer", _unit(tokens(info.max_output_tokens), "tokens")),
        ("price read", _unit(price(info.input_price), "$ a million tokens")),
        ("price written", _unit(price(info.output_price), "$ a million tokens")),
        ("from its cache", _unit(price(info.cached_price), "$ a million tokens")),
        ("into its cache", _unit(price(info.cache_write_price), "$ a million tokens")),
        note=f"choose it: /model {one_line(info.name)}, or --model",
    )


def tokens(count: int | None) -> Cell:
    """A number of tokens, with its thousands told apart."""
    return UNKNOWN if count is None else Cell(f"{count:,}")


def price(dollars: float | None) -> Cell:
    """A price to as many places as it has."""
    return UNKNOWN if dollars is None else Cell(f"{dollars:.4f}".rstrip("0").rstrip("."))


def _unit(cell: Cell, unit: str) -> Cell:
    return Cell("not known", "dim") if cell is UNKNOWN else Cell(f"{cell.text} {unit}", cell.tone)
