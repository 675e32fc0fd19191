"""The names under which tools and prompts are offered to MCP clients, and which of them a virtual server selects. Pure.

A client sees one flat list, so a name carries its server, `server__tool`, unless a publication asks for bare names. MCP
allows 128 characters of letters, digits, `_`, `-` and `.`; whatever does not fit is replaced and told apart by a hash.

Source: Model Context Protocol 2026-07-28, server/tools, "Tool names".
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final, Generic, TypeVar

from mcp_interface.key import Publication

T = TypeVar("T")
LONGEST: Final = 128
_HASH: Final = 8
_ODD = re.compile(r"[^A-Za-z0-9_.-]")


class Names(Generic[T]):
    """A two-way map between offered things and their public names; the same things get the same names.

    Args:
        items: What is offered.
        key: Server and own name of an item.
        bare: Own names only; of two with one name neither is offered.
    """

    def __init__(self, items: Iterable[T], key: Callable[[T], tuple[str, str]], *, bare: bool) -> None:
        keyed = sorted(((key(item), item) for item in items), key=lambda pair: pair[0])
        plain = {place: public_name(*place, bare=bare) for place, _ in keyed}
        count = Counter(plain.values())
        self._items: dict[str, T] = {}
        for place, item in keyed:
            name = plain[place]
            if count[name] > 1:
                if bare:
                    continue
                name = _told_apart(name, place)
            self._items[name] = item

    def items(self) -> list[tuple[str, T]]:
        """Public name and thing, by name."""
        return sorted(self._items.items(), key=lambda pair: pair[0])

    def find(self, name: str) -> T | None:
        """What a public name stands for."""
        return self._items.get(name)


def public_name(server: str, own: str, *, bare: bool = False) -> str:
    """The name of one thing, before names that clash are told apart."""
    whole = own if bare else f"{server}__{own}"
    name = _ODD.sub("_", whole)
    return name if name == whole and len(name) <= LONGEST else _told_apart(name, (server, own))


def _told_apart(name: str, place: tuple[str, str]) -> str:
    digest = hashlib.sha256("/".join(place).encode()).hexdigest()[:_HASH]
    return f"{name[: LONGEST - _HASH - 1]}_{digest}"


class Selection:
    """What a virtual server selects; without one, everything.

    Args:
        publication: The virtual server.
    """

    def __init__(self, publication: Publication | None) -> None:
        self._publication = publication

    @property
    def bare(self) -> bool:
        """Whether things keep their own names."""
        return self._publication is not None and self._publication.bare_names

    def tool(self, server: str, name: str) -> bool:
        """Whether a tool is in it."""
        return self._publication is None or _fits(self._publication.tools, server, name)

    def resource(self, server: str, uri: str) -> bool:
        """Whether a resource, or a template, is in it."""
        return self._publication is None or _fits(self._publication.resources, server, uri)

    def prompt(self, server: str, name: str) -> bool:
        """Whether a prompt is in it."""
        return self._publication is None or _fits(self._publication.prompts, server, name)


def _fits(globs: Iterable[str], server: str, name: str) -> bool:
    return any(fnmatchcase(f"{server}/{name}", glob) for glob in globs)
