"""The hot tier against a plain list of what happened: whatever it answers is the truth, or it says nothing."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.store import Snapshot
from mcp_interface.testing import START
from mcp_persistence.entry import NO_IDS, Row
from mcp_persistence.names import matches
from mcp_persistence.tiers.hot import HotTier

STREAMS = ("a", "ab", "b")
APPENDS = st.tuples(
    st.just("append"),
    st.lists(
        st.tuples(st.sampled_from(STREAMS), st.integers(1, 4), st.integers(0, 60)), min_size=1, max_size=3
    ),
)
ERASURES = st.tuples(st.just("erase"), st.sets(st.sampled_from(STREAMS), min_size=1))
GAPS = st.tuples(st.just("gap"), st.integers(1, 3))
CLEARINGS = st.just(("clear",))


class History:
    """Everything, in a list."""

    def __init__(self):
        self.head = 0
        self.rows = []
        self.versions = dict.fromkeys(STREAMS, 0)

    def append(self, stream, count, size):
        row = Row(self.head + 1, stream, self.versions[stream] + 1, 1, [bytes(size)] * count, NO_IDS)
        self.head += count
        self.versions[stream] += count
        self.rows.append(row)
        return row

    def erase(self, streams):
        self.rows = [row for row in self.rows if row.stream not in streams]
        self.versions |= dict.fromkeys(streams, 0)

    def events(self, glob="*"):
        return [event for row in self.rows if matches(row.stream, glob) for event in events_of(row)]


def events_of(row):
    return [(row.position + index, row.stream, row.version + index) for index in range(len(row.bodies))]


def play(history, hot, step):
    match step:
        case "append", runs:
            hot.add([history.append(*each) for each in runs])
        case "erase", streams:
            history.erase(streams)
            hot.forget(streams)
        case "gap", count:
            history.head += count  # positions of a stream that came and went within one batch
        case ("clear",):
            hot.clear(history.head)


@given(
    st.lists(st.one_of(APPENDS, APPENDS, ERASURES, GAPS, CLEARINGS), max_size=30),
    st.sampled_from([0, 300, 1000, 100_000]),
    st.integers(0, 40),
    st.integers(1, 9),
    st.sampled_from(["*", "a*", "b", "x"]),
)
def test_what_it_gives_is_what_happened(steps, size, after, limit, glob):
    history, hot = History(), HotTier(0, size)
    for step in steps:
        play(history, hot, step)
        found = hot.after(after, limit, glob)
        if found is not None and after <= history.head:
            rows, reached = found
            given_ = [event for row in rows for event in events_of(row) if event[0] > after]
            there = [event for event in history.events(glob) if event[0] > after]
            assert given_ == [event for event in there if event[0] <= reached]
            assert len(given_) >= limit or given_ == there
        for stream in STREAMS:
            rows = hot.stream(stream, after, limit)
            if rows is not None:
                given_ = [event for row in rows for event in events_of(row) if event[2] > after]
                there = [event for event in history.events(stream) if event[2] > after]
                assert given_[:limit] == there[:limit]


@given(st.lists(st.one_of(APPENDS, ERASURES), max_size=40), st.sampled_from([0, 500, 2000]))
def test_it_stays_within_its_bound(steps, size):
    history, hot = History(), HotTier(0, size)
    for step in steps:
        play(history, hot, step)
        rows = [row for rows, _ in hot._batches[hot._gone :] for row in rows]
        held = sum(200 + sum(map(len, row.bodies)) for row in rows)
        assert hot._bytes == held <= size
        assert sum(map(len, hot._streams.values())) == len(rows)


def a_snapshot(stream, version, size=10):
    return Snapshot(stream=stream, version=version, schema="s/1", state=bytes(size), taken_at=START)


def test_snapshots_without_any_state_are_bounded_too():
    hot = HotTier(0, 60_000)
    for number in range(10_000):
        hot.keep_snapshot(a_snapshot(f"s:{number}", 1, 0))
    kept = [number for number in range(10_000) if hot.snapshot(f"s:{number}") is not None]
    assert kept == list(range(9_900, 10_000))


def test_the_newest_snapshot_stays_and_one_that_is_used_stays_longest():
    hot = HotTier(0, 2_000)
    hot.keep_snapshot(a_snapshot("a", 5))
    hot.keep_snapshot(a_snapshot("a", 3))
    assert hot.snapshot("a").version == 5
    for name in "bcd":
        hot.keep_snapshot(a_snapshot(name, 1))
        assert hot.snapshot("a") is not None
    assert hot.snapshot("b") is None
    hot.forget(["a", "unknown"])
    assert hot.snapshot("a") is None
    hot.keep_snapshot(a_snapshot("a", 1))
    assert hot.snapshot("a").version == 1


def test_with_no_room_it_keeps_nothing():
    hot = HotTier(0, 0)
    hot.add([Row(1, "a", 1, 1, [b"x"], NO_IDS)])
    hot.keep_snapshot(a_snapshot("a", 1))
    assert hot.stream("a", 0, 9) is None
    assert hot.after(0, 9, "*") is None
    assert hot.after(1, 9, "*") == ([], 1)
    assert hot.snapshot("a") is None
