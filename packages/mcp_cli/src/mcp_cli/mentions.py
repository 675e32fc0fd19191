"""Mentions in a message: `@server:uri` is a resource, `@path` a file, `@@` an @ and nothing more. Pure.

Only what exists is a mention; whoever writes `@anna`, or pastes a decorator, says just that. Text that others wrote
is `escaped` before it is put where a person's words are read, so that it mentions nothing.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

_MARK: Final = re.compile(r'(?<![\w@])@(?:(?P<literal>@)|"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s"@]\S*))')
START: Final = re.compile(r"(?<![\w@])@")
"""Where a mention may begin."""
_ENDING: Final = ".,;:!?)]}>'\""
"""What may stand behind a mention without being part of it."""


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a message refers to."""

    server: str = ""
    """Empty: a file of this machine."""
    name: str
    """URI or path."""

    @property
    def word(self) -> str:
        """As it is written in a message."""
        return f"@{self.server}:{self.name}" if self.server else f"@{self.name}"


def read(text: str, servers: Collection[str], is_file: Callable[[str], bool]) -> tuple[str, list[Mention]]:
    """The message as it is meant, and what it mentions, each once.

    Args:
        text: As it was typed.
        servers: Names of servers whose resources can be mentioned.
        is_file: Whether there is such a file.
    """
    found: dict[Mention, None] = {}

    def put(mark: re.Match[str]) -> str:
        if mark["literal"]:
            return "@"
        readings = list(_readings(mark))
        resource = _resource(readings[-1], servers)
        file = next((Mention(name=name) for name in readings if name and is_file(name)), None)
        if mention := resource or file:
            found[mention] = None
        return mark[0]

    return _MARK.sub(put, text), list(found)


def _readings(mark: re.Match[str]) -> Iterator[str]:
    """What the word may be: whole, or without what ends a sentence."""
    if mark["quoted"]:
        yield mark["quoted"]
        return
    word = mark["bare"]
    yield word
    while word and word[-1] in _ENDING:
        word = word[:-1]
        yield word


def _resource(name: str, servers: Collection[str]) -> Mention | None:
    server, _, uri = name.partition(":")
    return Mention(server=server, name=uri) if uri and server in servers else None


def escaped(text: str) -> str:
    """Text that mentions nothing when it is read."""
    return START.sub("@@", text)
