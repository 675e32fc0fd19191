"""A writer over a journal of any kind that may be opened again; see the fixture `with_desk`."""

from mcp_interface.testing import SeededEntropy
from persistence.projections.rows import open_store


class Writer:
    """What a test does its work with: has the store, and its epoch, from every opening on."""

    def __init__(self, kind, folder):
        self.kind, self.folder, self.entropy = kind, folder, SeededEntropy(5)

    async def __aenter__(self):
        await self._open()
        return self

    async def __aexit__(self, *_):
        await self.store.close()

    async def restart(self):
        """Close and open again; what is in memory only is claimed anew."""
        if self.kind == "memory":
            await self._claim()
        else:
            await self.store.close()
            await self._open()

    def begin(self):
        """Make what the test works with over `store` and `epoch`."""
        raise NotImplementedError

    async def _open(self):
        self.store = await open_store(self.kind, self.folder)
        await self._claim()

    async def _claim(self):
        self.epoch = await self.store.claim()
        self.begin()
