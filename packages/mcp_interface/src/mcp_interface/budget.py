"""What models may cost, and what they have cost."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that are looked at before each request to a model; None is no bound."""

    max_cost: Annotated[float, Meta(ge=0)] | None = None
    """US dollars. With a model whose price is not known, nothing can be said of it, and so nothing is asked."""
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    """Tokens read and written."""


class Spent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What answers of models have used."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Part of the input."""
    cost: float = 0.0
    """US dollars of the answers whose price is known."""
    unpriced: int = 0
    """Answers whose price is not known."""
