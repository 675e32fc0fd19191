"""Whatever a database gives back becomes JSON data, within bounds."""

import json
import math
import uuid
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_security.validators.rows import MAX_SAFE, Collector, as_json

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.uuids(),
    st.dates(), st.datetimes(), st.times(), st.timedeltas(),
)  # fmt: skip
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(VALUES)
def test_every_value_becomes_json_that_survives_a_reader_of_doubles(value: Any) -> None:
    plain = as_json(value)
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text) == plain
    assert not isinstance(plain, int) or abs(plain) <= MAX_SAFE


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-MAX_SAFE, MAX_SAFE),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_what_json_can_say_stays_as_it_is(value: Any) -> None:
    assert as_json(value) is value


def test_what_json_cannot_say_is_told_as_text() -> None:
    assert as_json(b"\x00\xff") == {"base64": "AP8="}
    assert as_json([Decimal("1.50"), uuid.UUID(int=1), math.inf, 2**60, "\ud800"]) == [
        "1.50", "00000000-0000-0000-0000-000000000001", "inf", "1152921504606846976", "?",
    ]  # fmt: skip


def test_data_that_is_nested_without_end_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    json.dumps(as_json(deep))


@given(
    st.lists(st.tuples(st.text(max_size=5), st.integers()), max_size=20),
    st.integers(0, 10),
    st.integers(0, 200),
)
def test_no_bound_is_exceeded_and_a_cut_is_told(rows: list[Any], max_rows: int, max_bytes: int) -> None:
    collector = Collector(["a", "b"], max_rows, max_bytes)
    kept = [row for row in rows if collector.take(row)]
    found = collector.rows()
    assert len(found.rows) == len(kept) <= max_rows
    assert (
        sum(len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) for row in found.rows)
        <= max_bytes
    )
    assert found.truncated == (len(kept) < len(rows))
    assert found.rows == [as_json(row) for row in rows[: len(kept)]]
