"""The segments of a folder: listing them, and reading the first block of each."""

from pathlib import Path

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import header as headers
from mcp_persistence.segment.disk import Disk
from mcp_persistence.segment.header import SegmentHeader
from mcp_persistence.segment.mark import Mark
from mcp_persistence.segment.pool import Pool
from mcp_persistence.segment.scan import Source

TEMPORARY = ".tmp"
"""Ending of a file that is being prepared; one that is found at opening was left behind by a crash."""


def load_sources(disk: Disk, folder: Path, pool: Pool) -> list[Source]:
    """List every segment, in order.

    Raises:
        StorageCorrupt: A newer version wrote one of them, or they belong to different journals.
        OSError: As the disk gives it.
    """
    named = [(headers.parse_name(name), name) for name in disk.names(folder)]
    sources = [
        _load(pool, folder / name, frame, position)
        for frame, position, name in sorted(
            (*numbers, name) for numbers, name in named if numbers is not None
        )
    ]
    owners = {each.header.journal_id for each in sources if each.header is not None}
    if len(owners) > 1:
        raise StorageCorrupt(
            f"{folder} holds segments of {len(owners)} different journals",
            "take out those that do not belong there; nothing was changed",
            {"journals": sorted(each.hex() for each in owners)},
        )
    return sources


def owner_of(sources: list[Source], mark: Mark | None, folder: Path) -> bytes:
    """The id of the journal; the mark knows it when every first block is damaged.

    Raises:
        StorageCorrupt: Nobody knows it, or the mark is another journal's.
    """
    found = next((each.header.journal_id for each in sources if each.header is not None), None)
    if found is None and mark is not None:
        return mark.journal_id
    if found is None:
        raise StorageCorrupt(
            f"the first block of {folder / sources[0].name} is not as it was written, so that no frame "
            "behind it can be told from noise",
            "restore the journal from a backup; nothing was changed",
            {
                "position": sources[0].first_position,
                "segment": sources[0].name,
                "offset": 0,
                "saved_up_to": 0,
                "next_valid_position": None,
            },
        )
    if mark is not None and mark.journal_id != found:
        raise StorageCorrupt(
            f"the file `head` in {folder} belongs to another journal",
            "put back the one that belongs there, or delete it to open the journal without its protection",
            {"journal": found.hex(), "head": mark.journal_id.hex()},
        )
    return found


def are_linked(sources: list[Source]) -> bool:
    """Whether the segments are sound as far as their first blocks tell, and none is missing between them."""
    before = 0
    for source in sources:
        if source.header is None or source.header.before != before:
            return False
        before = source.first_frame
    return True


def _load(pool: Pool, path: Path, frame: int, position: int) -> Source:
    header: SegmentHeader | None = headers.decode(pool.get(path.name).pread(headers.BLOCK, 0), str(path))
    if header is not None and (header.frame, header.position) != (frame, position):
        header = None  # another segment's block under this name
    return Source(pool, path.name, frame, position, header)
