"""The exam of a `BlobStore`: bytes come back as they were put, under their own hash, or not at all."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any, Final

from mcp_interface.blob import BlobStore
from mcp_interface.errors import NotFound, StorageCorrupt
from mcp_interface.testing.exams.asserting import refuses, same, within

ODD: Final = (b"", b"\0", b"a", b"\xff\xfe\n\r\n", bytes(range(256)) * 5_000)
"""Nothing at all, what is no text, and a megabyte."""
NEVER_PUT: Final = (
    sha256(b"never put").hexdigest(),
    "",
    "abc",
    "../" * 21 + "x",
    sha256(b"a").hexdigest().upper(),
    "0" * 64 + "\n",
)


async def check_blobs(
    maker: Callable[[], AbstractAsyncContextManager[Any]],
    *,
    reopened: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
    damage: Callable[[Any, str], None] | None = None,
) -> None:
    """Examine a blob store.

    Args:
        maker: Opens an empty store.
        reopened: Opens another one over what the given one keeps; None for what is not durable.
        damage: Changes what is kept under a hash; None for what cannot be damaged.

    Raises:
        AssertionError: Names the broken promise.
    """
    for part in (_gives_back, _knows_only_what_was_put, _keeps_once, _forgets, _bears_many_at_once):
        async with maker() as store:
            await within(part(store), f"check_blobs.{part.__name__.strip('_')}")
    if reopened is not None:
        async with maker() as store:
            await within(_survives(store, reopened), "check_blobs.survives")
    if damage is not None:
        async with maker() as store:
            await within(_notices_damage(store, damage), "check_blobs.notices_damage")


async def _gives_back(store: BlobStore) -> None:
    for data in ODD:
        digest = await store.put(data)
        same(digest, sha256(data).hexdigest(), "the name of bytes is their SHA-256, hex")
        same(await store.get(digest), data, "bytes come back as they were put")
    for data in ODD:
        same(await store.get(sha256(data).hexdigest()), data, "bytes stay when others come")


async def _knows_only_what_was_put(store: BlobStore) -> None:
    await store.put(b"a")
    for digest in NEVER_PUT:
        with refuses(NotFound, what=f"getting {digest[:20]!r}, which was never put"):
            await store.get(digest)
        await store.remove(digest)
    same(await store.get(sha256(b"a").hexdigest()), b"a", "removing something else changes nothing")


async def _keeps_once(store: BlobStore) -> None:
    first, second = await store.put(b"twice"), await store.put(b"twice")
    same(second, first, "the same bytes have the same name")
    await store.remove(first)
    with refuses(NotFound, what="getting bytes that were put twice and removed"):
        await store.get(first)


async def _forgets(store: BlobStore) -> None:
    digest, other = await store.put(b"for a while"), await store.put(b"for long")
    for _ in range(2):
        await store.remove(digest)
        with refuses(NotFound, what="getting what was removed"):
            await store.get(digest)
    same(await store.get(other), b"for long", "others stay")
    same(await store.put(b"for a while"), digest, "what was removed can be put again")
    same(await store.get(digest), b"for a while", "and comes back then")


async def _bears_many_at_once(store: BlobStore) -> None:
    blobs = [bytes([number % 5]) * 1000 for number in range(40)]
    digests = await asyncio.gather(*(store.put(data) for data in blobs))
    for data, digest in zip(blobs, digests, strict=True):
        same(await store.get(digest), data, "bytes that were put side by side")


async def _survives(store: BlobStore, reopened: Callable[[Any], AbstractAsyncContextManager[Any]]) -> None:
    kept, gone = await store.put(b"kept"), await store.put(b"gone")
    await store.remove(gone)
    async with reopened(store) as again:
        same(await again.get(kept), b"kept", "what was acknowledged is there after a new opening")
        with refuses(NotFound, what="getting after a new opening what was removed"):
            await again.get(gone)


async def _notices_damage(store: BlobStore, damage: Callable[[Any, str], None]) -> None:
    digest = await store.put(b"sound")
    damage(store, digest)
    with refuses(StorageCorrupt, what="getting what is not what was put"):
        await store.get(digest)
    await store.put(b"sound")
    same(await store.get(digest), b"sound", "putting the bytes again mends them")
