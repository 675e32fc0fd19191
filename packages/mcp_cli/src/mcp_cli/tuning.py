"""Commands of the REPL on what the model is, is told, sees and may cost. See `local`."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from mcp_cli.sheet import Cell, Facts, Prose, facts
from mcp_cli.slashes import PROFILES, STRATEGIES
from mcp_cli.untrusted import one_line, printable
from mcp_interface.budget import Budget
from mcp_interface.commands import ChangeSession, GetStatus
from mcp_interface.conversing import CompactWindow, GetWindow
from mcp_interface.errors import CallerMistaken
from mcp_interface.session import Profile, Strategy

if TYPE_CHECKING:
    from mcp_cli.repl import Repl

Words = tuple[str, ...]
_COST: Final = re.compile(r"\$?([0-9]{1,9}(?:\.[0-9]{1,6})?)\$?")
_TOKENS: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kKmM]?)")
_MANY: Final = {"": 1, "k": 1_000, "m": 1_000_000}
COMPACT_S: Final = 300.0
"""Seconds that a model may take for a summary."""


async def model(repl: "Repl", words: Words) -> None:
    """`/model [NAME]`."""
    if not words:
        repl.status = await repl.attachment.request(GetStatus())
        found = repl.status.model
        name = repl.transcript.model or repl.model or found.model
        shown = Cell(printable(name), "ok") if found.ready else Cell("no model", "warn")
        repl.face.show(facts(("model", shown), ("from", found.provider), note=printable(found.hint)))
        return
    repl.model = words[0]
    await _change(repl, f"the next session uses {printable(repl.model)}", model=repl.model)


async def profile(repl: "Repl", words: Words) -> None:
    """`/profile [NAME]`."""
    if not words:
        current = repl.transcript.profile if repl.session_id is not None else repl.profile
        pairs = [(name, Cell(text, "ok" if name == current else "dim")) for name, text in PROFILES.items()]
        repl.face.show(Facts(pairs=pairs, title=f"profile: {current}", note="change it: /profile NAME"))
        return
    chosen = next((name for name in get_args(Profile) if name == words[0]), None)
    if chosen is None:
        raise CallerMistaken(f"{words[0]!r} is not a profile", f"use one of {', '.join(PROFILES)}")
    repl.profile = chosen
    await _change(repl, f"profile {chosen}: the assistant {PROFILES[chosen]}", profile=chosen)
    repl.face.changed()


async def system(repl: "Repl", words: Words) -> None:
    """`/system [TEXT|off]`."""
    if not words:
        told = (await repl.session()).system if repl.session_id is not None else repl.system
        text = printable(told) if told else "nothing beside what every assistant is told"
        repl.face.show(Facts(pairs=[("told", Cell(text))], note="change it: /system TEXT; /system off"))
        return
    repl.system = "" if words[0] == "off" else words[0]
    await _change(repl, "the next session is told so", system=repl.system)


async def strategy(repl: "Repl", words: Words) -> None:
    """`/strategy [smart|sliding]`."""
    if not words:
        if repl.session_id is not None:
            repl.strategy = (await repl.session()).strategy
        pairs = [
            (name, Cell(text, "ok" if name == repl.strategy else "dim")) for name, text in STRATEGIES.items()
        ]
        note = "the journal keeps all of it either way; change it: /strategy NAME"
        repl.face.show(Facts(pairs=pairs, title="a conversation that outgrows the window", note=note))
        return
    chosen = next((name for name in get_args(Strategy) if name == words[0]), None)
    if chosen is None:
        raise CallerMistaken(f"{words[0]!r} is not a strategy", f"use one of {', '.join(STRATEGIES)}")
    repl.strategy = chosen
    await _change(repl, f"strategy {chosen}: {STRATEGIES[chosen]}", strategy=chosen)


async def budget(repl: "Repl", words: Words) -> None:
    """`/budget [$DOLLARS] [N tokens] | off`."""
    if not words:
        await _show_budget(repl)
        return
    repl.budget = read_budget(words)
    await _change(repl, f"the next session's budget: {budget_words(repl.budget)}", budget=repl.budget)


async def _show_budget(repl: "Repl") -> None:
    if repl.session_id is None:
        repl.face.show(facts(("budget", budget_words(repl.budget)), note="change it: /budget 2.50"))
        return
    session = await repl.session()
    spent = session.spent
    unpriced = f", and {spent.unpriced} answers of unknown price" if spent.unpriced else ""
    repl.face.show(
        facts(
            ("budget", budget_words(session.limits.budget)),
            ("spent", f"${spent.cost:.4f}{unpriced}"),
            ("tokens", f"{spent.input_tokens:,} in, {spent.output_tokens:,} out"),
            note="change it: /budget 2.50, /budget 200k tokens, /budget off",
        )
    )


def read_budget(words: Sequence[str]) -> Budget:
    """Read a budget: `2.50`, `$2.50`, `200k tokens`, both of them, or `off`.

    Raises:
        CallerMistaken: It cannot be read; naming the word.
    """
    if list(words) == ["off"]:
        return Budget()
    cost: float | None = None
    tokens: int | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        is_tokens = bool(rest) and rest[0].rstrip(",") in {"tokens", "token"}
        found = (_TOKENS if is_tokens else _COST).fullmatch(word.rstrip(","))
        if found is None or (tokens if is_tokens else cost) is not None:
            raise CallerMistaken(
                f"{word!r} is no part of a budget", "write for example 2.50, or 200k tokens, or both, or off"
            )
        if is_tokens:
            rest.pop(0)
            tokens = int(float(found[1]) * _MANY[found[2].lower()])
        else:
            cost = float(found[1])
    return Budget(max_cost=cost, max_tokens=tokens)


def budget_words(given: Budget) -> str:
    """Say a budget in words."""
    parts = [] if given.max_cost is None else [f"${given.max_cost:g}"]
    parts += [] if given.max_tokens is None else [f"{given.max_tokens:,} tokens"]
    return " and ".join(parts) or "no bound"


async def context(repl: "Repl", words: Words) -> None:
    """`/context`."""
    session = await repl.session()
    found = await repl.attachment.request(GetWindow(session_id=session.id))
    takes = "how much it takes is not known"
    if found.context_tokens:
        share = found.tokens / found.context_tokens
        takes = f"of {found.context_tokens:,}, {share:.0%}"
    left = f", {found.left_out} older ones are not seen any more, or only in a summary"
    repl.face.show(
        facts(
            ("tokens", f"about {found.tokens:,} {takes}"),
            ("messages", f"{found.messages} are seen{left if found.left_out else ''}"),
            ("outgrown", STRATEGIES[session.strategy]),
            ("told", one_line(session.system, 80)),
            note="summarise the older part now: /compact",
        )
    )


async def compact(repl: "Repl", words: Words) -> None:
    """`/compact`."""
    session = await repl.session()
    repl.face.show(Prose("a summary of the older part is being written…", "dim"))
    await repl.attachment.request(CompactWindow(session_id=session.id), COMPACT_S)


async def _change(repl: "Repl", later: str, **changes: Any) -> None:
    """Change the session, or say what the next one will be like; a change of the session shows itself."""
    if repl.session_id is None:
        repl.face.show(Prose(later, "ok"))
        return
    changed = await repl.attachment.request(ChangeSession(session_id=repl.session_id, **changes))
    if not {"profile", "model"} & set(changes):  # the transcript says those two
        if "budget" in changes:
            repl.face.show(Prose(f"budget: {budget_words(changed.limits.budget)}", "ok"))
        elif "strategy" in changes:
            repl.face.show(Prose(f"strategy {changed.strategy}: {STRATEGIES[changed.strategy]}", "ok"))
        else:
            repl.face.show(Prose("the assistant is told so from now on", "ok"))


TUNING: Final[Mapping[str, Callable[["Repl", Words], Awaitable[None]]]] = {
    "model": model,
    "profile": profile,
    "system": system,
    "strategy": strategy,
    "budget": budget,
    "context": context,
    "compact": compact,
}
"""What does each of these slash commands."""
