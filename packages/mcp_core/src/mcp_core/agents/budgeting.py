"""What answers of models cost, and whether one more may be asked for. Pure."""

from collections.abc import Callable

import msgspec

from mcp_interface.budget import Spent
from mcp_interface.errors import TooMuch
from mcp_interface.ids import SessionId
from mcp_interface.provider import ModelInfo, Usage
from mcp_interface.session import Session

_MILLION = 1_000_000


def cost_of(usage: Usage, info: ModelInfo) -> float | None:
    """US dollars; None when the model's price is not known."""
    read, written = info.input_price, info.output_price
    if read is None or written is None:
        return None
    cached = min(usage.cached_tokens, usage.input_tokens)
    kept = min(usage.cache_written_tokens, usage.input_tokens - cached)
    plain = usage.input_tokens - cached - kept
    cached_price = read if info.cached_price is None else info.cached_price
    kept_price = read if info.cache_write_price is None else info.cache_write_price
    dollars = plain * read + cached * cached_price + kept * kept_price + usage.output_tokens * written
    return dollars / _MILLION


def with_answer(spent: Spent, usage: Usage, cost: float | None) -> Spent:
    """Add one answer."""
    return Spent(
        answers=spent.answers + 1,
        input_tokens=spent.input_tokens + usage.input_tokens,
        output_tokens=spent.output_tokens + usage.output_tokens,
        cached_tokens=spent.cached_tokens + usage.cached_tokens,
        cost=spent.cost + (cost or 0.0),
        unpriced=spent.unpriced + (cost is None),
    )


def together(one: Spent, other: Spent) -> Spent:
    """Add up what was spent in two places."""
    names = Spent.__struct_fields__
    return Spent(**{name: getattr(one, name) + getattr(other, name) for name in names})


def check_budget(session: Session, *models: ModelInfo) -> None:
    """Return if a model may be asked once more in a session.

    Args:
        session: With its budget and what it has spent.
        models: Each that may answer.

    Raises:
        TooMuch: A bound of the session is reached, or what the model costs is not known and there is a bound on it.
    """
    budget, spent = session.limits.budget, session.spent
    tokens = spent.input_tokens + spent.output_tokens
    if budget.max_tokens is not None and tokens >= budget.max_tokens:
        raise _over(f"{session.id} has used {tokens:,} of the {budget.max_tokens:,} tokens of its budget",
                    "max_tokens", budget.max_tokens, tokens)  # fmt: skip
    if budget.max_cost is None:
        return
    for info in models:
        if info.input_price is None or info.output_price is None:
            raise TooMuch(
                f"{session.id} may cost ${budget.max_cost:g} at most, and the price of {info.name} is not known",
                "choose a model whose price is known, tell its price in config.toml, or lift the bound with /budget",
                {"bound": "max_cost", "most": budget.max_cost, "model": info.name},
            )
    free = not any(info.input_price or info.output_price for info in models)
    if spent.cost >= budget.max_cost and not free:
        raise _over(f"{session.id} has spent ${spent.cost:.4f} of its budget of ${budget.max_cost:g}",
                    "max_cost", budget.max_cost, spent.cost)  # fmt: skip


def check_budgets(get: Callable[[SessionId], Session], session_id: SessionId, *models: ModelInfo) -> None:
    """As `check_budget`, for a session and each above it: what is spent on a task is spent there too.

    Raises:
        TooMuch: As `check_budget`, of whichever is the first.
    """
    session = get(session_id)
    check_budget(session, *models)
    while session.lineage is not None:
        session = get(session.lineage.session_id)
        check_budget(session, *models)


def _over(message: str, bound: str, most: float, found: float) -> TooMuch:
    return TooMuch(message, "raise its budget with /budget", {"bound": bound, "most": most, "spent": found})


def counted(usage: Usage, read: int, written: int) -> Usage:
    """What the provider counted; where it counted nothing, the estimate: an answer that was cut is not free."""
    if usage.input_tokens or usage.output_tokens:
        return usage
    return msgspec.structs.replace(usage, input_tokens=read, output_tokens=written)
