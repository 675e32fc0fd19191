"""Laws of the names that a model sees."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.providers import ToolNames
from mcp_interface.errors import NotFound
from mcp_interface.tool import ToolInfo

WORD = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="ab_-.", max_size=8),  # small enough to collide
    st.sampled_from(["a", "a_", "a__b", "__", "_", "b", "read", "lese datei", "工具"]),
)
PAIRS = st.lists(st.tuples(WORD, WORD), max_size=12)


def names_of(pairs: list[tuple[str, str]]) -> ToolNames:
    return ToolNames(ToolInfo(server=server, name=tool) for server, tool in pairs)


@given(PAIRS)
def test_every_pair_has_a_legal_name_that_leads_back_to_it(pairs: list[tuple[str, str]]) -> None:
    table = names_of(pairs)
    for server, tool in pairs:
        name = table.name(server, tool)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
        assert table.resolve(name) == (server, tool)


@given(PAIRS)
def test_no_two_pairs_share_a_name(pairs: list[tuple[str, str]]) -> None:
    table = names_of(pairs)
    assert len({table.name(*pair) for pair in pairs}) == len(set(pairs))
    assert len(table.schemas()) == len(set(pairs))


@given(PAIRS, st.tuples(WORD, WORD))
def test_a_name_does_not_depend_on_what_else_is_offered(
    pairs: list[tuple[str, str]], pair: tuple[str, str]
) -> None:
    assert names_of([*pairs, pair]).name(*pair) == names_of([pair]).name(*pair)


def test_an_ordinary_pair_stays_readable() -> None:
    assert names_of([("git", "git_log")]).name("git", "git_log") == "git__git_log"


def test_a_tool_cannot_take_the_name_that_another_pair_gets_by_digest() -> None:
    taken = names_of([("my server", "read")]).name("my server", "read")
    server, _, tool = taken.partition("__")
    table = names_of([("my server", "read"), (server, tool)])
    assert table.name("my server", "read") == taken
    assert table.name(server, tool) != taken


def test_a_name_that_the_model_made_up_is_not_found() -> None:
    with pytest.raises(NotFound, match="no tool is called 'fs__delete'"):
        names_of([("fs", "read")]).resolve("fs__delete")
    with pytest.raises(NotFound, match="not offered"):
        names_of([("fs", "read")]).name("fs", "delete")


def test_a_schema_always_spells_out_an_object_and_a_description() -> None:
    bare, full = ToolNames(
        [
            ToolInfo(server="s", name="bare"),
            ToolInfo(server="s", name="full", description="Reads.", parameters={"properties": {"a": {}}}),
        ]
    ).schemas()
    assert (bare.description, bare.parameters) == ("bare", {"type": "object", "properties": {}})
    assert (full.description, full.parameters) == ("Reads.", {"type": "object", "properties": {"a": {}}})
