"""An exam that cannot fail proves nothing: every exam finds the fakes that were broken on purpose."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_interface.testing.exams.asserting import within

Examine = Callable[..., Coroutine[Any, Any, None]]


def opening(make: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(*given: Any) -> AsyncIterator[Any]:
        yield make(*given)

    return opened


def assert_found(exam: Examine, make: Callable[..., Any], **options: Any) -> None:
    with pytest.raises(AssertionError) as found:
        asyncio.run(exam(opening(make), **options))
    assert str(found.value), "the exam says which promise is broken"


def found_by(part: Callable[[Any], Coroutine[Any, Any, None]], make: Callable[[], Any]) -> None:
    """As `assert_found`, over one part of an exam."""

    async def exam(maker: Callable[[], Any]) -> None:
        async with maker() as fake:
            await within(part(fake), part.__name__)

    assert_found(exam, make)
