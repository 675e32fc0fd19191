import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_interface.errors import CallerMistaken, NotFound, StaleEpoch, VersionConflict
from mcp_interface.store import Append, Decision
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_interface.testing.samples import a_message
from mcp_persistence.outbox import FIRST_WAIT, LAST_WAIT, Outbox
from persistence.desk import Writer
from persistence.projections.rows import ALL_KINDS, run


class Desk(Writer):
    """A writer with an outbox."""

    def __init__(self, kind, folder, **options):
        super().__init__(kind, folder)
        self.options = options
        self.clock = ManualClock()

    def begin(self):
        self.outbox = Outbox(self.store, "mail", self.epoch, self.clock, self.entropy, **self.options)

    async def version(self, stream):
        return next((info.version for info in await self.store.streams(stream)), 0)

    async def event(self, stream, number):
        return Append(stream=stream, events=[a_message(number)], expected=await self.version(stream))

    async def send(self, *messages, to="x", number=1):
        entries = dict(self.outbox.entry(message, to) for message in messages)
        decision = Decision(appends=[await self.event("session:sender", number)], puts=entries)
        await self.store.commit(decision, epoch=self.epoch)
        return list(entries)

    async def waiting(self):
        return [(entry.to, entry.message) for entry in await self.outbox.pending()]


def test_messages_come_one_after_the_other_for_each_destination(with_desk):
    async def body(desk):
        first, second, _ = await desk.send(1, 2, 3, to="a")
        await desk.send({"n": 4}, to="b/*[x]")
        assert await desk.waiting() == [("a", 1), ("b/*[x]", {"n": 4})]
        await desk.outbox.done(first)
        await desk.outbox.done(first)
        await desk.restart()
        await desk.send(5, to="a")
        assert await desk.waiting() == [("a", 2), ("b/*[x]", {"n": 4})]
        await desk.outbox.done(second)
        assert await desk.waiting() == [("a", 3), ("b/*[x]", {"n": 4})]
        assert len(await desk.outbox.pending(1)) == 1

    with_desk(body)


def test_destinations_that_begin_alike_are_kept_apart(with_desk):
    async def body(desk):
        names = ["a", "a0", "a/", "a-", "a~", "", "0", "é", "a/a"]
        for name in names:
            await desk.send(1, 2, to=name)
        assert await desk.waiting() == [(name, 1) for name in names]

    with_desk(body)


def test_a_decision_that_is_refused_leaves_no_message(with_desk):
    async def body(desk):
        key, value = desk.outbox.entry("never")
        bad = Append(stream="session:1", events=[a_message(1)], expected=7)
        with pytest.raises(VersionConflict):
            await desk.store.commit(Decision(appends=[bad], puts={key: value}), epoch=desk.epoch)
        assert await desk.waiting() == []

    with_desk(body)


def test_a_failed_message_waits_longer_each_time_and_holds_up_its_own_destination_only(with_desk):
    async def body(desk):
        (key, _) = await desk.send("first", "second", to="a")
        await desk.send("other", to="b")
        wait = FIRST_WAIT
        for attempts in range(1, 12):
            later = await desk.outbox.failed(key, "no answer")
            assert (later.attempts, later.error) == (attempts, "no answer")
            assert await desk.waiting() == [("b", "other")]
            desk.clock.advance(wait - 0.001)
            assert await desk.waiting() == [("b", "other")]
            desk.clock.advance(0.001)
            assert await desk.waiting() == [("a", "first"), ("b", "other")]
            wait = min(2 * wait, LAST_WAIT)
        await desk.outbox.failed(key, "later", desk.clock.now() + timedelta(days=1))
        desk.clock.advance(LAST_WAIT)
        assert await desk.waiting() == [("b", "other")]

    with_desk(body, attempts=100)


def test_after_too_many_failures_a_message_is_dead_and_can_be_replayed(with_desk):
    async def body(desk):
        (key, _) = await desk.send("bad", "good")
        for _ in range(3):
            last = await desk.outbox.failed(key, "broken")
            desk.clock.advance(LAST_WAIT)
        assert await desk.waiting() == [("x", "good")]
        assert [(entry.message, entry.attempts, entry.error) for entry in await desk.outbox.dead()] == [
            ("bad", 3, "broken")
        ]
        assert await desk.outbox.dead(after=last.key) == []
        await desk.outbox.replay(last.key)
        assert await desk.outbox.dead() == []
        assert [(entry.key, entry.attempts) for entry in await desk.outbox.pending()] == [(key, 0)]
        with pytest.raises(NotFound):
            await desk.outbox.replay(last.key)
        with pytest.raises(CallerMistaken):
            await desk.outbox.replay("outbox/mail/x/1")

    with_desk(body, attempts=3)


def test_a_failure_after_the_delivery_changes_nothing(with_desk):
    async def body(desk):
        (key,) = await desk.send("once")
        await desk.outbox.done(key)
        assert await desk.outbox.failed(key, "late") is None
        assert await desk.waiting() == []

    with_desk(body)


def test_a_destination_that_makes_no_key_is_refused_before_the_commit(with_desk):
    async def body(desk):
        with pytest.raises(CallerMistaken):
            desk.outbox.entry("m", "x" * 600)

    with_desk(body)


def test_two_outboxes_of_one_name_do_not_write_over_each_other(with_desk):
    async def body(desk):
        other = Outbox(desk.store, "mail", desk.epoch, desk.clock, SeededEntropy(6))
        assert desk.outbox.entry(1)[0] != other.entry(1)[0]

    with_desk(body)


def test_what_is_consumed_in_the_store_is_consumed_once(with_desk):
    async def body(desk):
        (key,) = await desk.send("m")
        decision = Decision(appends=[await desk.event("session:consumer", 1)])
        results = await asyncio.gather(*(desk.outbox.consume(key, decision) for _ in range(5)))
        assert all(records == results[0] for records in results)
        await desk.restart()
        again = await desk.outbox.consume(key, decision)
        assert again == results[0]
        other = Decision(appends=[await desk.event("session:consumer", 2)])
        assert await desk.outbox.consume(key, other) is None
        assert await desk.version("session:consumer") == 1
        assert await desk.waiting() == []

    with_desk(body)


def test_a_refused_consumption_leaves_the_message(with_desk):
    async def body(desk):
        (key,) = await desk.send("m")
        bad = Append(stream="session:consumer", events=[a_message(1)], expected=3)
        with pytest.raises(VersionConflict):
            await desk.outbox.consume(key, Decision(appends=[bad]))
        with pytest.raises(CallerMistaken, match="idempotency key"):
            await desk.outbox.consume(key, Decision(key="mine"))
        await desk.store.claim()
        with pytest.raises(StaleEpoch):
            await desk.outbox.consume(key, Decision(appends=[await desk.event("session:consumer", 1)]))
        assert await desk.waiting() == [("x", "m")]

    with_desk(body)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from("ab"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["deliver", "deliver, crash", "fail", "consume", "consume, crash"])),
        st.tuples(st.just("time"), st.sampled_from([0.5, 2.0, 600.0])),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_message_comes_at_least_once_in_order_and_is_consumed_at_most_once(
    kind, steps, tmp_path_factory
):
    run(_live_through, kind, tmp_path_factory.mktemp("journal"), steps)


async def _live_through(kind, folder, steps):
    sent, delivered, consumed = {"a": [], "b": []}, {"a": [], "b": []}, []

    async def act(how):
        for entry in await desk.outbox.pending():
            if how == "fail":
                await desk.outbox.failed(entry.key, "no")
                continue
            if how.startswith("consume"):
                # the event says which message it was, as a redelivery would
                event = await desk.event("session:consumer", entry.message)
                await desk.outbox.consume(entry.key, Decision(appends=[event]))
                consumed.append(entry.message)
            delivered[entry.to].append(entry.message)
            if how.endswith("crash"):
                await desk.restart()
            elif how == "deliver":
                await desk.outbox.done(entry.key)

    number = 0
    async with Desk(kind, folder, attempts=10_000) as desk:
        for step, *arguments in steps:
            match step:
                case "send":
                    to, many = arguments
                    messages = range(number + 1, number + many + 1)
                    number += many
                    await desk.send(*messages, to=to, number=number)
                    sent[to] += messages
                case "time":
                    desk.clock.advance(arguments[0])
                case "restart":
                    await desk.restart()
                case _:
                    await act(step)
        while await desk.store.list_keys("outbox/*"):
            desk.clock.advance(LAST_WAIT)
            await act("deliver")
        for to, messages in sent.items():
            assert list(dict.fromkeys(delivered[to])) == messages  # each, and the first time in order
            assert delivered[to] == sorted(delivered[to])
        kept = [record.event.message_id for record in await desk.store.read("session:consumer")]
        assert kept == [a_message(message).message_id for message in consumed]
        assert len(set(kept)) == len(kept)
        assert await desk.store.list_keys("outbox*") == []
