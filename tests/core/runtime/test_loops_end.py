"""Actors whose event loop ends, stands still, or takes turns with another one."""

import asyncio
import gc
import threading
from typing import Any

import pytest
from pykka import ActorRegistry

from actors import Doer, Echo, PlainDoer, PoolDoer, quiet, run, turns
from mcp_core.runtime import ActorGone
from mcp_core.runtime.loop import present_loop
from mcp_interface.errors import Interrupted


def test_actors_end_with_their_loop_and_every_asker_is_told() -> None:
    refs: list[Any] = []
    told: list[Any] = []

    async def main() -> None:
        refs.extend([Doer.start(), Doer.start(), Echo.start()])
        refs[0].on_exit(lambda ref, exit: told.append(exit.kind))
        told.append(refs[0].ask(lambda: asyncio.sleep(60), block=False))
        refs[1].tell(lambda: None)
        told.append(refs[1].ask(lambda: asyncio.sleep(0.001), block=False))

    asyncio.run(main())
    assert told[2] == "killed"
    with pytest.raises((Interrupted, ActorGone)):
        told[0].get(timeout=1)
    assert told[1].done()
    for ref in refs:
        assert not ref.is_alive()
        assert ref not in ActorRegistry.get_all()
        with pytest.raises(ActorGone):
            ref.tell(lambda: None)
        with pytest.raises(ActorGone):
            ref.ask(lambda: None, timeout=1)
        ref.kill()


def test_a_loop_that_is_closed_without_ceremony_fails_what_is_sent_to_it() -> None:
    loop = asyncio.new_event_loop()

    async def main() -> tuple[Any, Any]:
        return Doer.start(), Doer.start()

    one, two = loop.run_until_complete(main())
    one.ask(lambda: 5, block=False)
    asleep = threading.Event()

    def ask() -> None:
        try:
            one.ask(lambda: 1)
        except ActorGone:
            asleep.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while not one._home._inbox:
        pass
    loop.close()
    errors: list[Any] = []

    def tell() -> None:
        try:
            two.tell(lambda: None)
        except ActorGone as error:
            errors.append(error)

    other = threading.Thread(target=tell)
    other.start()
    other.join(10)
    thread.join(10)
    assert asleep.is_set()
    assert "the event loop of this actor has been closed" in str(errors[0])
    assert not one.is_alive() and not two.is_alive()


def test_a_handler_that_is_left_when_its_loop_is_closed_ends_no_other_actor() -> None:
    """Its coroutine is collected with GeneratorExit, which is no Exception either."""
    bystander = PoolDoer.start()
    loop = asyncio.new_event_loop()

    async def main() -> Any:
        ref = Doer.start()
        asked = ref.ask(lambda: asyncio.sleep(60), block=False)
        await turns()
        return ref, asked

    ref, asked = loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    home = ref._home
    home.detach()
    del home
    gc.collect()
    with pytest.raises(ActorGone):
        asked.get(timeout=1)
    assert not ref.is_alive()
    assert bystander.is_alive()
    assert bystander.ask(lambda: 1) == 1
    bystander.stop()


def test_actors_of_two_loops_used_by_turns_on_one_thread_live_on() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]

    async def start() -> Any:
        return Doer.start()

    async def use(ref: Any) -> Any:
        return await ref.call(lambda: asyncio.sleep(0, "used"))

    refs = [loop.run_until_complete(start()) for loop in loops]
    for _ in range(3):
        for loop, ref in zip(loops, refs, strict=True):
            assert loop.run_until_complete(use(ref)) == "used"
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert not any(ref.is_alive() for ref in refs)


def test_between_two_runs_of_its_loop_an_actor_still_answers_what_needs_no_loop() -> None:
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        return Echo.start()

    ref = loop.run_until_complete(start())
    assert ref.ask(1) == 1
    future = ref.ask(2, block=False)
    ref.tell(3)
    assert future.get() == 2
    assert ref.ask(4) == 4
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_mail_in_progress_when_the_program_ends_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        doers = [Doer.start() for _ in range(10)]
        for _ in range(5):
            for doer in doers:
                doer.tell(lambda: asyncio.sleep(0.001))
        await turns(3)

    asyncio.run(main())
    gc.collect()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def test_plain_doers_stop_in_order() -> None:
    async def test() -> None:
        ref, log = PlainDoer.start(), []
        for at in range(5):
            ref.tell(lambda at=at: log.append(at))
        assert await ref.stop(block=False) is True
        assert log == list(range(5))
        await quiet(present_loop())

    run(test)
