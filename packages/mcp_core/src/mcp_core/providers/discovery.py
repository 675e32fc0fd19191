"""Models that Ollama serves on this machine, found without being configured.

Only the loopback is asked, briefly, and no more than once in a few seconds. Switched off by `UMBRELLA_DISCOVER=0`.
On a machine of many people anybody may listen there and play the model. So only a server of this process's user, of
root or of the account `ollama` counts; where the system does not say whose a server is, none does.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from mcp_core.providers.addresses import is_loopback
from mcp_interface.clock import Clock

OLLAMA_URL: Final = "http://127.0.0.1:11434/v1"
SWITCH: Final = "UMBRELLA_DISCOVER"
MOST: Final = 200
"""Names that are kept."""
LOOK_S: Final = 0.3
"""Seconds that a look may take; a server on the loopback needs a few milliseconds."""
_KEPT_S: Final = 5.0
_MAX_BYTES: Final = 1024 * 1024
_LONGEST: Final = 200
"""Characters of a name."""
_ACCOUNT: Final = "ollama"
"""Whom its installer has the server run as."""
_LISTENS: Final = "0A"
"""The state of a socket, as the kernel writes it."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class Discovery:
    """What is found at one address of this machine.

    Args:
        url: Where to look; empty looks nowhere.
        clock: Says how old a look is.
        look_s: Seconds that a look may take.
    """

    def __init__(self, url: str, clock: Clock, look_s: float = LOOK_S) -> None:
        self._url = url
        self._clock = clock
        self._look_s = look_s
        self._looked: float | None = None
        self.found: list[str] = []
        """Names of models, as the last look found them."""

    def url(self, variables: Mapping[str, str]) -> str:
        """Where models of this machine are; empty when looking is switched off, or the address is another machine's."""
        if not self._url or variables.get(SWITCH, "").strip().lower() in {"0", "no", "off", "false"}:
            return ""
        return self._url if is_loopback(self._url) else ""

    async def look(self, variables: Mapping[str, str]) -> list[str]:
        """The names that are offered now; none where nothing answers in time. Never fails."""
        url = self.url(variables)
        if not url:
            self._looked, self.found = None, []
        elif self._looked is None or self._clock.monotonic() - self._looked >= _KEPT_S:
            self.found = await _ask(url, self._look_s)
            self._looked = self._clock.monotonic()
        return self.found


def listeners(lines: Iterable[str], port: int) -> set[int]:
    """The users whose sockets listen at a port, by the lines of `/proc/net/tcp` or `tcp6`. Pure.

    At whatever address: one that listens elsewhere on this machine is a doubt, and no more is made of it.

    Raises:
        ValueError: A line is not as the kernel writes them.
    """
    found = set()
    for line in lines:
        fields = line.split()
        if not fields or fields[0] == "sl":
            continue
        if len(fields) < 8:
            raise ValueError("a line of the table of sockets is too short")
        if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(int(fields[7]))
    return found


def is_trusted(url: str, tables: Path = Path("/proc/net")) -> bool:
    """Whether what listens at a port of this machine is of users that may be the model; no in any doubt."""
    import pwd

    trusted = {os.getuid(), 0}
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with (tables / "tcp").open(encoding="ascii") as table:
            found = listeners(table, port)
        if (tables / "tcp6").exists():  # not where there is no IPv6
            with (tables / "tcp6").open(encoding="ascii") as table:
                found |= listeners(table, port)
    except (OSError, ValueError):
        return False
    with contextlib.suppress(KeyError):  # not every machine has the account
        trusted.add(pwd.getpwnam(_ACCOUNT).pw_uid)
    return bool(found) and found <= trusted


async def _ask(url: str, seconds: float) -> list[str]:
    import httpx2

    from mcp_core.providers.transport import http_client

    try:
        async with asyncio.timeout(seconds):
            if not await asyncio.to_thread(is_trusted, url):
                return []
            async with http_client(url) as http, http.stream("GET", f"{url}/models") as response:
                if response.status_code != 200:
                    return []
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MAX_BYTES:
                        return []
        models = msgspec.json.decode(body, type=_Models).data
    except (TimeoutError, httpx2.HTTPError, httpx2.StreamError, OSError, ValueError, RecursionError):
        return []  # nothing there, or something else than a model server
    names = [model.id for model in models if 0 < len(model.id) <= _LONGEST and model.id.isprintable()]
    return list(dict.fromkeys(names))[:MOST]
