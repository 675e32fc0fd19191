"""Traces are W3C's: what is read is written the same, what is doubtful is refused."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import TraceId, is_id
from mcp_interface.testing import SeededEntropy
from mcp_interface.testing.samples import an_envelope
from mcp_interface.trace import (
    Trace,
    begin_trace,
    current_trace,
    current_trace_id,
    current_traceparent,
    format_traceparent,
    parse_traceparent,
    tracing,
)

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{SPAN}-01"


def hexes(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).filter(any).map(bytes.hex)


@given(hexes(16), hexes(8), st.booleans())
def test_what_is_written_is_read_as_the_same_place(trace: str, span: str, sampled: bool) -> None:
    place = Trace(id=TraceId(f"trace_{trace}"), span=span, sampled=sampled)
    assert parse_traceparent(format_traceparent(place)) == place


@given(
    st.text(max_size=60)
    | st.from_regex(r"[0-9a-g]{2}-[0-9a-g]{32}-[0-9a-g]{16}-[0-9a-g]{2}-?.*", fullmatch=True)
)
def test_whatever_comes_is_read_or_refused_by_type_and_what_is_read_is_sound(text: str) -> None:
    try:
        place = parse_traceparent(text)
    except InvalidRecord as error:
        assert error.rule == "invalid_traceparent" and error.remedy
    else:
        assert is_id("trace", place.id)
        assert format_traceparent(place).split("-")[1:3] == text.split("-")[1:3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE_ID,
        GIVEN.upper(),
        GIVEN + "-more",
        "ff" + GIVEN[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f" {GIVEN}",
        f"{GIVEN}\n",
        f"01-{TRACE_ID}-{SPAN}-01more",
        f"01-{TRACE_ID}-{SPAN}-01-" + "x" * 500,
    ],
)
def test_a_doubtful_traceparent_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match="traceparent"):
        parse_traceparent(text)


def test_a_later_version_is_read_as_far_as_it_is_known_and_only_one_flag_counts() -> None:
    assert parse_traceparent(f"01-{TRACE_ID}-{SPAN}-01-what-comes").id == f"trace_{TRACE_ID}"
    assert parse_traceparent(f"00-{TRACE_ID}-{SPAN}-ff").sampled
    assert not parse_traceparent(f"00-{TRACE_ID}-{SPAN}-fe").sampled


@pytest.mark.parametrize(
    "place",
    [
        Trace(id=TraceId("trace_456789"), span=SPAN),
        Trace(id=TraceId(f"trace_{TRACE_ID}"), span=""),
        Trace(id=TraceId(f"trace_{'0' * 32}"), span=SPAN),
        Trace(id=TraceId(f"trace_{TRACE_ID}"), span="0" * 16),
    ],
)
def test_what_is_not_w3cs_is_not_written(place: Trace) -> None:
    with pytest.raises(InvalidRecord, match="traceparent"):
        format_traceparent(place)


def test_a_span_below_another_stays_in_its_trace_and_a_first_one_begins_a_trace() -> None:
    entropy = SeededEntropy()
    root = begin_trace(entropy)
    assert root.parent == "" and root.sampled and parse_traceparent(format_traceparent(root)).id == root.id
    unsampled = parse_traceparent(f"00-{TRACE_ID}-{SPAN}-00")
    below = begin_trace(entropy, unsampled)
    assert (below.id, below.parent, below.sampled) == (unsampled.id, SPAN, False)
    assert below.span not in {SPAN, root.span}


def test_the_present_trace_holds_for_a_block_and_for_what_is_started_in_it() -> None:
    outer, inner = parse_traceparent(GIVEN), begin_trace(SeededEntropy())

    async def seen() -> TraceId | None:
        return current_trace_id()

    async def scenario() -> None:
        assert current_trace() is None and current_traceparent() is None
        with tracing(outer):
            task = asyncio.create_task(seen())
            assert current_traceparent() == GIVEN
            with pytest.raises(KeyError), tracing(inner):
                assert current_trace() == inner
                raise KeyError
            with tracing(None):
                assert current_trace() is None
            assert current_trace() == outer
        assert current_trace() is None
        assert await task == outer.id

    asyncio.run(scenario())


def test_an_envelope_carries_a_place_across_a_mailbox() -> None:
    envelope = an_envelope("hello")
    assert envelope.trace is None
    place = parse_traceparent(GIVEN)
    assert envelope.within(place).trace == place
    unsampled = msgspec.structs.replace(place, sampled=False)
    carried = envelope.within(unsampled)
    assert carried.trace == msgspec.structs.replace(unsampled, span=""), (
        "nobody needs the span of what is not recorded"
    )
    with tracing(carried.trace):
        assert current_trace_id() == place.id and current_traceparent() is None
