"""Laws of the fingerprints."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_persistence.sqlite.integrity import ZERO, digest, toggle

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary()
ROWS = st.lists(st.lists(VALUES, max_size=4).map(tuple), max_size=6)


@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_rows_that_differ_in_value_type_or_border_have_different_digests(one, other):
    same = [(type(value), value) for value in one] == [(type(value), value) for value in other]
    assert (digest(*one) == digest(*other)) == same


@given(ROWS, st.randoms())
def test_a_sum_forgets_the_order_and_what_was_taken_out_again(rows, chance):
    total = ZERO
    for row in rows:
        total = toggle(total, digest(*row))
    shuffled = list(rows)
    chance.shuffle(shuffled)
    for row in shuffled:
        total = toggle(total, digest(*row))
    assert total == ZERO
