"""Laws of ids, addresses, resources and errors."""

import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcp_interface import (
    CODES,
    OPERATIONS,
    PREFIXES,
    ErrorBody,
    InvalidAddress,
    InvalidRecord,
    UmbrellaError,
    decode_json,
    encode_json,
    error_from,
    is_id,
    is_principal,
    new_id,
    parse_address,
    parse_resource,
    resource,
    tool_resource,
)
from mcp_interface.testing import SeededEntropy

SEGMENTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."} and "**" not in part)
KINDS = st.sampled_from([(kind, operation) for kind in OPERATIONS for operation in sorted(OPERATIONS[kind])])
ENDS = st.sampled_from(["", "/", "/**", "/*"])


@given(KINDS, st.lists(SEGMENTS, min_size=1, max_size=6), ENDS)
def test_a_resource_and_its_text_are_the_same(kind: tuple[str, str], parts: list[str], end: str) -> None:
    uri = f"mcp://{kind[0]}/{kind[1]}/{'/'.join(parts)}{end}"
    found = parse_resource(uri)
    assert found.uri == uri
    assert parse_resource(found.uri) == found
    assert resource(found.type, found.operation, found.path) == found
    assert found.segments == (*parts, *([end[1:]] if end[1:] else []))


@given(
    KINDS,
    st.lists(SEGMENTS, max_size=3),
    st.sampled_from([".", "..", "", "a\x00", "\n", "\x1f", "\x7f", "\ud800", "**x", "a**"]),
    st.lists(SEGMENTS, min_size=1, max_size=3),
)
def test_a_second_spelling_is_refused(
    kind: tuple[str, str], before: list[str], odd: str, after: list[str]
) -> None:
    assume(before or odd)  # one leading slash is how an absolute path may be written
    with pytest.raises(InvalidAddress):
        parse_resource(f"mcp://{kind[0]}/{kind[1]}/{'/'.join([*before, odd, *after])}")


@given(st.text(max_size=40) | st.text(max_size=20).map("mcp://fs/read/{}".format))
def test_any_text_is_an_exact_resource_or_refused(text: str) -> None:
    try:
        found = parse_resource(text)
    except InvalidAddress:
        return
    assert found.uri in {text, text.replace("//", "/").replace("mcp:/", "mcp://")}


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_every_tool_has_a_resource_of_its_own(server: str, tool: str) -> None:
    assume({server, tool}.isdisjoint({".", ".."}))
    made = tool_resource(server, tool)
    assert parse_resource(made.uri) == made
    assert len(made.segments) == 2
    assert not made.is_pattern


@given(
    st.sampled_from(["agent", "broadcast"]),
    st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=40),
)
def test_an_address_and_its_text_are_the_same(kind: str, name: str) -> None:
    found = parse_address(f"mcp://{kind}/{name}")
    assert (found.kind, found.name, found.uri) == (kind, name, f"mcp://{kind}/{name}")


@given(st.sampled_from(PREFIXES), st.integers())
def test_a_new_id_is_an_id_of_its_prefix_only(prefix: str, seed: int) -> None:
    made = new_id(prefix, SeededEntropy(seed))
    assert len(made) == len(prefix) + 33
    assert [other for other in PREFIXES if is_id(other, made)] == [prefix]
    assert is_principal(made) == (prefix in {"agent", "user"})
    for broken in (made[:-1], made + "0", made.upper(), f" {made}", f"{made}\n"):
        assert not is_id(prefix, broken)


@given(st.text().filter(lambda text: text not in PREFIXES))
def test_an_unknown_prefix_makes_no_id(prefix: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        new_id(prefix, SeededEntropy())
    assert caught.value.rule == "unknown_id_prefix"
    assert not is_principal(prefix) or prefix == "system"


DETAILS = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key != "rule"), st.none() | st.integers(0, 9)
)


@given(st.sampled_from(sorted(CODES)), st.text(), st.text(), DETAILS, st.text())
def test_every_error_survives_the_wire(
    code: str, message: str, remedy: str, details: dict[str, Any], rule: str
) -> None:
    kind = CODES[code]
    error: UmbrellaError
    if issubclass(kind, InvalidRecord):
        error = kind(rule, message, remedy, details)
    else:
        error = kind(message, remedy, details)
    body: ErrorBody = decode_json(encode_json(error.body()), ErrorBody)
    back = error_from(body)
    assert type(back) is kind
    assert (back.message, back.remedy, back.details) == (message, remedy, error.details)
    assert back.body() == body
    assert str(back) == str(error)


@given(st.text().filter(lambda code: code not in CODES), st.text())
def test_an_error_of_a_newer_node_is_still_an_error(code: str, message: str) -> None:
    back = error_from(ErrorBody(code=code, message=message))
    assert type(back) is UmbrellaError
    assert back.message == message
