"""Prompts as text with `{{name}}` placeholders: what is wrong with a template, and its values in place. Pure.

Values are put in in one pass over the template, so that a value which looks like a placeholder stays as it is.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import PromptArgument

MAX_RENDERED: Final = 2_000_000
"""Characters of a prompt with its values in place."""
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_PLACEHOLDER: Final = re.compile(r"\{\{ ?([A-Za-z0-9_][A-Za-z0-9_-]{0,99}) ?\}\}")


def placeholders(template: str) -> list[str]:
    """The names that a template has places for, each once, in order."""
    return list(dict.fromkeys(match[1] for match in _PLACEHOLDER.finditer(template)))


def check(template: str, arguments: Sequence[PromptArgument]) -> None:
    """Refuse what cannot become a prompt.

    Raises:
        CallerMistaken: The template is blank, or an argument's name is no word or is there twice.
    """
    if not template.strip():
        raise CallerMistaken("the template is empty", "write what the prompt says")
    names = [argument.name for argument in arguments]
    for name in names:
        if not _WORD.fullmatch(name):
            raise CallerMistaken(
                f"argument {name[:100]!r} has no name that a placeholder can have",
                "use letters, digits, '-' and '_', at most 100, not beginning with '-'",
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CallerMistaken(f"argument {twice[0]!r} is declared twice", "declare it once")


def warnings(template: str, arguments: Sequence[PromptArgument]) -> list[str]:
    """What looks like a slip: placeholders that are not declared, arguments that are not used."""
    used, declared = placeholders(template), [argument.name for argument in arguments]
    return [
        *(f"{{{{{name}}}}} is not declared, and stays as it is" for name in used if name not in declared),
        *(f"argument {name!r} is not used" for name in declared if name not in used),
    ]


def values(arguments: Sequence[PromptArgument], given: Mapping[str, str]) -> dict[str, str]:
    """What stands for each declared argument: what was given, else its default, else nothing; the rest is ignored.

    Raises:
        CallerMistaken: A required one without a default is missing; names all that are.
    """
    missing = [
        each.name for each in arguments if each.required and each.default is None and each.name not in given
    ]
    if missing:
        raise CallerMistaken(
            f"required argument{'s' if len(missing) > 1 else ''} missing: {', '.join(missing)}",
            "give a value for each",
            {"missing": missing},
        )
    return {each.name: given.get(each.name, each.default or "") for each in arguments}


def render(template: str, arguments: Sequence[PromptArgument], given: Mapping[str, str]) -> str:
    """The template with values in place.

    Raises:
        CallerMistaken: As `values`, or the outcome would be too long.
    """
    known = values(arguments, given)
    parts: list[str] = []
    length = end = 0
    for match in _PLACEHOLDER.finditer(template):
        parts += [template[end : match.start()], known.get(match[1], match[0])]
        end = match.end()
        length += len(parts[-1]) + len(parts[-2])
        if length > MAX_RENDERED:  # before it is put together: few words in many places take much room
            raise _too_long()
    parts.append(template[end:])
    if length + len(parts[-1]) > MAX_RENDERED:
        raise _too_long()
    return "".join(parts)


def _too_long() -> CallerMistaken:
    return CallerMistaken(
        f"the prompt would have more than {MAX_RENDERED:,} characters", "give shorter values"
    )
