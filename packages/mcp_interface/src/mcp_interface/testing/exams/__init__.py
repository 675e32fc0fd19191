"""The exams, one per contract."""

from mcp_interface.testing.exams.agent import check_agent
from mcp_interface.testing.exams.blobs import check_blobs
from mcp_interface.testing.exams.client import check_client
from mcp_interface.testing.exams.journal import check_journal
from mcp_interface.testing.exams.kernel import check_kernel
from mcp_interface.testing.exams.provider import check_provider
from mcp_interface.testing.exams.registry import check_registry
from mcp_interface.testing.exams.snapshots import check_snapshots
from mcp_interface.testing.exams.store import check_store
from mcp_interface.testing.exams.telemetry import check_telemetry
from mcp_interface.testing.exams.tool import check_tool

__all__ = [
    "check_agent",
    "check_blobs",
    "check_client",
    "check_journal",
    "check_kernel",
    "check_provider",
    "check_registry",
    "check_snapshots",
    "check_store",
    "check_telemetry",
    "check_tool",
]
