"""Handlers that wait are carried by tasks that are used again: of one handler nothing reaches the next."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Doer, run, turns
from mcp_core.runtime.loop import present_loop

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
kept: list[Any] = []


async def wait() -> None:
    """Wait for a plain future, as most handlers do."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


def tell(told: "asyncio.Future[None]", task: Any) -> None:
    if not told.done():
        told.set_result(None)


async def hold_the_task() -> None:
    kept.append(asyncio.current_task())
    await wait()


async def be_told_of_the_tasks_end() -> None:
    task = asyncio.current_task()
    assert task is not None
    kept.append(asyncio.get_running_loop().create_future())
    task.add_done_callback(partial(tell, kept[-1]))
    del task
    await wait()


async def set_a_variable() -> None:
    variable.set("of another")
    await wait()


async def swallow_a_cancellation() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await wait()


async def cancel_oneself_and_end() -> None:
    await wait()
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def cancel_oneself_and_end_at_once() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def cancel_oneself_and_take_it_back() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.uncancel()


async def time_out() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.sleep(60)


async def raise_after_a_wait() -> None:
    await wait()
    raise LookupError("as told")


async def await_what_fails() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, LookupError("as told"))
    await future


async def await_a_task() -> None:
    await asyncio.create_task(wait())


async def give_the_loop_a_turn() -> None:
    await asyncio.sleep(0)
    await wait()


async def end_at_once() -> None:
    """Wait for nothing."""


async def hold_the_task_and_end() -> None:
    kept.append(asyncio.current_task())


HANDLERS: list[Callable[[], Awaitable[None]]] = [
    wait,
    hold_the_task,
    be_told_of_the_tasks_end,
    set_a_variable,
    swallow_a_cancellation,
    cancel_oneself_and_end,
    cancel_oneself_and_end_at_once,
    cancel_oneself_and_take_it_back,
    time_out,
    raise_after_a_wait,
    await_what_fails,
    await_a_task,
    give_the_loop_a_turn,
    end_at_once,
    hold_the_task_and_end,
]


@settings(deadline=None)
@given(handlers=st.lists(st.sampled_from(HANDLERS), min_size=1, max_size=12), late=st.booleans())
def test_whatever_a_handler_did_the_next_one_begins_afresh(
    handlers: list[Callable[[], Awaitable[None]]], late: bool
) -> None:
    async def test() -> None:
        doer, other = Doer.start(), Doer.start()

        def fresh(handler: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
            async def work() -> None:
                task = asyncio.current_task()
                assert task is not None
                assert not len(contextvars.copy_context())
                assert not task.cancelling()
                assert not any(task is one for one in kept)
                del task
                await handler()

            return work

        for handler in handlers:
            calls = [ref.call(fresh(handler)) for ref in (doer, other)]
            for end in await asyncio.gather(*calls, return_exceptions=True):
                assert end is None or isinstance(end, LookupError), end
            if late:
                for one in kept:
                    if isinstance(one, asyncio.Task):
                        one.cancel()  # its handler has ended: nobody is hit
                assert await doer.call(lambda: asyncio.sleep(0, "whole")) == "whole"
        await asyncio.wait_for(asyncio.gather(*kept, return_exceptions=True), 10)
        kept.clear()

    try:
        asyncio.run(test())
    finally:
        kept.clear()


def test_one_task_carries_one_handler_after_the_other() -> None:
    async def test() -> None:
        doer, names = Doer.start(), []

        async def handler() -> None:
            await wait()
            task = asyncio.current_task()
            assert task is not None
            names.append(task.get_name())

        for _ in range(50):
            await doer.call(handler)
            await turns(2)
        assert len(set(names)) == 1

    run(test)


def test_a_task_that_somebody_holds_ends_soon_after_its_handler() -> None:
    async def test() -> None:
        doer, held = Doer.start(), []

        async def handler() -> None:
            held.append(asyncio.current_task())
            await wait()

        await doer.call(handler)
        await asyncio.wait_for(asyncio.wait(held), 10)
        assert not held[0].cancelled()

    run(test)


def test_what_a_cancellation_says_reaches_what_a_used_task_awaits() -> None:
    async def test() -> None:
        doer = Doer.start()
        await doer.call(wait)
        await turns(2)

        async def handler() -> Any:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel, "a word")
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError as error:
                task.uncancel()
                return error.args
            return None

        assert await doer.call(handler) == ("a word",)
        assert present_loop().suspended == {}

    run(test)


def test_a_used_task_that_is_cancelled_in_a_handlers_first_step_cancels_that_handler() -> None:
    async def test() -> None:
        doer = Doer.start()
        await doer.call(wait)
        await turns(2)

        async def handler() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                return "cancelled"
            return "not cancelled"

        assert await doer.call(handler) == "cancelled"
        assert await doer.call(lambda: asyncio.sleep(0, "whole")) == "whole"

    run(test)
