"""A `BlobStore` in memory: everything a durable one promises, except surviving the process."""

from hashlib import sha256

from mcp_interface.errors import NotFound


class MemoryBlobs:
    """Keeps bytes in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        """By hash."""

    async def put(self, data: bytes) -> str:
        """As `BlobStore.put`."""
        digest = sha256(data).hexdigest()
        self.kept[digest] = bytes(data)
        return digest

    async def get(self, digest: str) -> bytes:
        """As `BlobStore.get`."""
        try:
            return self.kept[digest]
        except KeyError:
            raise NotFound(
                f"nothing with the hash {digest[:80]!r} is kept", "look the hash up again"
            ) from None

    async def remove(self, digest: str) -> None:
        """As `BlobStore.remove`."""
        self.kept.pop(digest, None)
