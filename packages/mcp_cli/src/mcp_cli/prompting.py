"""Prompts of servers as slash commands: their values from words, what is missing as a form, the result as a message. Pure.

The text of a prompt was written by a server or by somebody else: it is shown before it is said, and mentions nothing.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from mcp_cli.completing import needed
from mcp_cli.including import section
from mcp_cli.untrusted import printable
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import PromptInfo, PromptResult
from mcp_interface.question import Inquiry

_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")


def bound(info: PromptInfo, words: Sequence[str]) -> dict[str, str]:
    """The values that words give to the arguments of a prompt.

    `name=value` is for the argument of that name, anything else for the next one that has none yet; the last takes
    what is left.

    Raises:
        CallerMistaken: A name is none of its arguments, or there are more words than arguments.
    """
    names = [argument.name for argument in info.arguments]
    values: dict[str, str] = {}
    loose: list[str] = []
    for word in words:
        name, mark, value = word.partition("=")
        if mark and name in names:
            values[name] = value
        elif mark and _NAME.fullmatch(name):
            raise CallerMistaken(
                f"{info.name!r} has no argument {name!r}",
                f"its arguments: {', '.join(names)}" if names else "it has none",
            )
        else:
            loose.append(word)
    free = [name for name in names if name not in values]
    if loose and not free:
        raise CallerMistaken(
            f"{info.name!r} does not take {loose[0]!r}", f"its arguments: {', '.join(names) or 'none'}"
        )
    if len(loose) > len(free) > 0:
        loose[len(free) - 1 :] = [" ".join(loose[len(free) - 1 :])]
    return {**values, **dict(zip(free, loose, strict=False))}


def missing(info: PromptInfo, values: dict[str, str]) -> Inquiry | None:
    """What has to be asked for before a prompt can be filled in; None when nothing is missing."""
    lacking = [name for name in needed(info) if not values.get(name)]
    if not lacking:
        return None
    about = {argument.name: argument for argument in info.arguments}
    fields: dict[str, Any] = {
        name: {"type": "string", "title": about[name].title or name, "description": about[name].description}
        for name in lacking
    }
    schema = {"type": "object", "properties": fields, "required": lacking}
    return Inquiry(key="arguments", kind="form", message=info.description, schema=schema)


def message(result: PromptResult) -> str:
    """A prompt as one message of a person; who is to have said what is named when it is not the person alone."""
    parts = [(each.role, _block(each.content)) for each in result.messages]
    if all(role == "user" for role, _ in parts):
        return "\n\n".join(text for _, text in parts)
    return "\n\n".join(f"{role}: {text}" for role, text in parts)


def _block(content: dict[str, Any]) -> str:
    match content.get("type"):
        case "text":
            return printable(str(content.get("text", "")))
        case "resource":
            return _resource(content.get("resource"))
        case "resource_link":
            return f"({printable(str(content.get('name', 'a resource')))}: {printable(str(content.get('uri', '')))})"
        case kind:
            return f"({printable(str(kind))}, not included)"


def _resource(resource: Any) -> str:
    if not isinstance(resource, dict):
        return "(a resource that cannot be read)"
    uri, text = str(resource.get("uri", "")), resource.get("text")
    if not isinstance(text, str):
        return f"({printable(uri)} is not text and not included)"
    return section(uri, str(resource.get("mimeType", "")), printable(text))
