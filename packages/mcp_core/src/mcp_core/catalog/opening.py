"""Puts the rooms of the catalog together, for the composition root."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from mcp_core.catalog.libraries import Libraries
from mcp_core.catalog.offering import Catalog
from mcp_core.catalog.prompt_files import PromptFiles
from mcp_core.catalog.prompts import Prompts
from mcp_core.catalog.publishing import Publishing
from mcp_core.catalog.resources import Resources
from mcp_core.catalog.skills import Skills
from mcp_core.catalog.sources import Sources
from mcp_core.catalog.uses import Uses
from mcp_core.catalog.watches import Watches
from mcp_core.runtime.commit import Journal
from mcp_interface.blob import BlobStore
from mcp_interface.capability import SecurityKernel
from mcp_interface.client import Passing
from mcp_interface.clock import Clock
from mcp_interface.ids import PrincipalId
from mcp_interface.store import KeyValueStore


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The catalog of a running node."""

    resources: Resources
    prompts: Prompts
    offering: Catalog
    """Both as a server among others."""
    uses: Uses

    async def close(self) -> None:
        """Write down what was not yet."""
        await self.uses.write()


async def open_catalog(
    journal: Journal,
    store: KeyValueStore,
    blobs: BlobStore,
    sources: Sources,
    folder: Path,
    skills: Path,
    owner: PrincipalId,
    clock: Clock,
    publish: Callable[[Passing], None],
    kernel: SecurityKernel,
) -> Opened:
    """Read what everybody has, and the prompts that are files.

    Args:
        journal: Holds the streams.
        store: Where use counts rest.
        blobs: Holds texts and uploads.
        sources: Reads files and URLs.
        folder: Of prompts that are files; it need not be there.
        skills: Of skills that are folders; it need not be there.
        owner: Of the node.
        clock: Stamps.
        publish: Gives a notice to whoever follows the node.
        kernel: Judges what becomes public.

    Raises:
        StorageUnavailable: The disk refused.
        StorageCorrupt: What is stored is not what was written.
    """
    libraries, uses, watches = Libraries(journal, clock, owner), Uses(store, clock), Watches(publish)
    files, publishing = PromptFiles(folder, owner), Publishing(kernel, owner)
    await libraries.load()
    await uses.load()
    await files.current()  # what is wrong with them is in the log from the start
    resources = Resources(libraries, blobs, sources, clock, publishing, watches.item_changed)
    prompts = Prompts(libraries, files, uses, owner, clock, publishing, watches.prompts_changed)
    offering = Catalog(resources, prompts, Skills(skills, owner), watches, publishing)
    return Opened(resources=resources, prompts=prompts, offering=offering, uses=uses)
