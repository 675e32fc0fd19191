"""Prompts that are files: `<data directory>/prompts/*.md`, a template behind a front matter; changed there only.

    ---
    description: Looks at a change.
    arguments: [{name: diff, required: true}]
    ---
    Review this: {{diff}}

Further fields are `name`, `title`, `tags` and `visibility`; without a name the file's own counts. A file that cannot be
a prompt is passed over, and the log says why.
"""

import asyncio
import logging
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from mcp_core.catalog import rendering
from mcp_core.catalog.front_matter import body, front_matter, has_front_matter
from mcp_interface.catalog import Prompt, Visibility
from mcp_interface.cataloging import PromptName, Tags
from mcp_interface.errors import CallerMistaken, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import PromptArgument

log = logging.getLogger(__name__)

MAX_FILES: Final = 1_000
MAX_SIZE: Final = 256 * 1024
"""Bytes of one file."""

_Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size."""


class _Front(msgspec.Struct, frozen=True, kw_only=True):
    """What a front matter may say; fields that other programs know are left alone."""

    name: PromptName
    title: Annotated[str, Meta(max_length=200)] = ""
    description: Annotated[str, Meta(max_length=10_000)] = ""
    arguments: Annotated[list[PromptArgument], Meta(max_length=100)] = []
    tags: Tags = []
    visibility: Visibility = "private"


class PromptFiles:
    """The prompts of a folder, read again when a file has changed.

    Args:
        folder: It need not be there.
        owner: Whose they are.
    """

    def __init__(self, folder: Path, owner: PrincipalId) -> None:
        self._folder = folder
        self._owner = owner
        self._known: dict[str, tuple[_Stamp, Prompt | None]] = {}
        self._reading = asyncio.Lock()

    async def current(self) -> dict[str, Prompt]:
        """The prompts as the files are now, by name; of two with one name the first file's."""
        async with self._reading:
            self._known = await asyncio.to_thread(self._look)
        found: dict[str, Prompt] = {}
        for _, prompt in self._known.values():
            if prompt is not None:
                found.setdefault(prompt.name, prompt)
        return found

    def _look(self) -> dict[str, tuple[_Stamp, Prompt | None]]:
        try:
            files = sorted(self._folder.glob("*.md"))
        except OSError as error:
            log.warning("%s cannot be read: %s", self._folder, error)
            return {}
        if len(files) > MAX_FILES and len(self._known) != MAX_FILES:
            log.warning("%s has %d prompts, only %d are read", self._folder, len(files), MAX_FILES)
        found: dict[str, tuple[_Stamp, Prompt | None]] = {}
        for file in files[:MAX_FILES]:
            try:
                status = file.stat()
            except OSError:
                continue  # it went in this moment
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._known.get(file.name)
            if known is not None and known[0] == stamp:
                found[file.name] = known
            else:
                found[file.name] = (stamp, self._read(file, status.st_mode, *stamp))
        return found

    def _read(self, file: Path, mode: int, changed_ns: int, size: int) -> Prompt | None:
        try:
            if not stat.S_ISREG(mode) or size > MAX_SIZE:
                raise CallerMistaken(f"it is no file of at most {MAX_SIZE:,} bytes", "mend it")
            changed = datetime.fromtimestamp(changed_ns // 1_000_000_000, UTC)
            return parse(file.read_text("utf-8"), file, self._owner, changed)
        except (OSError, UnicodeDecodeError, OverflowError, UmbrellaError) as error:
            log.warning("%s is passed over as a prompt: %s", file, error)
            return None


def parse(text: str, file: Path, owner: PrincipalId, changed: datetime) -> Prompt:
    """The prompt that a file holds; pure.

    Raises:
        CallerMistaken: It holds none; says why.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    fields = front_matter(text) if has_front_matter(text) else {}
    try:
        front = msgspec.convert({"name": file.stem, **fields}, _Front)
    except msgspec.ValidationError as error:
        raise CallerMistaken(f"its front matter cannot be read: {error}", "mend it") from error
    template = body(text).strip("\n")
    rendering.check(template, front.arguments)
    return Prompt(
        name=front.name,
        owner_id=owner,
        version=1,
        template=template,
        title=front.title,
        description=front.description,
        arguments=front.arguments,
        tags=front.tags,
        visibility=front.visibility,
        source=str(file),
        created_at=changed,
        updated_at=changed,
        warnings=rendering.warnings(template, front.arguments),
    )
