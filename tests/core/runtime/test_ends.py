"""How actors end, who hears of it, and how another incarnation goes on behind the same ref."""

import asyncio
import gc
import threading
from typing import Any

import pytest
from pykka import ActorRegistry

from actors import Doer, Echo, Letters, PlainDoer, PoolDoer, quiet, run, turns, until
from mcp_core.runtime import Actor, ActorGone, Down, Exit, PoolActor
from mcp_core.runtime.cell import ASLEEP
from mcp_core.runtime.loop import present_loop
from mcp_interface.errors import Interrupted

KINDS = [Doer, PoolDoer]


class Watcher(Actor):
    """Keeps what it is told."""

    traps_exits = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)


# -- kill, stop, abandon -----------------------------------------------------------------------------------------


def test_a_killed_actor_cancels_its_handler_and_tells_its_asker() -> None:
    async def test() -> None:
        letters, doer, log = Letters(present_loop()), Doer.start(), []

        async def handler() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                log.append("cancelled")

        asked = doer.ask(handler, block=False)
        waiting = doer.ask(lambda: log.append("handled"), block=False)
        await turns()
        doer.kill()
        assert not doer.is_alive()
        with pytest.raises(ActorGone, match="ended before it answered"):
            await asked
        with pytest.raises(ActorGone):
            await waiting
        assert log == ["cancelled"]
        assert not letters.all
        doer.kill()

    run(test)


def test_one_killed_in_its_first_step_is_cancelled_when_it_waits() -> None:
    async def test() -> None:
        doer, watcher = Doer.start(), Watcher.start()
        doer.monitor(watcher)

        async def handler() -> None:
            doer.kill()
            await asyncio.sleep(60)

        with pytest.raises(ActorGone):
            await doer.call(handler, timeout=10)
        await turns()
        assert [one.exit.kind for one in watcher._actor.got] == ["killed"]

    run(test)


def test_a_stop_that_takes_too_long_can_be_killed_and_says_that_it_ran() -> None:
    class Lingers(Doer):
        async def on_stop(self) -> None:
            await asyncio.sleep(60)

    async def test() -> None:
        ref = Lingers.start()
        stopped = ref.stop(block=False)
        await turns()
        assert not stopped.done()
        ref.kill()
        assert await stopped is True
        assert not ref.is_alive()

    run(test)


@pytest.mark.parametrize("late", [False, True])
def test_an_error_in_on_stop_is_logged_and_the_actor_has_stopped(
    late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Doer):
        async def on_stop(self) -> None:
            if late:
                await asyncio.sleep(0)
            raise ValueError("no end")

    async def test() -> None:
        ref = Fails.start()
        assert await ref.stop(block=False) is True
        assert not ref.is_alive()

    run(test)
    assert "no end" in caplog.text


def test_an_error_of_a_handler_on_its_way_out_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        doer = Doer.start()

        async def handler() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                raise ValueError("not tidy")

        doer.tell(handler)
        await turns()
        doer.kill()
        await until(lambda: not present_loop().suspended)

    run(test)
    assert "not tidy" in caplog.text


def test_an_abandoned_handler_does_nothing_to_its_successor() -> None:
    async def test() -> None:
        letters, doer, gate = Letters(present_loop()), Doer.start(), asyncio.Event()
        doer._tied().guard = lambda ref, exit: ref._revive(Doer) or True

        async def stubborn(fail: bool) -> str:
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue
            if fail:
                raise ValueError("from the grave")
            return "from the grave"

        asked = doer.ask(lambda: stubborn(False), block=False)
        await turns()
        doer.abandon()
        with pytest.raises(ActorGone, match="ended before it answered"):
            await asked
        assert await doer.call(lambda: "new") == "new"
        doer.tell(lambda: stubborn(True))
        await turns()
        doer.abandon()
        gate.set()
        await turns()
        assert await doer.call(lambda: "newer") == "newer"
        assert letters.messages == ["from the grave"]

    run(test)


def test_an_abandoned_thread_does_nothing_to_its_successor() -> None:
    gates = [threading.Event() for _ in range(2)]

    def stuck(at: int) -> str:
        gates[at].wait(10)
        if at:
            raise ValueError("from the grave")
        return "from the grave"

    async def test() -> None:
        ref = PoolDoer.start()
        letters = Letters(ref._home)
        ref._tied().guard = lambda ref, exit: ref._revive(PoolDoer) or True
        asked = ref.ask(lambda: stuck(0), block=False)
        waits_ = ref.ask(lambda: "waited", block=False)
        await until(lambda: ref in ref._home.running.values())
        ref.abandon()
        with pytest.raises(ActorGone):
            await asked
        assert await waits_ == "waited"
        assert await ref.call(lambda: "new") == "new"
        ref.tell(lambda: stuck(1))
        await until(lambda: ref in ref._home.running.values())
        ref.abandon()
        for gate in gates:
            gate.set()
        assert await ref.call(lambda: "newer") == "newer"
        await until(lambda: letters.all)
        assert letters.messages == ["from the grave"]
        ref._ties.guard = None
        ref.kill()
        await until(lambda: not ref.is_alive())
        letters.close()

    run(test)


def test_a_pool_actor_that_is_killed_at_any_moment_ends() -> None:
    async def test() -> None:
        for round in range(300):
            ref, ended = PoolDoer.start(), threading.Event()
            ref.on_exit(lambda ref, exit, ended=ended: ended.set())
            for _ in range(round % 4):
                ref.tell(lambda: None)
            ref.kill()
            await until(ended.is_set)
            assert not ref.is_alive()
            with pytest.raises(ActorGone):
                ref.tell(lambda: None)

    run(test)


def test_a_killed_pool_actor_that_is_kept_keeps_its_mail() -> None:
    async def test() -> None:
        ref, gate, kept = PoolDoer.start(), threading.Event(), threading.Event()

        def guard(ref: Any, exit: Any) -> bool:
            kept.set()
            return True

        ref._tied().guard = guard
        ref.tell(lambda: gate.wait(10))
        await until(lambda: ref in ref._home.running.values())
        asked = ref.ask(lambda: "kept", block=False)
        ref.kill()
        gate.set()
        await until(kept.is_set)
        await asyncio.sleep(0.002)
        assert not asked.done()
        ref._revive(PoolDoer)
        assert await asked == "kept"
        ref._ties.guard = None
        assert await ref.stop(block=False) is True

    run(test)


def test_what_ends_a_program_ends_all_actors_and_tells_the_asker() -> None:
    async def test() -> None:
        for error in (KeyboardInterrupt, SystemExit):
            for wait in (False, True):
                doer, bystander = Doer.start(), Echo.start()

                async def handler(error: Any = error, wait: bool = wait) -> None:
                    if wait:
                        await asyncio.sleep(0)
                    raise error

                with pytest.raises(ActorGone):
                    await doer.call(handler)
                await turns()
                assert not doer.is_alive()
                assert not bystander.is_alive()

    run(test)


# -- links, monitors, exits --------------------------------------------------------------------------------------


def test_each_way_to_end_is_told_by_its_name() -> None:
    async def test() -> None:
        watcher = Watcher.start()
        got = watcher._actor.got
        crashed, stopped, killed = Doer.start(), Doer.start(), Doer.start()
        for ref in (crashed, stopped, killed):
            ref.monitor(watcher)
        forget = stopped.monitor(watcher)
        forget()

        async def crash() -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

        crashed.tell(crash)
        await stopped.stop(block=False)
        killed.kill()
        await until(lambda: len(got) == 3)
        kinds = {one.ref: one.exit.kind for one in got}
        assert kinds == {crashed: "crashed", stopped: "normal", killed: "killed"}
        assert all(isinstance(one, Down) for one in got)
        for ref in (crashed, stopped, killed):
            ref.monitor(watcher)
        await turns()
        assert [one.exit.kind for one in got[3:]] == ["crashed", "normal", "killed"]
        unwatched = Echo.start()
        await unwatched.stop(block=False)
        unwatched.monitor(watcher)
        await turns()
        assert got[-1].exit.kind == "gone"

    run(test)


def test_linked_actors_fail_together_and_stop_apart() -> None:
    async def test() -> None:
        one, two, three, watcher = Doer.start(), Doer.start(), Doer.start(), Watcher.start()
        one.link(two)
        two.link(three)
        two.link(watcher)
        one.link(two)
        one.tell(lambda: int("no"))
        await turns()
        assert not one.is_alive() and not two.is_alive() and not three.is_alive()
        assert watcher.is_alive()
        assert [one.ref for one in watcher._actor.got] == [two]
        peer, other = Doer.start(), Doer.start()
        peer.link(other)
        await peer.stop(block=False)
        assert other.is_alive()
        late = Doer.start()
        late.link(one)
        assert not late.is_alive()

    run(test)


def test_links_of_those_that_ended_are_forgotten() -> None:
    async def test() -> None:
        parent = Watcher.start()
        for _ in range(200):
            child = Echo.start()
            parent.link(child)
            await child.stop(block=False)
        assert len(parent._ties.observers) == 0
        await turns()
        assert len(parent._actor.got) == 200

    run(test)


def test_a_handler_that_waits_is_killed_with_the_actor_it_is_linked_to() -> None:
    async def test() -> None:
        one, two = Doer.start(), Doer.start()
        one.link(two)
        asked = one.ask(lambda: asyncio.sleep(60), block=False)
        await turns()
        two.kill()
        with pytest.raises(ActorGone):
            await asked
        assert not one.is_alive()

    run(test)


def test_observers_are_told_once_from_whatever_thread_they_came() -> None:
    async def test() -> None:
        for kind in KINDS:
            for _ in range(30):
                ref, told, ready = kind.start(), [], threading.Barrier(3)

                def observe(ref: Any = ref, told: Any = told, ready: Any = ready) -> None:
                    ready.wait(10)
                    for at in range(20):
                        ref.on_exit(lambda ref, exit, at=at: told.append(at))

                threads = [threading.Thread(target=observe) for _ in range(2)]
                for thread in threads:
                    thread.start()
                await asyncio.to_thread(ready.wait, 10)
                ref.kill()
                for thread in threads:
                    await asyncio.to_thread(thread.join, 10)
                await until(lambda told=told: len(told) == 40)
                assert sorted(told) == sorted([*range(20), *range(20)])

    run(test)


def test_an_observer_that_raises_does_not_keep_the_others_from_hearing() -> None:
    async def test() -> None:
        echo, told = Echo.start(), []

        def bad(ref: Any, exit: Any) -> None:
            raise RuntimeError("no")

        echo.on_exit(bad)
        echo.on_exit(lambda ref, exit: told.append(exit.kind))
        echo.kill()
        assert told == ["killed"]

    run(test)


# -- the next incarnation ----------------------------------------------------------------------------------------


class Recorder(Actor):
    """Crashes when told to; its log outlives it."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    async def on_start(self) -> None:
        self.log.append("started")

    async def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message == "crash":
            raise ValueError(message)
        return message


class PoolRecorder(PoolActor):
    """The same on threads."""

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def on_start(self) -> None:
        self.log.append("started")

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message == "crash":
            raise ValueError(message)
        return message


@pytest.mark.parametrize("kind", [Recorder, PoolRecorder])
@pytest.mark.parametrize("later", [False, True])
def test_a_new_incarnation_begins_before_the_mail_that_waited_in_order(kind: Any, later: bool) -> None:
    async def test() -> None:
        log: list[Any] = []
        exits: list[Exit] = []
        loop = asyncio.get_running_loop()

        def guard(ref: Any, exit: Exit) -> bool:
            exits.append(exit)
            make = lambda: kind(log)  # noqa: E731
            if later:
                loop.call_soon_threadsafe(lambda: ref._revive(make))
            else:
                ref._revive(make)
            return True

        ref = kind.start(log)
        urn = ref.actor_urn
        ref._tied().guard = guard
        for at in range(3):
            ref.tell(at)
        ref.tell("crash")
        asked = [ref.ask(at, block=False) for at in range(3, 40)]
        assert [await one for one in asked] == list(range(3, 40))
        assert log == ["started", 0, 1, 2, "crash", "started", *range(3, 40)]
        assert [exit.kind for exit in exits] == ["crashed"]
        assert ref.actor_urn == urn and ref.is_alive()
        assert ActorRegistry.get_by_urn(urn) is ref
        for _ in range(20):
            ref.tell("crash")
        assert await ref.call("last", timeout=10) == "last"
        assert log.count("started") == 22
        ref._ties.guard = None
        assert await ref.stop(block=False) is True

    run(test)


def test_a_killed_actor_that_will_be_restarted_takes_mail_meanwhile() -> None:
    async def test() -> None:
        log: list[Any] = []
        ref = Doer.start()
        ref._tied().guard = lambda ref, exit: ref._revive(lambda: Recorder(log)) or True
        ref.tell(lambda: asyncio.sleep(60))
        await turns()
        ref.kill()
        assert ref.is_alive()
        asked = ref.ask("asked", block=False)
        ref.tell("told")
        thread = threading.Thread(target=lambda: ref.tell("from a thread"))
        thread.start()
        thread.join(10)
        assert await asked == "asked"
        await until(lambda: len(log) == 4)
        assert log == ["started", "asked", "told", "from a thread"]

    run(test)


def test_a_guard_that_raises_lets_the_actor_end() -> None:
    async def test() -> None:
        ref, ended = Doer.start(), []

        def guard(ref: Any, exit: Any) -> bool:
            raise RuntimeError("no")

        ref._tied().guard = guard
        ref.on_exit(lambda ref, exit: ended.append(exit.kind))
        waiting = [ref.ask(lambda: int("no"), block=False)]
        ref.tell(lambda: int("no"))
        waiting.append(ref.ask(lambda: 1, block=False))
        with pytest.raises(ValueError):
            await waiting[0]
        with pytest.raises(ActorGone):
            await waiting[1]
        assert ended == ["crashed"]

    run(test)


def test_only_the_one_that_is_made_takes_the_ref_over() -> None:
    """Another that it starts first, or that another thread starts meanwhile, gets a ref of its own."""

    class Parent(Doer):
        def __init__(self) -> None:
            self.helper = Echo.start()
            super().__init__()

    class Slow(Doer):
        def __init__(self) -> None:
            entered.set()
            started.wait(10)
            super().__init__()

    entered, started = threading.Event(), threading.Event()

    async def test() -> None:
        ref = Doer.start()
        ref._tied().guard = lambda ref, exit: True
        ref.kill()
        ref._revive(Parent)
        assert ref._actor.actor_ref is ref
        assert type(ref._actor) is Parent
        assert ref._actor.helper is not ref
        assert await ref._actor.helper.call(1) == 1
        ref.kill()

        def meanwhile() -> None:
            entered.wait(10)
            others.append(PoolDoer.start())
            started.set()

        others: list[Any] = []
        thread = threading.Thread(target=meanwhile)
        thread.start()
        ref._revive(Slow)
        thread.join(10)
        assert others[0] is not ref
        assert type(ref._actor) is Slow and ref._actor.actor_ref is ref
        ref._ties.guard = None
        ref.kill()
        with pytest.raises(ActorGone):
            ref._revive(Doer)

    run(test)


@pytest.mark.parametrize("kind", [Doer, PoolDoer])
def test_one_that_is_asleep_comes_back_for_the_next_message(kind: Any) -> None:
    async def test() -> None:
        ref, woken = kind.start(), []
        loop = asyncio.get_running_loop()

        def wake(ref: Any) -> None:
            woken.append(1)
            loop.call_soon_threadsafe(lambda: ref._revive(kind))

        for _ in range(5):
            assert await ref.call(lambda: 1) == 1
            await until(lambda: ref._sleep(wake))
            assert ref._actor is None and ref._state == ASLEEP and ref.is_alive()
            asked = [ref.ask(lambda at=at: at, block=False) for at in range(3)]
            ref.tell(lambda: None)
            assert [await one for one in asked] == [0, 1, 2]
        assert len(woken) == 5
        ref.tell(lambda: None)
        assert await ref.stop(block=False) is True

    run(test)


def test_one_that_cannot_be_woken_returns_its_mail() -> None:
    async def test() -> None:
        ref = Doer.start()

        def wake(ref: Any) -> None:
            raise OSError("the journal is gone")

        assert ref._sleep(wake)
        with pytest.raises(ActorGone):
            await ref.call(lambda: 1)
        assert not ref.is_alive()

    run(test)


def test_a_pool_actor_that_falls_asleep_while_mail_comes_handles_it() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        ref, handled, stop = PoolDoer.start(), [], threading.Event()
        count = 300

        def wake(ref: Any) -> None:
            loop.call_soon_threadsafe(lambda: ref._revive(PoolDoer))

        def send() -> None:
            for at in range(count):
                ref.tell(lambda at=at: handled.append(at))
            stop.set()

        thread = threading.Thread(target=send)
        thread.start()
        while not stop.is_set():
            ref._sleep(wake)
            await asyncio.sleep(0)
        await until(lambda: len(handled) == count)
        assert handled == list(range(count))
        thread.join()
        assert await ref.call(lambda: "alive") == "alive"

    run(test)


# -- loops end ---------------------------------------------------------------------------------------------------


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
