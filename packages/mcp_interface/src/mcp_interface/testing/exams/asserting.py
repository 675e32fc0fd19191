"""What the exams say when an implementation breaks a promise. Plain asserts, so any test runner will do."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from mcp_interface.errors import UmbrellaError

T = TypeVar("T")
PATIENCE: Final = 30.0
"""Seconds after which an exam calls an implementation stuck."""


class Caught:
    """Holds the error that was expected, once it has come."""

    error: UmbrellaError


@contextmanager
def refuses(*kinds: type[UmbrellaError], what: str) -> Iterator[Caught]:
    """Assert that the block raises one of these kinds, with a stable code and a message."""
    caught = Caught()
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield caught
    except kinds as error:
        assert error.message, f"{what}: {type(error).__name__} says nothing"
        assert error.body().code == type(error).code, f"{what}: the code of {type(error).__name__} changed"
        caught.error = error
    except Exception as error:
        raise AssertionError(f"{what}: should raise {names}, raised {error!r}") from error
    else:
        raise AssertionError(f"{what}: should raise {names}, raised nothing")


async def within(work: Awaitable[T], what: str, seconds: float = PATIENCE) -> T:
    """Wait for something that has to end well; what is stuck, or fails in another way, breaks a promise."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise AssertionError(f"{what}: still not done after {seconds} s") from error
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{what}: failed with {error!r}") from error


def same(got: object, expected: object, what: str) -> None:
    """Assert equality of values and of their types, so that 0, False and None stay apart."""
    assert got == expected and type(got) is type(expected), f"{what}: got {got!r}, expected {expected!r}"
