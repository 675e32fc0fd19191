"""What asyncio promises a task, it promises a handler: from the first step, which has no task yet, to the last."""

import asyncio
import contextvars
from typing import Any

import anyio
import pytest

from actors import Doer, Echo, Letters, PlainDoer, quiet, run, turns, until
from mcp_core.runtime import Actor, waits
from mcp_core.runtime.loop import CARRIERS, present_loop
from mcp_interface.errors import DeadlineExceeded, Interrupted

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


def test_the_current_task_is_the_same_before_and_after_the_first_wait() -> None:
    async def handler() -> Any:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is first
        await asyncio.sleep(0.001)
        return first is asyncio.current_task() and first is not None

    async def test() -> None:
        mine = asyncio.current_task()
        assert await Doer.start().call(handler)
        assert asyncio.current_task() is mine

    run(test)


def test_handlers_nested_on_one_stack_have_a_task_each() -> None:
    async def test() -> None:
        inner, outer = Doer.start(), Doer.start()
        seen: list[Any] = []

        async def within() -> None:
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())

        async def around() -> None:
            seen.append(asyncio.current_task())
            await inner.call(within)
            seen.append(asyncio.current_task())

        await outer.call(around)
        first, second, third, fourth = seen
        assert first is fourth
        assert second is third
        assert len({first, second, asyncio.current_task()}) == 3

    run(test)


@pytest.mark.parametrize("before", [0, 1])
def test_a_timeout_begun_in_the_first_step_ends_the_handlers_wait(before: int) -> None:
    async def handler() -> str:
        for _ in range(before):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        await asyncio.sleep(0)
        return "went on"

    async def test() -> None:
        assert await Doer.start().call(handler) == "went on"

    run(test)


def test_a_timeout_of_zero_in_the_first_step_of_the_first_handler_ever() -> None:
    """The task that takes over has not had a turn yet when it is cancelled."""

    async def handler() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            return "out of time"
        return "never"

    async def test() -> None:
        assert await Doer.start().call(handler) == "out of time"

    run(test)


def test_a_task_group_of_a_handler_waits_for_its_tasks_and_cancels_them() -> None:
    async def child(log: list[str], name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            log.append(name)
        except asyncio.CancelledError:
            log.append(f"{name} cancelled")
            raise

    async def fails() -> None:
        raise ValueError("no")

    async def handler() -> list[str]:
        log: list[str] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(child(log, "one", 0.001))
            group.create_task(child(log, "two", 0))
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(child(log, "three", 60))
                await asyncio.sleep(0)
                group.create_task(fails())
        await asyncio.sleep(0)
        return log

    async def test() -> None:
        assert await Doer.start().call(handler) == ["two", "one", "three cancelled"]

    run(test)


def test_gather_and_shield_in_a_handler() -> None:
    async def test() -> None:
        echoes = [Echo.start() for _ in range(5)]
        finished: list[int] = []

        async def work() -> None:
            await asyncio.sleep(0.005)
            finished.append(1)

        async def handler() -> list[int]:
            replies = await asyncio.gather(*(echo.call(at) for at, echo in enumerate(echoes)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(work())), 0.001)
            return replies

        assert await Doer.start().call(handler) == [0, 1, 2, 3, 4]
        await until(lambda: finished)

    run(test)


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_anyio_scopes_bind_to_the_handlers_task(seconds: float) -> None:
    async def handler() -> Any:
        with anyio.move_on_after(seconds) as scope:
            await anyio.sleep(60)
        assert scope.cancelled_caught
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(60)
        assert scope.cancelled_caught
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        await anyio.sleep(0)
        return "went on"

    async def test() -> None:
        doer = Doer.start()
        for _ in range(3):
            assert await doer.call(handler) == "went on"

    run(test)


def test_a_context_variable_can_be_reset_after_a_wait_and_does_not_leak() -> None:
    async def handler() -> list[str]:
        seen = [variable.get()]
        token = variable.set("mine")
        await asyncio.sleep(0)
        seen.append(variable.get())
        variable.reset(token)
        return [*seen, variable.get()]

    async def test() -> None:
        doer = Doer.start()
        for _ in range(3):
            assert await doer.call(handler) == ["none", "mine", "none"]

    run(test)


def test_what_a_handler_sets_is_gone_for_the_next_handler() -> None:
    async def sets() -> str:
        variable.set("left behind")
        return variable.get()

    async def reads() -> str:
        return variable.get()

    async def test() -> None:
        one, other = Doer.start(), Doer.start()
        for _ in range(3):
            assert await one.call(sets) == "left behind"
            assert await other.call(reads) == "none"

    run(test)


def test_the_context_of_a_sender_does_not_reach_later_handlers() -> None:
    async def reads() -> str:
        return variable.get()

    async def test() -> None:
        variable.set("of one request")
        doer, plain = Doer.start(), PlainDoer.start()
        doer.tell(reads)
        await asyncio.create_task(doer.call(reads))
        plain.tell(lambda: None)
        await turns()
        context = contextvars.Context()
        assert await asyncio.create_task(doer.call(reads), context=context) == "none"
        asked: list[Any] = []

        async def asks() -> None:
            plain.tell(lambda: None)  # so the next waits in the mailbox
            asked.append(await plain.call(variable.get))

        await asyncio.create_task(asks(), context=context)
        assert asked == ["none"]

    run(test)


def test_a_handler_that_is_cancelled_by_itself_leaves_nothing_for_the_next() -> None:
    async def cancels() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "answered"

    async def cancels_and_takes_it_back() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.uncancel()
        return "answered"

    async def waits_a_little() -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return "not cancelled"

    async def test() -> None:
        doer, other = Doer.start(), Doer.start()
        for handler in (cancels, cancels_and_takes_it_back, cancels):
            assert await doer.call(handler) == "answered"
            assert await other.call(waits_a_little) == "not cancelled"
            await turns()
            assert await doer.call(handler) == "answered"
            assert await other.call(waits_a_little) == "not cancelled"

    run(test)


def test_a_handler_that_cancels_itself_and_then_waits_is_cancelled() -> None:
    async def handler() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def test() -> None:
        doer = Doer.start()
        for _ in range(3):
            with pytest.raises(Interrupted, match="was cancelled"):
                await doer.call(handler)
        assert doer.is_alive()

    run(test)


@pytest.mark.parametrize("wait", [0, 1, 2, 5])
def test_a_caller_that_is_cancelled_ends_the_handler_wherever_it_is(wait: int) -> None:
    async def test() -> None:
        doer, ended = Doer.start(), []

        async def handler() -> None:
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append(True)
                raise

        caller = asyncio.create_task(doer.call(handler))
        await asyncio.sleep(0)
        await turns(wait)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await turns()
        assert ended == [True]
        assert await doer.call(lambda: "alive") == "alive"

    run(test)


def test_a_caller_that_is_cancelled_before_its_turn_is_not_handled() -> None:
    async def test() -> None:
        doer, handled, gate = Doer.start(), [], asyncio.Event()
        doer.tell(gate.wait)
        caller = asyncio.create_task(doer.call(lambda: handled.append(1)))
        await turns(3)
        caller.cancel()
        await asyncio.wait([caller])
        gate.set()
        await doer.call(lambda: None)
        assert not handled

    run(test)


def test_one_that_is_not_interruptible_ends_its_work() -> None:
    class Firm(Doer):
        interruptible = False

    async def test() -> None:
        firm, finished = Firm.start(), []

        async def handler() -> None:
            await asyncio.sleep(0.005)
            finished.append(1)

        caller = asyncio.create_task(firm.call(handler))
        await turns(2)
        caller.cancel()
        await asyncio.wait([caller])
        assert await firm.call(lambda: len(finished)) == 1

    run(test)


def test_a_handler_that_swallows_its_cancellation_goes_on_and_the_actor_lives() -> None:
    async def test() -> None:
        doer, finished = Doer.start(), []

        async def handler() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
            finished.append(1)
            return "too late"

        caller = asyncio.create_task(doer.call(handler))
        await turns(2)
        caller.cancel()
        await asyncio.wait([caller])
        assert await doer.call(lambda: "alive") == "alive"
        assert finished

    run(test)


def test_waiting_for_what_is_cancelled_already_fails_the_ask_alone() -> None:
    """CancelledError is no Exception, and comes in the first step."""

    async def test() -> None:
        doer, other = Doer.start(), Doer.start()

        async def waits_in_vain() -> None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.cancel()
            await done

        with pytest.raises(Interrupted):
            await doer.call(waits_in_vain)
        doer.tell(waits_in_vain)
        with pytest.raises(Interrupted):
            await doer.call(waits_in_vain)
        assert doer.is_alive()
        assert other.is_alive()

    run(test)


def test_a_handler_that_awaits_nonsense_gets_the_error() -> None:
    class Nonsense:
        def __await__(self) -> Any:
            yield 42

    async def handler() -> None:
        await Nonsense()

    async def test() -> None:
        doer = Doer.start()
        with pytest.raises((RuntimeError, AttributeError)):
            await doer.call(handler)
        assert await doer.call(lambda: "alive") == "alive"

    run(test)


def test_thousands_of_suspended_handlers_end_in_order_and_leave_nothing() -> None:
    class Waiter(Actor):
        async def on_receive(self, message: asyncio.Event) -> int:
            await message.wait()
            return 1

    async def test() -> None:
        gate, refs = asyncio.Event(), [Waiter.start() for _ in range(5_000)]
        home = present_loop()
        asked = [ref.ask(gate, block=False) for ref in refs]
        await quiet(home)
        assert len(home.suspended) == len(waits.owners) == 5_000
        gate.set()
        assert sum([await one for one in asked]) == 5_000
        await turns()
        assert not home.suspended
        assert not waits.owners
        assert len(home._spares) <= CARRIERS
        assert len(home.spare_queues) <= 256
        assert len(asyncio.all_tasks()) <= CARRIERS + 40
        for ref in refs:
            ref.stop(block=False)

    run(test)


def test_all_tasks_of_the_loop_may_be_cancelled_and_actors_go_on() -> None:
    """A common way to shut down, and parked tasks are among them."""

    async def test() -> None:
        doer = Doer.start()
        await doer.call(lambda: None)

        async def waits_a_little() -> str:
            await asyncio.sleep(0)
            return "not cancelled"

        for pause in (0, 1, 3):
            await doer.call(waits_a_little)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await turns(pause)
            assert await doer.call(waits_a_little) == "not cancelled"

    run(test)


def test_a_deadline_leaves_the_work_and_its_reply_is_a_dead_letter() -> None:
    async def test() -> None:
        doer, letters = Doer.start(), Letters(present_loop())

        async def slow() -> str:
            await asyncio.sleep(0.01)
            return "late"

        with pytest.raises(DeadlineExceeded, match=r"Doer#\w+ did not answer within 0\.001 s"):
            await doer.call(slow, timeout=0.001)
        await until(lambda: letters.all)
        assert letters.messages == ["late"]

    run(test)


def test_a_cancelled_caller_leaves_no_dead_letter() -> None:
    async def test() -> None:
        doer, letters = Doer.start(), Letters(present_loop())
        caller = asyncio.create_task(doer.call(lambda: asyncio.sleep(60)))
        await turns(2)
        caller.cancel()
        await asyncio.wait([caller])
        await turns()
        assert not letters.all

    run(test)
