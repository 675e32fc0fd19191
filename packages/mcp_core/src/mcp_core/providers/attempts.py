"""Trying again, within bounds: only what may help, and only before anything of the answer was passed on."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from mcp_core.providers.failures import FailedRequest, Failure
from mcp_interface.clock import Clock
from mcp_interface.provider import Chunk

BACKOFF: Final = (0.25, 0.75, 2.0)
"""Seconds before the second, third and fourth attempt; an endpoint's own wish for a longer wait counts."""

T = TypeVar("T")


async def stream_again(
    attempt: Callable[[], AsyncGenerator[Chunk, None]], clock: Clock
) -> AsyncGenerator[Chunk, None]:
    """Pass on the chunks of the first attempt that begins to answer.

    Raises:
        FailedRequest: Of the last attempt, or of one that had already begun to answer.
    """
    for pause in (*BACKOFF, None):
        begun = False
        try:
            async with aclosing(attempt()) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield chunk
            return
        except FailedRequest as failed:
            if begun or pause is None or not failed.failure.transient:
                raise
            wait = _wait(failed.failure, pause)
        await clock.sleep(wait)


async def call_again(attempt: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Return what the first successful attempt gives.

    Raises:
        FailedRequest: Of the last attempt.
    """
    for pause in BACKOFF:
        try:
            return await attempt()
        except FailedRequest as failed:
            if not failed.failure.transient:
                raise
            wait = _wait(failed.failure, pause)
        await clock.sleep(wait)
    return await attempt()


def _wait(failure: Failure, pause: float) -> float:
    return max(pause, failure.retry_after)
