"""What the questions of tools look like: in a list, one with all that is asked, line by line. Pure.

Everything in them was written by a server: it is shown as data, with nothing invisible in it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from mcp_cli import forms
from mcp_cli.naming import short
from mcp_cli.presenters import ago, more
from mcp_cli.sheet import Cell, Facts, Sheet, facts, row
from mcp_cli.untrusted import one_line, printable, revealed
from mcp_interface.commands import Page
from mcp_interface.question import Inquiry, Question

AGAIN = "the tool that asked is gone: yes sends the whole call again, with whatever it had done already"
MOST_ASKED = 4000
"""Characters that are shown of what a model would be asked; the journal holds all of it."""


def questions(page: Page[Question], now: datetime) -> Sheet:
    """List open questions of tools."""
    rows = [
        row(
            Cell(short(found.id), "accent"),
            Cell(one_line(f"{found.server}.{found.tool}", 40), "strong"),
            found.inquiry.kind,
            one_line(found.inquiry.message or host_of(found.inquiry.url), 60),
            Cell(short(found.execution_id), "dim"),
            Cell("again" if found.again else "", "warn"),
            Cell(ago(found.expires_at, now), "dim"),
        )
        for found in page.items
    ]
    return Sheet(
        columns=("question", "tool", "kind", "asks", "execution", "", "ends"),
        rows=rows,
        empty="no tool waits for an answer",
        note=more(page) or ("answer: umbrella questions answer ID" if rows else ""),
    )


def question(found: Question, now: datetime) -> Facts:
    """One open question with everything that is asked."""
    return facts(
        ("question", Cell(found.id, "accent")),
        ("tool", Cell(one_line(revealed(f"{found.server}.{found.tool}")), "strong")),
        ("call", found.execution_id),
        ("session", found.session_id),
        ("for", found.principal_id),
        ("asks", "\n".join(asked(found.inquiry))),
        ("again", Cell(AGAIN if found.again else "", "warn")),
        ("ends", Cell(ago(found.expires_at, now), "dim")),
        note=how_to_answer(found),
    )


def how_to_answer(found: Question) -> str:
    """The command that answers."""
    command = f"umbrella questions answer {short(found.id)}"
    needed = [field.name for field in forms.fields(found.inquiry.schema) if field.required]
    yes = command + "".join(f" --set {one_line(printable(name))}=…" for name in needed)
    return f"answer: {yes}\nor: {command} --decline"


def asked(inquiry: Inquiry) -> list[str]:
    """All that an inquiry says, as lines."""
    lines = revealed(inquiry.message).split("\n") if inquiry.message else []
    match inquiry.kind:
        case "form":
            lines += [line for field in forms.fields(inquiry.schema) for line in field_lines(field)]
        case "url":
            lines += [
                f"wants you to open a page of {host_of(inquiry.url)}",
                f"  {one_line(revealed(inquiry.url))}",
            ]
        case "sampling":
            lines += ["wants your model to answer this, and to read the answer:", *wish(inquiry.params)]
        case "roots":
            lines += ["wants to know which folders it may work in"]
    return lines


def field_lines(field: forms.Field) -> Iterator[str]:
    """A field with what belongs into it, and its numbered choices."""
    mark = " *" if field.required else ""
    about = ": ".join(
        filter(None, [one_line(revealed(field.description)), one_line(revealed(forms.wanted(field)))])
    )
    default = one_line(revealed(forms.shown_default(field)))
    ending = f" [{default}]" if default else ""
    yield f"{one_line(revealed(field.title))}{mark}{f' ({about})' if about else ''}{ending}"
    for number, option in enumerate(field.options, 1):
        name = one_line(revealed(option.title))
        value = one_line(revealed(option.value))
        yield f"  {number}. {name}" + (f" ({value})" if value != name else "")


def host_of(url: str) -> str:
    """The machine that a link leads to, plainly: without what stands before it to deceive, and in its true letters."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return "an address that cannot be read"
    if not host:
        return f"no machine ({one_line(revealed(url), 60)})"
    try:
        plain = host.encode("idna").decode("ascii")
    except UnicodeError:
        plain = revealed(host)
    return plain if plain == host else f"{plain} (written {one_line(revealed(host))})"


def wish(params: dict[str, Any]) -> list[str]:
    """What a model would be asked, as lines."""
    system = params.get("systemPrompt")
    parts = [f"system: {system}"] if isinstance(system, str) and system else []
    messages = params.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            content = message.get("content")
            blocks = content if isinstance(content, list) else [content]
            parts += [f"{message.get('role', '?')}: {_words(block)}" for block in blocks]
    text = revealed("\n".join(parts))
    if len(text) > MOST_ASKED:
        text = f"{text[:MOST_ASKED]}\n… {len(text) - MOST_ASKED} more characters"
    return [f"  │ {line}" for line in text.split("\n")]


def _words(block: Any) -> str:
    if not isinstance(block, dict):
        return "?"
    return str(block.get("text", "")) if block.get("type") == "text" else f"[{block.get('type', '?')}]"


def opening_lines(found: Question) -> list[str]:
    """How a question is announced where there are only lines."""
    name = one_line(revealed(f"{found.server}.{found.tool}"))
    again = [f"    ! {AGAIN}"] if found.again else []
    return [f"? {name} asks:", *(f"    {line}" for line in asked(found.inquiry)), *again]
