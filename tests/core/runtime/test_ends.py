"""How actors end, and who hears of it."""

import asyncio
import threading
from typing import Any

import pytest

from actors import Doer, Echo, Letters, PoolDoer, run, turns, until
from mcp_core.runtime import Actor, ActorGone, Down
from mcp_core.runtime.loop import present_loop

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
