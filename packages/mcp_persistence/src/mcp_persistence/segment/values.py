"""What the segment log hands out: places, frames, checkpoints and what an opening found."""

import msgspec


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a frame lies; small enough to be kept for every entry of an index."""

    segment: int
    """Number of the first frame of its segment."""
    offset: int
    """Byte of the segment file at which the frame's header begins."""
    length: int
    """Bytes of header and body."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it was appended."""

    place: Place
    number: int
    """Counted from one, without gaps."""
    first: int
    """Position of its first event; of the next one to come when it holds none."""
    count: int
    """How many events its body holds."""
    epoch: int
    """Which writer appended it."""
    at: int
    """Microseconds since 1970, as the writer's clock had it."""
    body: bytes

    @property
    def last(self) -> int:
        """Position of its last event; of the event before it when it holds none."""
        return self.first + self.count - 1


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a reader of the log has come: the frame up to which, and including which, it has read."""

    segment: int
    """Number of the first frame of the segment."""
    offset: int
    """The byte behind that frame."""
    length: int
    """Bytes of that frame; zero when the checkpoint stands before the first frame of the segment."""
    frame: int
    """Number of that frame; zero before the first."""
    position: int
    """Last position up to there."""
    chain: bytes
    """The chain up to there."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an opening found."""

    frames: int
    """How many frames were checked."""
    events: int
    """How many events they hold."""
    resumed_from: int
    """The frame behind which checking began. Zero means that everything was checked: also when a checkpoint
    was handed in that does not fit this log, so that whoever kept it must read everything again."""
    torn_bytes: int = 0
    """Bytes of an unfinished append that were cut off; it had never been acknowledged."""
    torn_position: int | None = None
    """The position that append would have begun at; None when nothing was cut off."""


class SegmentInfo(msgspec.Struct, frozen=True, gc=False):
    """One file of the log."""

    name: str
    first_frame: int
    first_position: int
    bytes: int
    is_sealed: bool
    """Nothing will ever be written to it again."""
