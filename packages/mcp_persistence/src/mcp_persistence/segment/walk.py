"""The recovery rule: following the log across its segments and judging every bad place.

Every append is synced before the next one is written. So a good frame behind a bad one proves that the bad
one was acknowledged: that is damage, wherever the good one lies. With nothing good behind it, it is an append
that a crash tore; unless the high-water mark says that it was acknowledged, which again is damage. One
rule serves opening, which stops at the first damage, and verifying, which lists all of it.
"""

from collections.abc import Iterator, Sequence

import msgspec

from mcp_interface.errors import StorageCorrupt
from mcp_persistence.segment import mark as marks
from mcp_persistence.segment.mark import Mark
from mcp_persistence.segment.scan import Cursor, Source, dirty_bytes, find_frame
from mcp_persistence.segment.values import Frame

RESTORE = "restore the journal from a backup; nothing was changed"
OLDER_COPY = (
    "restore the journal from a backup; if an older copy was put back on purpose, delete the file "
    f"`{marks.NAME}` beside the segments"
)


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A place where something acknowledged is missing or not as it was written."""

    reason: str
    position: int
    """The first position concerned."""
    segment: str
    """Name of the file."""
    offset: int
    saved_up_to: int
    """Everything up to this position, or up to the damage before, can be read."""
    next_valid_position: int | None = None
    """Reading goes on from this position; None when nothing behind it is good."""
    remedy: str = RESTORE

    def error(self) -> StorageCorrupt:
        """As an exception."""
        until = self.next_valid_position
        lost = f"from position {self.position} on"
        if until is not None:
            last = until - 1
            lost = f"position {last}" if last <= self.position else f"positions {self.position} to {last}"
        return StorageCorrupt(
            f"{self.segment} is damaged at byte {self.offset}, {lost}: {self.reason}",
            self.remedy,
            {
                "position": self.position,
                "segment": self.segment,
                "offset": self.offset,
                "saved_up_to": self.saved_up_to,
                "next_valid_position": until,
            },
        )


class Torn(msgspec.Struct, frozen=True):
    """What is left of an append that was never acknowledged, at the end of the log."""

    position: int
    """The position it would have begun at."""
    bytes: int


def walk(
    sources: Sequence[Source], cursor: Cursor, seed: int, mark: Mark | None, *, live: bool = False
) -> Iterator[Frame | Damage | Torn]:
    """Move the cursor over all good frames up to the end of the log.

    Args:
        sources: All segments in order; at least one.
        cursor: Where to begin; its segment must be among them.
        seed: The journal's.
        mark: The acknowledged end, if it is known.
        live: A writer is at work, so nothing behind the mark is looked at.

    Yields:
        Every good frame; every damage, behind which the cursor goes on where it can; last a torn end.
    """
    begin = next(index for index, each in enumerate(sources) if each.first_frame == cursor.segment)
    marked = 0 if mark is None else mark.frame
    until = marked if live else None
    sound = True
    for index in range(begin, len(sources)):
        source = sources[index]
        if source.header is None:
            sound = False
            yield _damage(source, 0, cursor, "its first block is not as it was written", cursor.position + 1)
        end = 0
        while True:
            for frame in cursor.frames(source, seed, until):
                yield frame
                if mark is not None and frame.number == marked and cursor.chain != mark.chain:
                    sound = False
                    yield _other_history(source, frame)
            if cursor.number == until:
                return
            following = sources[index + 1] if index + 1 < len(sources) else None
            if following is not None and _continues(following, cursor):
                break
            if not end:  # mostly zeros follow, among which no frame has to be looked for
                end = cursor.offset + dirty_bytes(source, cursor.offset)
            found = find_frame(source, cursor.offset, end, seed, cursor.number + 1)
            if found is None or (until is not None and found[1].number > until):
                break
            sound = False
            offset, header = found
            yield _damage(source, cursor.offset, cursor, "a frame is not as it was written", header.first)
            cursor.resume(offset, header.number, header.first, header.previous)
        if following is None:
            yield from _judge_end(source, cursor, mark, sound, max(0, end - cursor.offset))
        else:
            if not _continues(following, cursor):
                sound = False
                reason = f"frames are missing between it and {following.name}"
                yield _damage(source, cursor.offset, cursor, reason, following.first_position)
                chain = cursor.chain if following.header is None else following.header.chain
                cursor.resume(0, following.first_frame, following.first_position, chain)
            cursor.enter(following.first_frame)


def _judge_end(
    source: Source, cursor: Cursor, mark: Mark | None, sound: bool, dirty: int
) -> Iterator[Damage | Torn]:
    if mark is not None and cursor.number < mark.frame:
        reason = f"frame {mark.frame}, up to position {mark.position}, was acknowledged and is not there"
        yield _damage(source, cursor.offset, cursor, reason, None, OLDER_COPY)
    elif dirty and sound:
        yield Torn(cursor.position + 1, dirty)


def _continues(source: Source, cursor: Cursor) -> bool:
    """Whether a segment begins where the cursor stands; its name must do when its header is damaged."""
    return (source.first_frame, source.first_position) == (cursor.number + 1, cursor.position + 1) and (
        source.header is None or source.header.chain == cursor.chain
    )


def _damage(
    source: Source, offset: int, cursor: Cursor, reason: str, following: int | None, remedy: str = RESTORE
) -> Damage:
    return Damage(
        reason=reason,
        position=cursor.position + 1,
        segment=source.name,
        offset=offset,
        saved_up_to=cursor.position,
        next_valid_position=following,
        remedy=remedy,
    )


def _other_history(source: Source, frame: Frame) -> Damage:
    return Damage(
        reason=f"frame {frame.number} is not the one that was acknowledged",
        position=frame.first,
        segment=source.name,
        offset=frame.place.offset,
        saved_up_to=frame.first - 1,
        remedy=OLDER_COPY,
    )
