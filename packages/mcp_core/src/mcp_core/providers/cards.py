"""What is known of models: how much they read and write, and what they charge. Pure.

The built-in table holds what the two vendors publish for their own endpoints (November 2026; prices in US dollars for
a million tokens, standard service, requests of up to 272,000 tokens where longer ones cost more). It is used for those
endpoints only: a compatible server may call anything by any name. What is not in it is not known, and not guessed.

An owner's own cards come first, field by field; then the table; then what an endpoint says of its models.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mcp_core.settings import ModelCard
from mcp_interface.provider import ModelInfo

_MOST_TOKENS: Final = 1_000_000_000
_FIELDS: Final = ModelCard.__struct_fields__


def _card(
    context: int | None, output: int | None, prices: tuple[float, float], *cache: float | None
) -> ModelCard:
    cached, written = (*cache, None, None)[:2]
    return ModelCard(
        context_tokens=context,
        max_output_tokens=output,
        input_price=prices[0],
        output_price=prices[1],
        cached_price=cached,
        cache_write_price=written,
    )


_MILLION: Final = 1_000_000
_BUILT_IN: Final[dict[str, dict[str, ModelCard]]] = {
    "anthropic": {
        "claude-fable-5-1": _card(_MILLION, 128_000, (10, 50), 0.25, 12.5),
        "claude-fable-5": _card(_MILLION, 128_000, (10, 50), 1, 12.5),
        "claude-opus-5-5": _card(_MILLION, 128_000, (4, 20), 0.2, 5),
        "claude-opus-5": _card(_MILLION, 128_000, (5, 25), 0.5, 6.25),
        "claude-opus-4-8": _card(None, None, (5, 25), 0.5, 6.25),
        "claude-opus-4-7": _card(None, None, (5, 25), 0.5, 6.25),
        "claude-opus-4-6": _card(_MILLION, 128_000, (5, 25), 0.5, 6.25),
        "claude-opus-4-5": _card(200_000, 64_000, (5, 25), 0.5, 6.25),
        "claude-opus-4-1": _card(200_000, 32_000, (15, 75), 1.5, 18.75),
        "claude-opus-4": _card(200_000, 32_000, (15, 75), 1.5, 18.75),
        "claude-sonnet-5-5": _card(_MILLION, 128_000, (2, 10), 0.2, 2.5),
        "claude-sonnet-5": _card(_MILLION, 128_000, (2, 10), 0.2, 2.5),
        "claude-sonnet-4-6": _card(_MILLION, 128_000, (3, 15), 0.3, 3.75),
        "claude-sonnet-4-5": _card(200_000, 64_000, (3, 15), 0.3, 3.75),
        "claude-sonnet-4": _card(200_000, 64_000, (3, 15), 0.3, 3.75),
        "claude-3-7-sonnet": _card(200_000, 64_000, (3, 15), 0.3, 3.75),
        # Its price depends on what is sent, so none is told.
        "claude-haiku-5-5": ModelCard(context_tokens=_MILLION, max_output_tokens=128_000),
        "claude-haiku-4-5": _card(200_000, 64_000, (1, 5), 0.1, 1.25),
        "claude-3-5-haiku": _card(200_000, 8_192, (0.8, 4), 0.08, 1),
        "claude-3-haiku": _card(200_000, 4_096, (0.25, 1.25), 0.03, 0.3),
    },
    "openai": {
        "gpt-6.2-sol": _card(1_050_000, 128_000, (2, 10), 0.1, 2.5),
        "gpt-6.1-sol": _card(1_050_000, 128_000, (2, 10), None, 2.5),
        "gpt-6-sol": _card(1_050_000, 128_000, (2, 10), 0.2, 2.5),
        "gpt-6-astra": _card(1_050_000, 128_000, (10, 50), 1),
        "gpt-5.6-sol": _card(1_050_000, 128_000, (4, 20)),
        "gpt-5.6": _card(1_050_000, 128_000, (4, 20)),
        "gpt-5.6-terra": _card(1_050_000, 128_000, (2, 12), 0.2, 2.5),
        "gpt-5.6-luna": _card(1_050_000, 128_000, (0.2, 1.2), 0.02, 0.25),
        "gpt-5.4": _card(1_050_000, 128_000, (2.5, 15)),
        "gpt-5.2": _card(400_000, 128_000, (1.75, 14), 0.175),
        "gpt-5.1": _card(400_000, 128_000, (1.25, 10), 0.125),
        "gpt-5": _card(400_000, 128_000, (1.25, 10), 0.125),
        "gpt-5-mini": _card(400_000, 128_000, (0.25, 2), 0.025),
        "gpt-5-nano": _card(400_000, 128_000, (0.05, 0.4), 0.005),
        "gpt-4.1": _card(1_047_576, 32_768, (2, 8), 0.5),
        "gpt-4.1-mini": _card(1_047_576, 32_768, (0.4, 1.6), 0.1),
        "gpt-4.1-nano": _card(1_047_576, 32_768, (0.1, 0.4), 0.025),
        "gpt-4o": _card(128_000, 16_384, (2.5, 10), 1.25),
        "gpt-4o-2024-05-13": _card(128_000, 4_096, (5, 15)),
        "gpt-4o-mini": _card(128_000, 16_384, (0.15, 0.6), 0.075),
        "o4-mini": _card(200_000, 100_000, (1.1, 4.4), 0.275),
        "o3": _card(200_000, 100_000, (2, 8), 0.5),
        "o3-mini": _card(200_000, 100_000, (1.1, 4.4), 0.55),
        "o1": _card(200_000, 100_000, (15, 60), 7.5),
        "gpt-4-turbo": _card(128_000, 4_096, (10, 30)),
        "gpt-3.5-turbo": _card(16_385, 4_096, (0.5, 1.5)),
    },
}
_DATED: Final = ("-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]", "-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]")
"""How a vendor's dated snapshot of a model ends; nothing else may follow a name: `gpt-5.4-pro` is no `gpt-5.4`."""
_ALIASES: Final = ("-0", "-latest")


class Cards:
    """Looks up what is known of a model.

    Args:
        own: The owner's cards by name, `openai:gpt-5` or `gpt-5`, in which `*` stands for anything; the first that fits
            counts.
    """

    def __init__(self, own: Mapping[str, ModelCard] | None = None) -> None:
        self._own = dict(own or {})

    def info(self, provider: str, model: str, *, official: bool, told: ModelInfo | None = None) -> ModelInfo:
        """What is known of one model.

        Args:
            provider: The prefix that its name has in a session, such as `openai`.
            model: Its own name.
            official: Whether it is asked at its vendor's own endpoint.
            told: What the endpoint says of it.
        """
        name = f"{provider}:{model}"
        own = next(
            (
                card
                for pattern, card in self._own.items()
                if fnmatchcase(name, pattern) or fnmatchcase(model, pattern)
            ),
            None,
        )
        sources = (own, _built_in(provider, model) if official else None, told)
        facts = {field: _first(sources, field) for field in _FIELDS}
        return ModelInfo(name=name, provider=provider, **facts)


def count_of(value: object) -> int | None:
    """A number of tokens that an endpoint tells; None when it is none."""
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS
        else None
    )


def _first(sources: tuple[ModelCard | ModelInfo | None, ...], field: str) -> Any:
    found = (getattr(source, field) for source in sources if source is not None)
    return next((value for value in found if value is not None), None)


def _built_in(provider: str, model: str) -> ModelCard | None:
    table = _BUILT_IN.get(provider, {})
    if model in table:
        return table[model]
    for name, card in table.items():
        rest = model.removeprefix(name)
        if rest != model and (rest in _ALIASES or any(fnmatchcase(rest, ending) for ending in _DATED)):
            return card
    return None
