import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.tools.index import search_tools
from mcp_interface.tool import ToolInfo


def _tool(name: str, server: str = "code", description: str = "", **properties: dict[str, Any]) -> ToolInfo:
    parameters = {"type": "object", "properties": properties}
    return ToolInfo(server=server, name=name, description=description, parameters=parameters)


SHELF = [
    _tool("createPullRequest", "forge", "Open a pull request from a branch"),
    _tool("list_pull_requests", "forge", "All pull requests of a repository"),
    _tool("get_weather", "sky", "Forecast for a place", unit={"enum": ["celsius", "fahrenheit"]}),
    _tool(
        "query", "db", "Run SQL", statement={"type": "string", "description": "A SELECT over the invoices"}
    ),
    _tool("merge", "forge", "Merge what was reviewed"),
]


def _names(query: str, limit: int = 10) -> list[str]:
    return [tool.name for tool in search_tools(SHELF, query, limit)]


def test_a_word_in_the_name_counts_more_than_one_in_the_description() -> None:
    assert _names("merge request")[0] == "merge"
    assert set(_names("pull request")) == {"createPullRequest", "list_pull_requests"}
    assert _names("list pull requests")[0] == "list_pull_requests"


def test_names_are_found_by_their_parts_and_words_in_any_form() -> None:
    assert _names("creating pulls")[0] == "createPullRequest"
    assert _names("forecasts") == ["get_weather"]
    assert _names("weath") == ["get_weather"]


def test_what_only_the_schema_says_is_found() -> None:
    assert _names("fahrenheit") == ["get_weather"]
    assert _names("invoices") == ["query"]
    assert _names("statement") == ["query"]


def test_nothing_matches_nothing() -> None:
    assert _names("") == _names("  ?! ") == _names("zeppelin") == []


def test_as_many_as_wanted() -> None:
    assert len(_names("forge", 2)) == 2
    assert len(_names("forge")) == 3


@given(
    query=st.text(max_size=60),
    names=st.lists(st.text(min_size=1, max_size=20), max_size=8),
    limit=st.integers(1, 5),
)
def test_whatever_is_asked_of_whatever_tools_is_answered(query: str, names: list[str], limit: int) -> None:
    tools = [_tool(name, description=name[::-1]) for name in names]
    found = search_tools(tools, query, limit)
    assert len(found) <= limit
    assert all(any(each is tool for tool in tools) for each in found)


@given(
    st.lists(st.text(string.ascii_lowercase, min_size=3, max_size=12), min_size=1, max_size=30, unique=True)
)
def test_every_tool_is_found_by_its_whole_name(names: list[str]) -> None:
    tools = [_tool(name) for name in names]
    for tool in tools:
        assert tool in search_tools(tools, tool.name, len(tools))


def test_a_schema_that_is_nested_for_ever_ends() -> None:
    schema: dict[str, Any] = {"description": "abyss"}
    for _ in range(500):
        schema = {"properties": {"deeper": schema}}
    deep = ToolInfo(server="s", name="deep", parameters=schema)
    assert search_tools([deep], "deeper", 1) == [deep]
    assert search_tools([deep], "abyss", 1) == []
