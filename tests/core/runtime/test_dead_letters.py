"""The ring of dead letters, against a plain list."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.observe.telemetry import LocalTelemetry
from mcp_core.runtime.dead_letters import OVERHEAD, DeadLetters, deliver, reason_of
from mcp_interface.errors import CallerMistaken, NotFound, StorageUnavailable, TooMuch
from mcp_interface.testing import ManualClock

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.sampled_from(["ann", "bob"]), st.integers(0, 3_000)),
        st.tuples(st.just("forget"), st.just(""), st.integers(1, 60)),
        st.tuples(st.just("replay"), st.just(""), st.integers(1, 60)),
    ),
    max_size=50,
)


@settings(max_examples=150, deadline=None)
@given(entries=st.integers(1, 8), size=st.integers(1, 20_000), steps=STEPS)
def test_the_latest_are_kept_within_both_bounds_and_none_is_lost_uncounted(
    sink: Any, entries: int, size: int, steps: list[tuple[str, str, int]]
) -> None:
    letters = DeadLetters(ManualClock(), entries=entries, size=size)
    targets = {"ann": sink("ann"), "bob": sink("bob")}
    kept: dict[int, tuple[str, str]] = {}
    taken = 0
    for step, to, value in steps:
        if step == "record":
            kept[letters.record(to, "x" * value, "timeout")] = (to, "x" * value)
        elif value not in [letter.number for letter in letters.page()]:
            with pytest.raises(NotFound, match=f"no dead letter {value}"):
                letters.forget(value)
            with pytest.raises(NotFound, match=f"no dead letter {value}"):
                letters.replay(value, targets.__getitem__)
        elif step == "forget":
            letters.forget(value)
            taken += 1
        else:
            whole = next(letter for letter in letters.page() if letter.number == value).kept
            if whole:
                letters.replay(value, targets.__getitem__)
                assert targets[kept[value][0]].got[-1] == kept[value][1], "the very message is sent"
                taken += 1
            else:
                with pytest.raises(TooMuch, match="only its outline was kept"):
                    letters.replay(value, targets.__getitem__)
        page = letters.page()
        assert len(page) == len(letters) <= entries
        assert sum(letter.size for letter in page) == letters.size
        assert letters.size <= size or len(letters) == 1
        assert letters.recorded == len(letters) + letters.dropped + taken
        numbers = [letter.number for letter in page]
        assert numbers == sorted(numbers)
        assert numbers[-1:] in ([], [letters.recorded]) or step != "record", "the latest is always there"


def test_pages_are_by_number_and_target() -> None:
    clock = ManualClock()
    letters = DeadLetters(clock)
    for number in range(10):
        clock.advance(1)
        letters.record("even" if number % 2 == 0 else "odd", number, "not_found", "agent_1")
    assert [letter.number for letter in letters.page(limit=3)] == [1, 2, 3]
    assert [letter.number for letter in letters.page(to="odd", after=4, limit=2)] == [6, 8]
    assert letters.count("odd") == 5 and letters.count("nobody") == 0
    [letter] = letters.page(after=9)
    assert (letter.at, letter.outline, letter.sender) == (clock.now(), "9", "agent_1")
    for limit in (0, 1001):
        with pytest.raises(CallerMistaken):
            letters.page(limit=limit)


def test_one_that_still_cannot_be_sent_stays(sink: Any) -> None:
    letters = DeadLetters(ManualClock())
    letters.record("ann", "hello", "not_found")

    def nobody(name: str) -> Any:
        raise NotFound(f"nobody is called {name}")

    dead, full, back = sink("ann"), sink("ann", room=0), sink("ann")
    dead.end()
    with pytest.raises(NotFound, match="nobody is called ann"):
        letters.replay(1, nobody)
    with pytest.raises(NotFound, match="ann has ended: dead letter 1 cannot be sent again"):
        letters.replay(1, lambda name: dead)
    with pytest.raises(TooMuch):
        letters.replay(1, lambda name: full)
    assert len(letters) == 1 == letters.recorded, "a failed replay is no new dead letter"
    assert letters.replay(1, lambda name: back).outline == "'hello'"
    assert back.got == ["hello"]
    assert len(letters) == 0 == letters.size


def test_a_message_that_is_too_large_is_noted_without_being_kept() -> None:
    letters = DeadLetters(ManualClock(), largest=1000)
    letters.record("ann", {"text": "x" * 1000}, "overloaded")
    [letter] = letters.page()
    assert not letter.kept and letter.outline.startswith("{'text': 'xxx")
    assert letters.size == OVERHEAD
    assert letters._letters[1][1] is None


def test_each_is_told_once_even_if_the_listener_loses_one_itself() -> None:
    telemetry = LocalTelemetry()
    letters = DeadLetters(ManualClock(), telemetry)
    heard: list[Mapping[str, Any]] = []

    def listener(name: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        heard.append(metadata)
        letters.record("operator", metadata["to"], "not_found")

    telemetry.attach("mcp.message.dropped", listener)
    letters.record("ann", "hello", "timeout", "bob")
    assert [dict(each) for each in heard] == [{"to": "ann", "sender": "bob", "reason": "timeout"}]
    assert [letter.to for letter in letters.page()] == ["ann", "operator"]


def test_delivering_never_raises(sink: Any, caplog: pytest.LogCaptureFixture) -> None:
    letters = DeadLetters(ManualClock())
    good, full = sink("good"), sink("full", room=0)
    assert deliver(good, 1, letters) and good.got == [1]
    assert not deliver(full, 2, letters, "bob")
    assert letters.page()[0].reason == "overloaded"
    assert not deliver(full, 2, None)
    assert "full did not take a message: overloaded" in caplog.text


def test_reasons_are_stable_codes() -> None:
    assert reason_of(StorageUnavailable("x")) == "storage_unavailable"
    assert reason_of(ValueError("secret")) == "ValueError"


@pytest.mark.parametrize(("entries", "size"), [(0, 1), (1, 0)])
def test_a_ring_without_room_is_refused(entries: int, size: int) -> None:
    with pytest.raises(CallerMistaken):
        DeadLetters(ManualClock(), entries=entries, size=size)
