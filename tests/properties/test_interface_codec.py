"""Whatever a contract struct can hold survives the journal and the wire unchanged."""

import types
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import mcp_interface
from mcp_interface import (
    AnyCommand,
    Ask,
    Capability,
    ClientFrame,
    Event,
    Facts,
    Grant,
    Need,
    NodeFrame,
    Ok,
    Page,
    Record,
    Registered,
    Reply,
    Resource,
    Result,
    Sealed,
    Session,
    Stop,
    TelemetryEvent,
    ToolContext,
    decode_disk,
    decode_json,
    encode_disk,
    encode_json,
    from_external,
    to_external,
)

Medium = Literal["disk", "json"]
NEVER_TRAVEL = (Ask, Facts, Grant, Need, Ok, Registered, Reply, Stop, TelemetryEvent, ToolContext)
"""They hold a secret, a reference, a function or an agent's own state, and stay in their process."""

BASES = ("Command", "EventBase", "Page")
STRUCTS = [
    found
    for name in mcp_interface.__all__
    if isinstance(found := getattr(mcp_interface, name), type)
    and issubclass(found, msgspec.Struct)
    and found not in NEVER_TRAVEL
    and name not in BASES
]
KINDS: list[Any] = [*STRUCTS, Page[Session], Page[Record], Page[Capability]]
UNIONS = {"event": Event, "command": AnyCommand, "client": ClientFrame, "node": NodeFrame}

WHOLE = st.integers(min_value=-(2**63), max_value=2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
PLAIN = st.recursive(
    st.none() | st.booleans() | WHOLE | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SIMPLE: dict[Any, SearchStrategy[Any]] = {
    Any: PLAIN,
    str: st.text(max_size=20),
    int: WHOLE,
    float: NUMBERS,
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    datetime: TIMES,
    timedelta: st.timedeltas(min_value=timedelta(days=-9999), max_value=timedelta(days=9999)),
    type(None): st.none(),
    Resource: st.builds(
        Resource, st.just("fs"), st.just("read"), st.sampled_from(["a", "a/b/", "**", "é/*"])
    ),
}


@cache
def values(kind: Any, medium: Medium) -> SearchStrategy[Any]:
    """Everything that a type allows, as far as the medium can carry it."""
    if isinstance(kind, NewType):
        return values(kind.__supertype__, medium)
    if kind in SIMPLE:
        return SIMPLE[kind]
    if kind is Sealed:
        return st.binary(max_size=20).map(Sealed) if medium == "disk" else st.nothing()
    if kind is msgspec.Raw:
        encode = encode_disk if medium == "disk" else encode_json
        return PLAIN.map(lambda value: msgspec.Raw(encode(value)))
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if get_origin(args[0]) is list:
            least = args[1].min_length or 0
            return st.lists(values(get_args(args[0])[0], medium), min_size=least, max_size=2)
        return bounded(args[0], args[1])
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(arg, medium) for arg in args))
    if origin in (list, Sequence):
        # later: a struct may hold more of its own kind
        return st.lists(st.deferred(lambda: values(args[0], medium)), max_size=2)
    if origin is dict:
        return st.dictionaries(values(args[0], medium), values(args[1], medium), max_size=2)
    fields = {field.name: values(field.type, medium) for field in msgspec.structs.fields(kind)}
    return st.builds(origin or kind, **fields)


def bounded(kind: Any, meta: msgspec.Meta) -> SearchStrategy[Any]:
    if kind is datetime:
        return TIMES
    if kind is str and meta.pattern is not None:
        return st.from_regex(meta.pattern, fullmatch=True).filter(lambda text: len(text) <= 200)
    if kind is str:
        return st.text(min_size=meta.min_length or 0, max_size=30)
    if kind is float:
        low = meta.ge if meta.gt is None else meta.gt
        high = 1e12 if meta.le is None else meta.le
        return st.floats(min_value=low, exclude_min=meta.gt is not None, max_value=high)
    return st.integers(min_value=meta.ge, max_value=meta.le or 2**53)


def test_all_kinds_are_examined() -> None:
    members = {member for union in UNIONS.values() for member in get_args(union)}
    assert members <= set(STRUCTS)
    assert len(STRUCTS) > 90


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_disk_keeps_everything(kind: Any) -> None:
    @settings(max_examples=20, deadline=None)
    @given(values(kind, "disk"))
    def survives(value: Any) -> None:
        assert decode_disk(encode_disk(value), kind) == value

    survives()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_wire_keeps_everything(kind: Any) -> None:
    @settings(max_examples=20, deadline=None)
    @given(values(kind, "json"))
    def survives(value: Any) -> None:
        text = encode_json(value)
        assert b"\n" not in text, "a frame is one line"
        assert decode_json(text, kind) == value
        if kind is not Result:
            assert from_external(to_external(value), kind) == value
            assert from_external(decode_json(text, Any), kind) == value, "both ways out are the same"

    survives()


@pytest.mark.parametrize("name", UNIONS)
@pytest.mark.parametrize("medium", ["disk", "json"])
def test_a_tag_finds_its_struct(name: str, medium: Medium) -> None:
    encode, decode = (encode_disk, decode_disk) if medium == "disk" else (encode_json, decode_json)

    @settings(max_examples=100, deadline=None)
    @given(values(UNIONS[name], medium))
    def survives(value: Any) -> None:
        back: Any = decode(encode(value), UNIONS[name])
        assert back == value
        assert type(back) is type(value)

    survives()


@settings(max_examples=50, deadline=None)
@given(values(Capability, "disk"))
def test_only_the_signature_stays_out_of_json(capability: Capability) -> None:
    unsigned = msgspec.structs.replace(capability, signature=None)
    assert decode_json(encode_json(capability), Capability) == unsigned
    assert from_external(to_external(capability), Capability) == unsigned


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | PLAIN.map(encode_json), st.sampled_from(sorted(UNIONS)))
def test_bytes_from_a_stranger_are_read_or_refused(data: bytes, name: str) -> None:
    for decode in (decode_json, decode_disk):
        try:
            decode(data, UNIONS[name])
        except mcp_interface.InvalidRecord as error:
            assert error.rule == "malformed"
