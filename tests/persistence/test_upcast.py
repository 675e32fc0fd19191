"""Events and snapshots of any age are read as what they mean today."""

from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.capability import Sealed
from mcp_interface.codec import decode_disk, encode_disk, fingerprint, to_external
from mcp_interface.errors import CallerMistaken, InvalidRecord
from mcp_interface.events import Event, SessionEnded
from mcp_interface.store import Snapshot
from mcp_persistence.upcast import EventCodec, Upcaster, Upcasters
from persistence.fixtures.contents import still_says
from persistence.fixtures.record_events import stored, tag_of
from persistence.fixtures.samples import AT, EVENTS

RECORD = "run `cd tests && python -m persistence.fixtures.record_events`"
ROWS = stored()
PRESENT = {tag_of(kind): kind for kind in get_args(Event)}


# -- our own events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", PRESENT)
def test_the_present_shape_of_each_event_is_recorded(tag):
    shapes = {row["fingerprint"] for row in ROWS if row["tag"] == tag}
    assert fingerprint(PRESENT[tag]) in shapes, f"{tag} has a new shape: {RECORD}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['tag']}-{row['fingerprint']}")
def test_what_was_ever_written_is_read_today_and_says_the_same(row):
    event = EventCodec().decode(bytes.fromhex(row["body"]))
    if row["tag"] in PRESENT:
        assert type(event) is PRESENT[row["tag"]]
        assert still_says(to_external(event), row["value"]), "a tag never changes meaning: add an upcaster"
    else:
        assert tag_of(type(event)) in PRESENT  # what it says now is the business of its upcaster's own test


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: tag_of(type(event)))
def test_the_newest_bytes_are_read_as_the_very_value_sealed_ones_included(event):
    rows = [row for row in ROWS if row["tag"] == tag_of(type(event))]
    body = bytes.fromhex(rows[-1]["body"])
    codec = EventCodec()
    assert codec.decode(body) == codec.decode(memoryview(body)) == codec.decode(msgspec.Raw(body)) == event
    assert codec.encode(event) == body == encode_disk(event)


def test_the_samples_give_every_field_of_every_event():
    assert {type(event) for event in EVENTS} == set(PRESENT.values())
    unset = [
        f"{tag_of(type(event))}.{field.name}"
        for event in EVENTS
        for field in msgspec.structs.fields(event)
        if not field.required and getattr(event, field.name) == default_of(field)
    ]
    assert unset == []


def default_of(field):
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def test_a_recorded_shape_is_never_taken_out_or_altered_unseen():
    told = [(row["tag"], row["fingerprint"]) for row in ROWS]
    assert len(told) == len(set(told))
    for row in ROWS:
        raw = decode_disk(bytes.fromhex(row["body"]), dict)
        assert raw["event"] == row["tag"] == row["value"]["event"]


# -- a chain of two, over real bytes ---------------------------------------------------------------------


class SaidFirst(msgspec.Struct, tag="note.said", tag_field="event"):
    timestamp: datetime
    text: str
    by: str
    seal: Sealed | None = None


class SaidSecond(msgspec.Struct, tag="note.said@2", tag_field="event"):
    timestamp: datetime
    text: str
    author: str
    seal: Sealed | None = None


class Said(msgspec.Struct, tag="note.said@3", tag_field="event"):
    timestamp: datetime
    author: str
    words: list[str]
    seal: Sealed | None = None


class Closed(msgspec.Struct, tag="note.closed", tag_field="event"):
    timestamp: datetime


class StateFirst(msgspec.Struct):
    texts: list[str]


class StateSecond(msgspec.Struct):
    notes: list[list[str]]


class State(msgspec.Struct):
    notes: list[list[str]]
    count: int


def rename_author(said):
    said["author"] = said.pop("by")
    return said


def split_text(said):
    assert said["author"] is not None  # the first step has been taken
    return {**said, "words": said.pop("text").split(" ")}


UPCASTERS = Upcasters(
    events={
        "note.said": Upcaster("note.said@2", rename_author),
        "note.said@2": Upcaster("note.said@3", split_text),
    },
    snapshots={
        "notes/1": Upcaster("notes/2", lambda old: {"notes": [text.split(" ") for text in old["texts"]]}),
        "notes/2": Upcaster(
            "notes/3", lambda old: {**old, "count": len(old["notes"])}, fingerprint=fingerprint(State)
        ),
    },
)
NOTES = EventCodec(Said | Closed, UPCASTERS)
TEXTS = st.text(max_size=30)
TIMES = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2), max_value=datetime(2999, 12, 30))
SEALS = st.none() | st.binary(max_size=8).map(Sealed)


@settings(max_examples=150, deadline=None)
@given(TIMES, TEXTS, TEXTS, SEALS)
def test_an_event_of_any_age_equals_the_one_made_today(at, text, author, seal):
    today = Said(at, author, text.split(" "), seal)
    for event in (SaidFirst(at, text, author, seal), SaidSecond(at, text, author, seal), today):
        body = encode_disk(event)
        assert NOTES.decode(body) == NOTES.decode(msgspec.Raw(body)) == today
        assert encode_disk(event) == body


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_a_snapshot_of_any_age_equals_the_one_taken_today(texts):
    notes = [text.split(" ") for text in texts]
    today = taken("notes/3", State(notes, len(notes)), fingerprint(State))
    old = taken("notes/1", StateFirst(texts), fingerprint(StateFirst))
    newer = taken("notes/2", StateSecond(notes))
    for snapshot in (old, newer, today):
        risen = NOTES.snapshot(snapshot)
        assert (risen.schema, risen.fingerprint) == ("notes/3", fingerprint(State))
        assert decode_disk(risen.state, State) == State(notes, len(notes))
        assert (risen.stream, risen.version, risen.taken_at) == (old.stream, old.version, old.taken_at)


def taken(schema, state, shape=""):
    return Snapshot(
        stream="notes", version=9, schema=schema, state=encode_disk(state), taken_at=AT, fingerprint=shape
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.data())
def test_the_steps_are_taken_each_once_and_in_order(length, data):
    class Walked(msgspec.Struct, tag=f"walk@{length}"):
        steps: list[int] = []

    def step(number):
        return Upcaster(f"walk@{number + 1}", lambda old: {"steps": [*old.get("steps", []), number]})

    codec = EventCodec(Walked, Upcasters({f"walk@{number}": step(number) for number in range(1, length)}))
    start = data.draw(st.integers(1, length))
    body = encode_disk({"type": f"walk@{start}"})
    assert codec.decode(body) == Walked(list(range(start, length)))


def test_a_snapshot_without_a_chain_is_left_as_it_is():
    for schema in ("notes/3", "notes/4", "other/1"):
        snapshot = taken(schema, State([], 0), "abc")
        assert NOTES.snapshot(snapshot) is snapshot


def test_an_upcaster_that_vouches_for_no_shape_leaves_the_snapshot_without_a_stamp():
    codec = EventCodec(Said, Upcasters(snapshots={"a/1": Upcaster("a/2", lambda old: old)}))
    assert codec.snapshot(taken("a/1", State([], 0), fingerprint(State))).fingerprint == ""


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (
            "note.said@4",
            r"newer than this version, which knows it up to @3 \(.*that wrote it, or a later one",
        ),
        ("note.closed@2", r"newer than this version, which knows it up to @1 \(.*a later one"),
        ("note.burnt", r"'note.burnt' is unknown to this version \(.*that wrote it, or a later one"),
        ("note.said@0", r"'note.said@0' is unknown to this version"),
        ("", "'' is unknown"),
        ("x" * 999, "'x{200}' is unknown"),
    ],
)
def test_an_unknown_tag_says_which_version_to_use(tag, said):
    with pytest.raises(InvalidRecord, match=said) as caught:
        NOTES.decode(encode_disk({"event": tag, "timestamp": AT}))
    assert caught.value.rule == "unknown_event"
    assert caught.value.details["tag"] == tag[:200]


def test_an_event_whose_upcaster_was_taken_out_asks_for_an_older_version():
    codec = EventCodec(Said, Upcasters({"note.said@2": UPCASTERS.events["note.said@2"]}))
    with pytest.raises(InvalidRecord, match=r"older than what this version can read \(.*older version"):
        codec.decode(encode_disk(SaidFirst(AT, "a", "b")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        encode_disk([1, 2]),
        encode_disk({}),
        encode_disk({"event": 7}),
        encode_disk(Closed(AT))[:-1],
        encode_disk(Closed(AT)) + b"\0",
        encode_disk({"event": "note.said@3", "timestamp": AT, "author": 1, "words": []}),
        b"\x91" * 100_000,
        b"\xa2\xff\xff",
    ],
)
def test_what_is_no_event_is_malformed(body):
    with pytest.raises(InvalidRecord, match="not a valid") as caught:
        NOTES.decode(body)
    assert caught.value.rule == "malformed"


def raising(_):
    raise KeyError("text")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (raising, "KeyError"),
        (lambda old: None, "NoneType, not a dict"),
        (lambda old: {**old, "words": object()}, "object cannot be encoded"),
    ],
)
def test_an_upcaster_that_fails_is_named(change, why):
    codec = EventCodec(
        Said,
        Upcasters({"note.said@2": Upcaster("note.said@3", change)}, {"a/1": Upcaster("a/2", change)}),
    )
    for work, said in (
        (
            lambda: codec.decode(encode_disk(SaidSecond(AT, "a", "b"))),
            f"'note.said@2' could not be read as 'note.said@3': .*{why}",
        ),
        (lambda: codec.snapshot(taken("a/1", State([], 0))), f"'a/1' could not be read as 'a/2': .*{why}"),
    ):
        with pytest.raises(InvalidRecord, match=said) as caught:
            work()
        assert caught.value.rule == "upcast_failed"


def test_an_upcaster_that_gives_no_event_is_named():
    codec = EventCodec(Said, Upcasters({"note.said@2": Upcaster("note.said@3", lambda old: old)}))
    with pytest.raises(
        InvalidRecord, match=r"'note.said@2' could not be read as 'note.said@3'.*`words`"
    ) as caught:
        codec.decode(encode_disk(SaidSecond(AT, "a", "b")))
    assert caught.value.rule == "upcast_failed"


@pytest.mark.parametrize("state", [b"", b"\xc1", encode_disk([1]), encode_disk(None)])
def test_a_state_that_is_no_map_of_fields_is_malformed(state):
    snapshot = msgspec.structs.replace(taken("notes/1", StateFirst([])), state=state)
    with pytest.raises(InvalidRecord) as caught:
        NOTES.snapshot(snapshot)
    assert caught.value.rule == "malformed"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"a": "a"}, "a -> a lead nowhere"),
        ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a lead nowhere"),
        ({"a": "b", "b": "c", "c": "b"}, "a -> b -> c -> b lead nowhere"),
        ({"a": ""}, r"a -> \(no name\)"),
    ],
)
def test_a_chain_without_an_end_is_refused_when_it_is_made(steps, said):
    made = {name: Upcaster(into, dict) for name, into in steps.items()}
    for where in ("events", "snapshots"):
        with pytest.raises(CallerMistaken, match=said):
            Upcasters(**{where: made})


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdefg")))
def test_chains_are_made_exactly_when_each_one_ends(steps):
    ends = all(len(walk(name, steps)) <= len(steps) for name in steps)
    made = {name: Upcaster(into, dict) for name, into in steps.items()}
    try:
        Upcasters(made)
    except CallerMistaken:
        assert not ends
    else:
        assert ends


def walk(name, steps):
    taken_steps = []
    while name in steps and len(taken_steps) <= len(steps):
        taken_steps.append(name := steps[name])
    return taken_steps


def test_a_chain_must_end_at_a_present_event_and_begin_at_none():
    with pytest.raises(CallerMistaken, match=r"from 'a' end at 'c', which is no present event"):
        EventCodec(Closed, Upcasters({"a": Upcaster("b", dict), "b": Upcaster("c", dict)}))
    with pytest.raises(CallerMistaken, match=r"'note.said@3', which is a present event"):
        EventCodec(Said | Closed, Upcasters({"note.said@3": Upcaster("note.closed", dict)}))


class Untagged(msgspec.Struct):
    x: int = 0


class Numbered(msgspec.Struct, tag=7, tag_field="event"):
    x: int = 0


class Otherwise(msgspec.Struct, tag="other", tag_field="kind"):
    x: int = 0


@pytest.mark.parametrize(
    "kind", [Untagged, Untagged | Said, Numbered, Said | Otherwise, int, dict, Said | None]
)
def test_events_without_a_tag_are_refused(kind):
    with pytest.raises(CallerMistaken, match="has no tag"):
        EventCodec(kind)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["event", "timestamp", "text", "by", "author", "words"]),
        st.sampled_from(["note.said", "note.said@2", "note.said@3", AT, None, 7, ["a"]]),
    ).map(encode_disk)
)
def test_bytes_from_a_stranger_are_read_or_refused(body):
    try:
        event = NOTES.decode(body)
    except InvalidRecord as error:
        assert error.rule in ("malformed", "unknown_event", "upcast_failed")
    else:
        assert type(event) in (Said, Closed)


def test_umbrellas_own_chains_are_for_umbrellas_own_events_only():
    assert EventCodec().decode(encode_disk(SessionEnded(timestamp=AT))) == SessionEnded(timestamp=AT)
    EventCodec(Closed)
