"""What is shown and weighed of a message, whatever it is."""

import dataclasses
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.runtime.outline import PARTS, SHOWN, outline, weigh
from mcp_interface.capability import Sealed

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.sets(st.integers())
    ),
    max_leaves=50,
)


class Note(msgspec.Struct):
    title: str
    body: Any = None


class Login(msgspec.Struct):
    name: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.name})"


@dataclasses.dataclass
class Card:
    number: str
    pin: str = dataclasses.field(repr=False)


class Call(NamedTuple):
    path: str
    args: tuple[Any, ...]


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Endless:
    def __init__(self) -> None:
        self.me = self


@given(value=VALUES)
def test_any_message_has_a_short_outline_and_a_weight(value: Any) -> None:
    assert 0 < len(outline(value)) <= SHOWN
    assert 0 < weigh(value, 1 << 40) <= (1 << 40) + 1
    assert weigh(value, 8) == 9


@given(secret=st.text(alphabet="0123456789", min_size=41, max_size=3000))
def test_a_long_text_is_never_shown_whole(secret: str) -> None:
    for message in (secret, [secret], {"key": secret}, Note("x", secret), Call("x", (secret,))):
        assert secret not in outline(message)


def test_an_outline_tells_what_a_message_is() -> None:
    assert outline({"do": "add", "n": 1}) == "{'do': 'add', 'n': 1}"
    assert outline(Note("a", [1, 2, 3, 4, 5, 6])) == "Note(title='a', body=[1, 2, 3, 4, ...])"
    assert outline(Call("run", (1,))) == "Call(path='run', args=(1,))"
    assert outline(b"secret") == "<6 bytes>"
    assert outline(dict.fromkeys(range(1_000_000), 0)) == "<dict of 1000000>"


def test_what_hides_itself_stays_hidden() -> None:
    assert outline(Login("ann", "hunter2")) == "<Login>"
    assert outline(Card("1234", "9876")) == "Card(number='1234')"
    assert "s3cret" not in outline([Sealed(b"s3cret")])
    assert outline(Rude()) == "<Rude>"


def test_the_weight_grows_with_what_is_held() -> None:
    assert weigh("x" * 10_000, 1 << 30) > 10_000
    assert weigh(Note("x", {"a": ["y" * 5_000]}), 1 << 30) > 5_000
    assert weigh(Endless(), 1 << 30) < 1_000
    shared = "x" * 1000
    assert weigh([shared] * 50, 1 << 30) < 3_000, "what is there once counts once"


def test_a_message_of_too_many_parts_is_too_heavy_without_being_walked_through() -> None:
    assert weigh(list(range(PARTS + 1)), 1 << 30) == (1 << 30) + 1
    assert weigh({number: number for number in range(PARTS * 1000)}, 1 << 30) == (1 << 30) + 1
