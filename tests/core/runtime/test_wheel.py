"""The timing wheel, against a sorted list."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.wheel import HORIZON, Entry, Wheel

UNIT = 10
# near and far, and around the places where a ring begins its next turn
DISTANCES = st.one_of(
    st.integers(0, 40),
    st.integers(0, 10_000),
    st.sampled_from([1 << 8, 1 << 16, 1 << 24]).flatmap(lambda turn: st.integers(turn - 2, turn + 2)),
    st.integers(0, 1 << 30),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), DISTANCES, st.integers(0, UNIT - 1)),
        st.tuples(st.just("take"), DISTANCES, st.just(0)),
        st.tuples(st.just("pass"), DISTANCES, st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 50), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(start=st.integers(0, 1 << 34), steps=STEPS)
def test_a_wheel_gives_what_a_sorted_list_gives(start: int, steps: list[tuple[str, int, int]]) -> None:
    wheel: Wheel[Entry] = Wheel(UNIT, start)
    kept: list[Entry] = []
    tick = start
    for step, number, fraction in steps:
        if step == "add":
            entry = Entry((tick + number) * UNIT + fraction)
            wheel.add(entry, tick)
            kept.append(entry)
        elif step == "take":
            tick += number
            due = sorted((entry for entry in kept if entry.due <= tick * UNIT), key=lambda entry: entry.due)
            assert wheel.take(tick) == due
            kept = [entry for entry in kept if entry.due > tick * UNIT]
            assert all(entry.slot is None for entry in due)
        elif step == "pass":
            tick += number  # time goes by and nobody looks
        elif kept:
            wheel.remove(kept.pop(number % len(kept)))
        assert len(wheel) == len(kept)
        if kept:
            first = max(tick, min(-(-entry.due // UNIT) for entry in kept))
            assert wheel.next <= first, "it says early enough when to look again"
    assert wheel.take(tick + (1 << 31)) == sorted(kept, key=lambda entry: entry.due)
    assert not wheel


@given(distance=st.integers(0, HORIZON - 1))
def test_an_entry_moves_inwards_four_times_at_most(distance: int) -> None:
    wheel: Wheel[Entry] = Wheel(1, 0)
    wheel.add(Entry(distance), 0)
    looks = 0
    while not wheel.take(wheel.next):
        looks += 1
    assert looks <= 4


def test_entries_of_one_tick_come_in_the_order_of_due_time_then_of_adding() -> None:
    wheel: Wheel[Entry] = Wheel(UNIT, 0)
    entries = [Entry(due) for due in (1009, 1001, 1005, 1001, 999, 1005)]
    for entry in entries:
        wheel.add(entry, 0)
    assert [entries.index(entry) for entry in wheel.take(200)] == [4, 1, 3, 2, 5, 0]


def test_an_emptied_wheel_has_nothing_to_look_for() -> None:
    wheel: Wheel[Entry] = Wheel(1, 0)
    entries = [Entry(number * 1000) for number in range(100)]
    for entry in entries:
        wheel.add(entry, 0)
    for entry in entries:
        wheel.remove(entry)
        wheel.remove(entry)
    assert not wheel
    assert wheel.next > HORIZON
    wheel.add(entries[0], 0)
    assert wheel.clear() == [entries[0]]
    assert not wheel
