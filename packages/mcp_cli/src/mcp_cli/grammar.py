"""Reads a line of the REPL: a message, a slash command of the registry, a prompt to fill in, a command of the shell.

Pure: no node.
"""

import json
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from mcp_cli.slashes import BY_NAME, Slash
from mcp_interface.offers import CATALOG

_SAFE: Final = "/:@!$&'()*+,;=-._~?#[]|<>^{}`\\\""
"""Letters of a prompt's name that stay as they are: all but blanks, `%`, and what no word holds."""


class Message(msgspec.Struct, frozen=True):
    """Say this to the assistant."""

    text: str


class Order(msgspec.Struct, frozen=True):
    """Do this slash command."""

    slash: Slash
    words: tuple[str, ...] = ()
    """Everything behind the name; a default sub is filled in."""


class Fill(msgspec.Struct, frozen=True):
    """Fill in a prompt of a server, and say it."""

    server: str
    prompt: str
    words: tuple[str, ...] = ()
    """Its values: `name=value`, or values alone in the order of its arguments."""


class Shell(msgspec.Struct, frozen=True):
    """Run this command of the person's shell."""

    line: str


class Mistake(msgspec.Struct, frozen=True):
    """The line cannot be read."""

    message: str
    remedy: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """An empty line."""


Parsed = Message | Order | Fill | Shell | Mistake | Nothing


def parse(line: str) -> Parsed:
    """Read one submitted line or text; never raises.

    A text that begins with `/` is a command, or with `/SERVER:` a prompt; `!` begins a command of the shell; `//`
    and `!!` begin a message that starts with one of them.
    """
    text = line.strip()
    if not text:
        return Nothing()
    if text.startswith(("//", "!!")):
        return Message(text[1:])
    if text.startswith("!"):
        return _shell(text[1:].strip())
    if not text.startswith("/"):
        return Message(text)
    return _command(text[1:])


def _shell(line: str) -> Shell | Mistake:
    remedy = "write for example !ls; to send it as a message, begin with !!"
    return Shell(line) if line else Mistake("! runs a command of your shell, and there is none", remedy)


def _command(text: str) -> Parsed:
    name, _, rest = text.partition(" ")
    name, newline, below = name.partition("\n")
    rest = below + rest if newline else rest
    slash = BY_NAME.get(name.lower())
    if slash is None and ":" not in name:
        return _unknown(name)
    words = _words(rest) if slash is None else _words_of(slash, rest)
    if isinstance(words, Mistake):
        return words
    return fill(name, words) if slash is None else _order(slash, words)


def fill(name: str, words: Sequence[str]) -> Fill:
    """Read `SERVER:PROMPT` or `PROMPT`, which is one of the catalog; `%20` stands for a blank."""
    server, colon, prompt = name.partition(":")
    return Fill(unquote(server) if colon else CATALOG, unquote(prompt if colon else name), tuple(words))


def prompt_word(server: str, prompt: str) -> str:
    """A prompt as one word that `fill` reads."""
    return f"{quote(server, safe='')}:{quote(prompt, safe=_SAFE)}"


def _order(slash: Slash, words: list[str]) -> Order | Mistake:
    if not slash.subs:
        return Order(slash, tuple(words))
    names = [sub.name for sub in slash.subs]
    if not words or words[0].startswith("-"):
        return Order(slash, (slash.default, *words))
    if words[0] in names:
        return Order(slash, tuple(words))
    if slash.loose:
        return Order(slash, (slash.default, *words))
    near = get_close_matches(words[0], names, n=1, cutoff=0.5)
    guess = f"did you mean /{slash.name} {near[0]}?" if near else f"usage: /{slash.name} {slash.usage}"
    return Mistake(f"/{slash.name} has no {words[0]!r}", guess)


def _unknown(name: str) -> Mistake:
    typed = name.lower()
    near = (
        get_close_matches(typed, BY_NAME, n=3, cutoff=0.75)
        or get_close_matches(typed, BY_NAME, n=3, cutoff=0.5)
        or [known for known in BY_NAME if typed and known.startswith(typed)]
    )
    guess = f"did you mean {' or '.join(f'/{known}' for known in near)}?" if near else "see /help."
    return Mistake(f"there is no command /{name}", f"{guess} To send it as a message, begin with //")


def _words_of(slash: Slash, rest: str) -> list[str] | Mistake:
    if slash.raw:
        return [rest.strip()] if rest.strip() else []
    return _call_words(rest) if slash.name == "call" else _words(rest)


def _words(text: str) -> list[str] | Mistake:
    try:
        return shlex.split(text)
    except ValueError as error:
        return Mistake(f"the line cannot be read: {str(error).lower()}", "close the quote")


def _call_words(text: str) -> list[str] | Mistake:
    """Split `SERVER TOOL JSON OPTIONS`: quotes inside the JSON are the JSON's own."""
    start = text.find("{")
    if start < 0 or (start > 0 and not text[start - 1].isspace()):
        return _words(text)
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        return Mistake(f"the arguments are not JSON: {error}", 'write an object such as {"path": "/tmp"}')
    before, after = _words(text[:start]), _words(text[end:])
    if isinstance(before, Mistake):
        return before
    if isinstance(after, Mistake):
        return after
    return [*before, "--json", text[start:end], *after]
