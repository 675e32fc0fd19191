"""Names of tools as a model sees them, and the way back.

A model may only be shown names of `[A-Za-z0-9_-]{1,64}`; ours are pairs of server and tool, with any letters
and any length. A pair that reads back unambiguously becomes `server__tool`; every other one keeps a readable
beginning and ends in a digest of the pair. The name of a pair does not depend on which other tools are
offered (short of a collision of digests), so the names in an old transcript stay true.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from mcp_interface.errors import NotFound
from mcp_interface.provider import ToolSchema
from mcp_interface.tool import ToolInfo

MAX_NAME: Final = 64
"""Characters; the stricter of what the vendors accept."""

_SEPARATOR: Final = "__"
_DIGEST: Final = 10
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LOOKS_DIGESTED: Final = re.compile(rf"_[0-9a-f]{{{_DIGEST}}}\Z")


class ToolNames:
    """A two-way table between (server, tool) and the names shown to a model.

    Args:
        tools: What is offered; of two with the same server and name the first counts.
    """

    def __init__(self, tools: Iterable[ToolInfo]) -> None:
        self._infos: dict[tuple[str, str], ToolInfo] = {}
        for info in tools:
            self._infos.setdefault((info.server, info.name), info)
        self._pairs: dict[str, tuple[str, str]] = {}
        for pair in sorted(self._infos):
            self._pairs[_free_name(pair, self._pairs)] = pair
        self._names = {pair: name for name, pair in self._pairs.items()}

    def name(self, server: str, tool: str) -> str:
        """Return what the model calls this tool.

        Raises:
            NotFound: The tool is not among those offered.
        """
        try:
            return self._names[server, tool]
        except KeyError:
            raise NotFound(f"tool {tool!r} of server {server!r} is not offered to the model") from None

    def resolve(self, name: str) -> tuple[str, str]:
        """Return server and tool behind a name that the model used.

        Raises:
            NotFound: The model made the name up.
        """
        try:
            return self._pairs[name]
        except KeyError:
            raise NotFound(
                f"no tool is called {name[: 2 * MAX_NAME]!r}", "use one of the names that were offered"
            ) from None

    def schemas(self) -> list[ToolSchema]:
        """Return the tools as `Completion.tools` wants them, in the order in which they were given."""
        return [
            ToolSchema(
                name=self._names[pair],
                description=info.description or info.title or info.name,
                parameters=_object_schema(info),
            )
            for pair, info in self._infos.items()
        ]


def _object_schema(info: ToolInfo) -> dict[str, object]:
    # Both vendors refuse a schema whose root is not spelt out as an object.
    schema: dict[str, object] = {"type": "object", **info.parameters}
    schema.setdefault("properties", {})
    return schema


def _free_name(pair: tuple[str, str], taken: dict[str, tuple[str, str]]) -> str:
    plain = _SEPARATOR.join(pair)
    if _is_plain(pair, plain):
        return plain
    salt = 0
    while (name := _digested(pair, salt)) in taken:
        salt += 1
    return name


def _is_plain(pair: tuple[str, str], plain: str) -> bool:
    """Tell whether splitting at the first separator gives the pair back and no digested name looks like it."""
    server, tool = pair
    return (
        bool(server)
        and bool(tool)
        and len(plain) <= MAX_NAME
        and not _FOREIGN.search(plain)
        and _SEPARATOR not in server
        and not server.endswith("_")
        and not _LOOKS_DIGESTED.search(plain)
    )


def _digested(pair: tuple[str, str], salt: int) -> str:
    # Lengths are part of what is digested: ("ab", "c") and ("a", "bc") must differ. A lone surrogate can come
    # out of a server's JSON and has no UTF-8.
    whole = f"{salt}:{len(pair[0])}:{pair[0]}{pair[1]}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(whole).hexdigest()[:_DIGEST]
    readable = _SEPARATOR.join(_FOREIGN.sub("-", part) for part in pair)
    return f"{readable[: MAX_NAME - _DIGEST - 1]}_{digest}"
