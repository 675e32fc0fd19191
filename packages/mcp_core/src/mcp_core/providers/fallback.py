"""Several models behind one another: the next is asked when one cannot answer.

`UMBRELLA_FALLBACK_MODELS="anthropic:claude-sonnet-5-5, ollama:llama3.2"` names those behind whichever a session has
chosen.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from mcp_core.providers.failures import TOO_LONG
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import Chunk, Completion, Finished, ModelInfo, Provider

VARIABLE: Final = "UMBRELLA_FALLBACK_MODELS"
MOST: Final = 8
"""Models in a chain, the chosen one not counted; what is named beyond is not used."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a chain."""

    provider: Provider
    model: str
    """Its own name, as its provider wants it; empty: the provider's default."""
    info: ModelInfo


class FallbackProvider:
    """A `Provider` over a chain of others.

    The next one is asked when one raises `ModelUnavailable` before its first chunk, after it has tried again by itself;
    what has begun is never begun anew by another. `Finished.provider` says who answered.

    A conversation that is too long for the chosen model is not handed on: made shorter, it can go on with the model
    that was chosen, and one that reads more is seldom the cheaper. Where a model behind it is the one that it is too
    long for, the next one is asked.

    Args:
        links: In the order in which they are asked; at least one.
    """

    name = "fallback"

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = list(links)

    async def stream(self, completion: Completion) -> AsyncGenerator[Chunk, None]:
        """Stream the answer of the first that begins one; the first may be told another model by the completion.

        Raises:
            ModelUnavailable: None of them answers; tells why the first did not, and names the others.
        """
        refused: list[tuple[Link, ModelUnavailable]] = []
        for number, link in enumerate(self._links):
            begun = False
            try:
                async with aclosing(_ask(link, _fitting(completion, link, chosen=number == 0))) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                return
            except ModelUnavailable as error:
                if begun or (number == 0 and error.details.get("kind") == TOO_LONG):
                    raise
                refused.append((link, error))
        raise none_answered(refused)

    async def models(self) -> list[str]:
        """What the first that can be reached offers."""
        refused: list[tuple[Link, ModelUnavailable]] = []
        for link in self._links:
            try:
                return await link.provider.models()
            except ModelUnavailable as error:
                refused.append((link, error))
        raise none_answered(refused)


def fallback_names(environ: Mapping[str, str]) -> list[str]:
    """The names of the models behind the chosen one; at most `MOST`."""
    names = [name.strip() for name in environ.get(VARIABLE, "").split(",")]
    return list(dict.fromkeys(name for name in names if name))[:MOST]


def none_answered(refused: Sequence[tuple[Link, ModelUnavailable]]) -> ModelUnavailable:
    """What to say when a whole chain has failed: it is the first that was chosen, so its remedy counts."""
    first = refused[0][1]
    if len(refused) == 1:
        return first
    others = "; ".join(f"{link.info.name}: {error.message}" for link, error in refused[1:])
    return ModelUnavailable(
        f"{first.message}; nor do those behind it answer: {others}", first.remedy, first.details
    )


async def _ask(link: Link, completion: Completion) -> AsyncGenerator[Chunk, None]:
    stream = link.provider.stream(completion)
    try:
        async for chunk in stream:
            yield _signed(chunk, link) if isinstance(chunk, Finished) else chunk
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _signed(end: Finished, link: Link) -> Finished:
    return msgspec.structs.replace(end, provider=link.info.provider, model=end.model or link.model)


def _fitting(completion: Completion, link: Link, *, chosen: bool) -> Completion:
    """The request as this model takes it: under its own name, and for no longer an answer than it gives."""
    most = link.info.max_output_tokens or completion.max_tokens
    return msgspec.structs.replace(
        completion,
        model=(completion.model if chosen else "") or link.model,
        max_tokens=min(completion.max_tokens, most),
    )
