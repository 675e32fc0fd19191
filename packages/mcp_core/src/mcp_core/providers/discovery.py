"""Models that Ollama serves on this machine, found without being configured.

Only the loopback is asked, briefly, and no more than once in a few seconds. Switched off by `UMBRELLA_DISCOVER=0`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

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


async def _ask(url: str, seconds: float) -> list[str]:
    import httpx2

    from mcp_core.providers.transport import http_client

    try:
        async with (
            asyncio.timeout(seconds),
            http_client(url) as http,
            http.stream("GET", f"{url}/models") as response,
        ):
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
