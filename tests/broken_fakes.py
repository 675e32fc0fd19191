"""An exam that cannot fail proves nothing: every exam finds the fakes that were broken on purpose."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

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
