"""Tools by name, and lists by page."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.gateway.handlers.paging import page_behind, page_of, position_of
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.runtime.breaker import Breakers
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.server import ServerStatus
from mcp_interface.testing import CountWords, ManualClock
from mcp_interface.tool import ToolInfo


class OneServer:
    """A host that knows one server without tools."""

    def statuses(self) -> list[ServerStatus]:
        return [ServerStatus(name="git", state="ready")]

    def tools(self, server: str | None = None) -> list[ToolInfo]:
        return []


@pytest.mark.parametrize(
    ("server", "tool", "remedy"),
    [
        ("gitt", "x", "did you mean 'git'?"),
        ("elsewhere", "x", "there is 'stub', 'git'"),
        ("stub", "count_word", "did you mean 'count_words'?"),
        ("stub", "fly", "there is 'count_words'"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(server: str, tool: str, remedy: str) -> None:
    toolbox = Toolbox(OneServer(), {"stub": [CountWords()]}, Breakers(ManualClock()))  # type: ignore[arg-type]
    with pytest.raises(NotFound) as caught:
        asyncio.run(toolbox.find(server, tool, 1.0))
    assert caught.value.remedy == remedy


@pytest.mark.parametrize("cursor", ["", "²", "٣", "-1", "1.0", " 1", "1_0", "9" * 19, "9" * 5000])
def test_a_cursor_that_is_not_ours_is_the_callers_mistake(cursor: str) -> None:
    with pytest.raises(CallerMistaken, match="cursor"):
        position_of(cursor)


@given(st.lists(st.integers()), st.integers(1, 10))
def test_pages_put_together_are_the_list(items: list[int], limit: int) -> None:
    page = page_of(items, limit, None)
    found = page.items
    while page.cursor is not None:
        page = page_of(items, limit, page.cursor)
        found = found + page.items
    assert found == items


@pytest.mark.parametrize("cursor", ["", "1", ".x", "²1.x", "-1.x", "1 .x", "9" * 19 + ".x", "made up"])
def test_a_place_that_is_not_ours_is_the_callers_mistake(cursor: str) -> None:
    with pytest.raises(CallerMistaken, match="cursor"):
        page_behind([(1, "x")], lambda item: item, 1, cursor)


@given(
    st.sets(st.tuples(st.integers(0, 5), st.sampled_from("abcd")), min_size=1),
    st.integers(1, 4),
    st.booleans(),
    st.data(),
)
def test_what_is_there_all_the_time_is_on_one_page_whatever_comes_and_goes(
    items: set[tuple[int, str]], limit: int, falling: bool, data: st.DataObject
) -> None:
    stays = data.draw(st.sets(st.sampled_from(sorted(items))))
    found: list[tuple[int, str]] = []
    cursor, present = None, items
    while True:
        page = page_behind(
            sorted(present, reverse=falling), lambda item: item, limit, cursor, falling=falling
        )
        found += page.items
        if (cursor := page.cursor) is None:
            break
        present = stays | data.draw(st.sets(st.sampled_from(sorted(items))))
    assert len(found) == len(set(found)) and stays <= set(found)
