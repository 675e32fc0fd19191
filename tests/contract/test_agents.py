"""Exams of the house's own agents and registry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp_core.agents.tool_executor import ToolExecutor
from mcp_core.agents.worker import Worker
from mcp_core.runtime.registry import LocalRegistry
from mcp_interface.testing import check_agent, check_registry


def test_the_worker_is_an_agent() -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[Worker]:
        yield Worker()

    asyncio.run(check_agent(maker))


def test_the_tool_executor_is_an_agent() -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[ToolExecutor]:
        yield ToolExecutor(None, {})  # type: ignore[arg-type]  # no message of this exam is a request

    asyncio.run(check_agent(maker, envelopes=[]))


def test_the_registry_keeps_its_promises() -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[LocalRegistry[Any]]:
        yield LocalRegistry()

    asyncio.run(check_registry(maker))
