"""Exams for everybody who implements a contract, and honest fakes that pass them.

An exam is a coroutine that takes a maker and raises `AssertionError` at the first broken promise. Nothing
here imports a test framework; nothing in the rest of the package imports this.
"""

from mcp_interface.testing.agents import EchoAgent
from mcp_interface.testing.blobs import MemoryBlobs
from mcp_interface.testing.clients import FakeClient, FakeNode
from mcp_interface.testing.exams import (
    check_agent,
    check_blobs,
    check_client,
    check_journal,
    check_kernel,
    check_provider,
    check_registry,
    check_snapshots,
    check_store,
    check_telemetry,
    check_tool,
)
from mcp_interface.testing.kernel import FakeKernel
from mcp_interface.testing.providers import ScriptedProvider
from mcp_interface.testing.registry import DictRegistry
from mcp_interface.testing.stores import MemoryStore
from mcp_interface.testing.telemetry import RecordingTelemetry
from mcp_interface.testing.time import START, ManualClock, SeededEntropy
from mcp_interface.testing.tools import CountWords

__all__ = [
    "START",
    "CountWords",
    "DictRegistry",
    "EchoAgent",
    "FakeClient",
    "FakeKernel",
    "FakeNode",
    "ManualClock",
    "MemoryBlobs",
    "MemoryStore",
    "RecordingTelemetry",
    "ScriptedProvider",
    "SeededEntropy",
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
