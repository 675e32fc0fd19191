import json

import pytest

from mcp_core.agents.choice import FIND_TOOLS, IN_REACH, Choice
from mcp_interface.errors import CallerMistaken
from mcp_interface.provider import ChatMessage, ToolOutput, ToolUse
from mcp_interface.tool import ToolInfo

MANY = [
    ToolInfo(server="bulk", name=f"tool_{number}", description=f"does thing number {number} " + "x" * 500)
    for number in range(300)
]


def _searched(answer: str, use: str = "u1") -> list[ChatMessage]:
    asked = ToolUse(id=use, name=FIND_TOOLS, arguments={"query": "x"})
    output = ToolOutput(tool_use_id=use, text=answer)
    return [ChatMessage(role="assistant", tool_uses=[asked]), ChatMessage(role="tool", tool_outputs=[output])]


def _names(choice: Choice, window: list[ChatMessage]) -> list[str]:
    return [schema.name for schema in choice.shown(window)]


def test_a_few_tools_are_all_shown() -> None:
    assert _names(Choice(MANY[:20]), []) == [f"bulk__tool_{number}" for number in range(20)]


def test_of_many_only_the_search_is_shown_at_first() -> None:
    assert _names(Choice(MANY), []) == [FIND_TOOLS]


def test_what_was_found_is_shown_from_then_on() -> None:
    choice = Choice(MANY)
    answer = choice.find({"query": "thing number 17"})
    assert json.loads(answer)["tools"][0]["name"] == "bulk__tool_17"
    assert json.loads(answer)["of"] == 300
    shown = _names(choice, _searched(answer))
    assert shown[0] == FIND_TOOLS
    assert "bulk__tool_17" in shown


def test_what_was_used_stays_in_reach() -> None:
    used = ChatMessage(role="assistant", tool_uses=[ToolUse(id="u", name="bulk__tool_5", arguments={})])
    assert _names(Choice(MANY), [used]) == [FIND_TOOLS, "bulk__tool_5"]


def test_only_the_answers_of_searches_bring_tools_into_reach() -> None:
    answer = json.dumps({"tools": [{"name": "bulk__tool_9"}]})
    foreign = _searched(answer)
    foreign[0] = ChatMessage(
        role="assistant", tool_uses=[ToolUse(id="u1", name="bulk__tool_1", arguments={})]
    )
    assert _names(Choice(MANY), foreign) == [FIND_TOOLS, "bulk__tool_1"]


@pytest.mark.parametrize("answer", ["", "not JSON", "[]", '{"tools": [1]}', '{"tools": [{"nam'])
def test_an_answer_that_cannot_be_read_brings_nothing(answer: str) -> None:
    assert _names(Choice(MANY), _searched(answer)) == [FIND_TOOLS]


def test_the_latest_are_in_reach_when_there_are_too_many() -> None:
    said: list[ChatMessage] = []
    for number in range(100):
        answer = json.dumps({"tools": [{"name": f"bulk__tool_{number}"}]})
        said += _searched(answer, f"u{number}")
    shown = _names(Choice(MANY), said)
    assert len(shown) <= IN_REACH + 1
    assert "bulk__tool_99" in shown
    assert "bulk__tool_3" not in shown


@pytest.mark.parametrize("arguments", [{}, {"query": ""}, {"query": "  "}, {"query": 3}])
def test_a_search_for_nothing_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(CallerMistaken, match="query"):
        Choice(MANY).find(arguments)
