"""Bytes kept under their own hash: what resources hold, and results that are too large for an event."""

from typing import Protocol


class BlobStore(Protocol):
    """Keeps bytes by their SHA-256; the same bytes are kept once.

    Production: `mcp_persistence.FileBlobs`; every kind passes `testing.check_blobs`.
    """

    async def put(self, data: bytes) -> str:
        """Keep bytes; durable when this returns.

        Returns:
            Their SHA-256, hex.

        Raises:
            StorageUnavailable: The disk refused; nothing is kept.
        """
        ...

    async def get(self, digest: str) -> bytes:
        """Give bytes back.

        Raises:
            NotFound: None with this hash are kept.
            StorageCorrupt: What is kept is not what was put.
        """
        ...

    async def remove(self, digest: str) -> None:
        """Forget bytes; harmless when repeated."""
        ...
