"""Append-only segment files: framed, chained, synced before they are acknowledged; see FORMAT.md."""

from mcp_persistence.segment.disk import Disk, File, SystemDisk
from mcp_persistence.segment.log import SegmentLog
from mcp_persistence.segment.values import Checkpoint, Found, Frame, Place, SegmentInfo
from mcp_persistence.segment.verify import Report, verify
from mcp_persistence.segment.walk import Damage, Torn

__all__ = [
    "Checkpoint",
    "Damage",
    "Disk",
    "File",
    "Found",
    "Frame",
    "Place",
    "Report",
    "SegmentInfo",
    "SegmentLog",
    "SystemDisk",
    "Torn",
    "verify",
]
