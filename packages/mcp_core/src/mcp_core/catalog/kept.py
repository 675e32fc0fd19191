"""The bytes behind resources: in the blob store before a resource names them, gone when none does any more."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

from mcp_core.catalog.search import plain
from mcp_interface.blob import BlobStore
from mcp_interface.errors import CallerMistaken, LostRace, NotFound, TooMuch, UmbrellaError

log = logging.getLogger(__name__)

SEARCHED: Final = 256 * 1024
"""Bytes from the beginning of a text in which words are looked for."""
MAX_READY: Final = 32 * 1024 * 1024
"""Characters of texts that are kept ready for the next search."""


class Kept:
    """Keeps bytes as long as something names them.

    After a crash between both steps, bytes may stay that nothing names; they take room and do no harm.

    Args:
        blobs: Where the bytes are.
        named: Whether a resource names these bytes.
    """

    def __init__(self, blobs: BlobStore, named: Callable[[str], bool]) -> None:
        self._blobs = blobs
        self._named = named
        self._coming: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._ready: dict[str, str] = {}
        self._ready_size = 0

    @asynccontextmanager
    async def keeping(self, data: bytes) -> AsyncIterator[str]:
        """Put bytes there, durable within the block, in which something comes to name them.

        They go again only when that was refused for sure; whether what the disk refused was written is not known.

        Raises:
            StorageUnavailable: The disk refused.
        """
        digest = sha256(data).hexdigest()
        self._coming[digest] += 1
        refused = False
        try:
            async with self._changing:
                await self._blobs.put(data)
            yield digest
        except (CallerMistaken, LostRace, NotFound, TooMuch):
            refused = True
            raise
        finally:
            self._coming[digest] -= 1
            if not self._coming[digest]:
                del self._coming[digest]
            if refused:
                await self.drop(digest)

    async def get(self, digest: str) -> bytes:
        """The bytes.

        Raises:
            NotFound: They went in this moment.
            StorageCorrupt: They are not what was put there.
        """
        return await self._blobs.get(digest)

    async def drop(self, digest: str) -> None:
        """Let bytes go, unless something names them or is about to; what cannot be removed is logged and stays."""
        async with self._changing:
            if not digest or digest in self._coming or self._named(digest):
                return
            self._ready_size -= len(self._ready.pop(digest, ""))
            try:
                await self._blobs.remove(digest)
            except UmbrellaError as error:
                log.warning("bytes that nothing names could not be removed: %s", error)

    async def searchable(self, digest: str) -> str:
        """The beginning of a text, as words are looked for in it; empty when it cannot be read."""
        known = self._ready.pop(digest, None)
        if known is None:
            try:
                data = await self._blobs.get(digest)
            except UmbrellaError as error:
                log.warning("a text could not be searched: %s", error)
                return ""
            known = plain(data[:SEARCHED].decode("utf-8", "ignore"))
            self._ready_size += len(known)
            self._ready_size -= len(self._ready.pop(digest, ""))  # read by two at once
        self._ready[digest] = known  # at the end: the one that was not needed for longest goes first
        while self._ready_size > MAX_READY and len(self._ready) > 1:
            self._ready_size -= len(self._ready.pop(next(iter(self._ready))))
        return known
