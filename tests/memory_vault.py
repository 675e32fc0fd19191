"""A vault in memory, for tests that need one and no disk."""

import asyncio
from typing import Literal

from mcp_interface.errors import NotFound, StorageUnavailable


class MemoryVault:
    """Keeps secrets for as long as it lives; may be told to refuse."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.full = False

    async def put(self, name: str, value: str) -> None:
        if self.full:
            raise StorageUnavailable("the disk is full")
        await asyncio.sleep(0)
        self.secrets[name] = value

    async def get(self, name: str) -> str:
        if name not in self.secrets:
            raise NotFound(f"no secret {name!r}")
        return self.secrets[name]

    async def remove(self, name: str) -> None:
        self.secrets.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self.secrets)

    @property
    def kept_in(self) -> Literal["keyring", "file"]:
        return "file"
