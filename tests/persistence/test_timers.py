import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, VersionConflict
from mcp_interface.store import Append, Decision
from mcp_interface.testing.samples import a_message
from mcp_interface.testing.time import START
from mcp_persistence.timers import Timers
from persistence.desk import Writer
from persistence.projections.rows import ALL_KINDS, run

STREAM = "agent:clockmaker"


class Desk(Writer):
    """A writer with timers."""

    def begin(self):
        self.timers = Timers(self.store, "alarm", self.epoch, self.entropy)

    async def set(self, seconds, message):
        key, value = self.timers.set(START + timedelta(seconds=seconds), message)
        await self.store.commit(Decision(puts={key: value}), epoch=self.epoch)
        return key

    async def due(self, seconds, **options):
        return [
            timer.message for timer in await self.timers.due(START + timedelta(seconds=seconds), **options)
        ]

    async def happening(self, number):
        version = next((info.version for info in await self.store.streams(STREAM)), 0)
        return Decision(appends=[Append(stream=STREAM, events=[a_message(number)], expected=version)])

    async def recorded(self):
        return [record.event.message_id for record in await self.store.read(STREAM)]


def test_timers_are_due_in_the_order_of_their_time(with_desk):
    async def body(desk):
        for seconds in (30, 10, 20, 10.000001):
            await desk.set(seconds, seconds)
        await desk.restart()
        assert await desk.due(9.999999) == []
        assert await desk.due(10) == [10]
        assert await desk.due(25) == [10, 10.000001, 20]
        assert await desk.due(25, limit=2) == [10, 10.000001]

    with_desk(body)


def test_the_zone_of_a_time_does_not_matter_but_it_must_have_one(with_desk):
    async def body(desk):
        east = (START + timedelta(seconds=5)).astimezone(timezone(timedelta(hours=9)))
        key, value = desk.timers.set(east, "east")
        ancient, old = desk.timers.set(datetime(1, 1, 1, tzinfo=UTC), "ancient")
        await desk.store.commit(Decision(puts={key: value, ancient: old}), epoch=desk.epoch)
        assert await desk.due(4) == ["ancient"]
        assert await desk.due(5) == ["ancient", "east"]
        with pytest.raises(CallerMistaken, match="zone"):
            desk.timers.set(datetime(2026, 1, 1), "nowhere")

    with_desk(body)


def test_a_timer_fires_once_whoever_tries_how_often(with_desk):
    async def body(desk):
        key = await desk.set(10, "wake")
        decision = await desk.happening(1)
        results = await asyncio.gather(*(desk.timers.fire(key, decision) for _ in range(5)))
        assert all(records == results[0] for records in results)
        assert await desk.due(99) == []
        await desk.restart()
        assert await desk.timers.fire(key, await desk.happening(2)) is None
        assert len(await desk.recorded()) == 1

    with_desk(body)


def test_a_timer_is_fired_or_cancelled_and_never_both(with_desk):
    async def body(desk):
        for number, cancelled_first in enumerate((True, False)):
            key = await desk.set(10, "wake")
            fire = desk.timers.fire(key, await desk.happening(number))
            cancel = desk.timers.cancel(key)
            if cancelled_first:
                cancelled, fired = await asyncio.gather(cancel, fire)
            else:
                fired, cancelled = await asyncio.gather(fire, cancel)
            assert (cancelled, fired is None) == (cancelled_first, cancelled_first)
            assert await desk.timers.cancel(key) is cancelled_first
            assert await desk.due(99) == []
        assert len(await desk.recorded()) == 1

    with_desk(body)


def test_cancelling_comes_with_what_led_to_it(with_desk):
    async def body(desk):
        key = await desk.set(10, "wake")
        assert await desk.timers.cancel(key, await desk.happening(1))
        assert len(await desk.recorded()) == 1
        fired = await desk.set(10, "wake")
        await desk.timers.fire(fired, await desk.happening(2))
        assert not await desk.timers.cancel(fired, await desk.happening(3))
        assert len(await desk.recorded()) == 2

    with_desk(body)


def test_a_refused_firing_leaves_the_timer(with_desk):
    async def body(desk):
        key = await desk.set(10, "wake")
        bad = Append(stream=STREAM, events=[a_message(1)], expected=5)
        with pytest.raises(VersionConflict):
            await desk.timers.fire(key, Decision(appends=[bad]))
        with pytest.raises(CallerMistaken, match="without an event"):
            await desk.timers.fire(key, Decision())
        assert await desk.due(10) == ["wake"]
        assert await desk.timers.fire(key, await desk.happening(1))

    with_desk(body)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(-50, 50)),
        st.tuples(st.sampled_from(["fire", "fire, crash", "fire twice", "cancel", "restart"])),
        st.tuples(st.just("clock jumps to"), st.integers(-100, 100)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_timer_is_recorded_at_most_once_and_once_unless_cancelled(kind, steps, tmp_path_factory):
    run(_live_through, kind, tmp_path_factory.mktemp("journal"), steps)


async def _live_through(kind, folder, steps):
    keys, cancelled, known = {}, set(), {}
    now = 0

    async def fire(times=1):
        for timer in known.values():  # what somebody saw as due before the clock jumped or the process died
            for _ in range(times):
                records = await desk.timers.fire(timer.key, await desk.happening(timer.message))
                assert records is None or len(records) == 1

    async with Desk(kind, folder) as desk:
        for step, *arguments in [*steps, ("clock jumps to", 1000), ("fire",)]:
            match step:
                case "set":
                    keys[len(keys)] = await desk.set(arguments[0], len(keys))
                case "clock jumps to":
                    now = arguments[0]
                case "cancel" if keys:
                    number = len(keys) // 2
                    if await desk.timers.cancel(keys[number]):
                        cancelled.add(number)
                case "restart":
                    await desk.restart()
            if step.startswith("fire"):
                due = await desk.timers.due(START + timedelta(seconds=now))
                assert [timer.due for timer in due] == sorted(timer.due for timer in due)
                known |= {timer.message: timer for timer in due}
                await fire(2 if step == "fire twice" else 1)
                if step == "fire, crash":
                    await desk.restart()
        recorded = await desk.recorded()
        assert len(set(recorded)) == len(recorded)
        assert set(recorded) == {a_message(number).message_id for number in keys if number not in cancelled}
        assert await desk.store.list_keys("timer/*") == []
