"""One conversation, written in both vendors' formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.providers import anthropic_format, openai_format
from mcp_interface.provider import ChatMessage, Completion, ToolOutput, ToolSchema, ToolUse

CONVERSATION = [
    ChatMessage(role="user", text="Read both."),
    ChatMessage(
        role="assistant",
        text="I shall.",
        tool_uses=[
            ToolUse(id="c:1", name="read", arguments={"path": "/a"}),
            ToolUse(id="c2", name="read", arguments={}),
        ],
    ),
    ChatMessage(
        role="tool",
        tool_outputs=[
            ToolOutput(tool_use_id="c:1", text="alpha"),
            ToolOutput(tool_use_id="c2", text="no such file", is_error=True),
        ],
    ),
    ChatMessage(role="user", text="And?"),
    ChatMessage(role="assistant", text=""),
    ChatMessage(role="user", text="Hello?"),
]
TOOL = ToolSchema(name="read", description="Reads.", parameters={"type": "object", "properties": {}})

KEPT = {"cache_control": {"type": "ephemeral"}}


def test_openai_gets_each_result_as_a_message_and_errors_marked_in_the_text() -> None:
    completion = Completion(model="", system="Be brief.", messages=CONVERSATION, tools=[TOOL], max_tokens=7)
    body = openai_format.request(completion, "gpt", modern=False)
    call = {"type": "function", "function": {"name": "read", "arguments": '{"path":"/a"}'}}
    other = {"type": "function", "function": {"name": "read", "arguments": "{}"}}
    assert body == {
        "model": "gpt",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Read both."},
            {
                "role": "assistant",
                "content": "I shall.",
                "tool_calls": [{"id": "c:1", **call}, {"id": "c2", **other}],
            },
            {"role": "tool", "tool_call_id": "c:1", "content": "alpha"},
            {"role": "tool", "tool_call_id": "c2", "content": "Error: no such file"},
            {"role": "user", "content": "And?"},
            {"role": "user", "content": "Hello?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "read", "description": "Reads.", "parameters": TOOL.parameters},
            }
        ],
    }


def test_anthropic_gets_alternating_roles_and_results_before_text() -> None:
    completion = Completion(model="", system="Be brief.", messages=CONVERSATION, tools=[TOOL], max_tokens=7)
    assert anthropic_format.request(completion, "claude") == {
        "model": "claude",
        "stream": True,
        "max_tokens": 7,
        "system": [{"type": "text", "text": "Be brief.", **KEPT}],
        "tools": [{"name": "read", "description": "Reads.", "input_schema": TOOL.parameters, **KEPT}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Read both.", **KEPT}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I shall."},
                    {"type": "tool_use", "id": "c_3a1", "name": "read", "input": {"path": "/a"}},
                    {"type": "tool_use", "id": "c2", "name": "read", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c_3a1", "content": "alpha"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "no such file", "is_error": True},
                    {"type": "text", "text": "And?"},
                    {"type": "text", "text": "Hello?", **KEPT},
                ],
            },
        ],
    }


def marks(value: object) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(marks(each) for each in value.values())
    return sum(marks(each) for each in value) if isinstance(value, list) else 0


@given(st.integers(0, 12), st.booleans(), st.booleans())
def test_a_request_never_holds_more_marks_than_the_vendor_takes_and_the_next_one_finds_the_last(
    turns: int, with_system: bool, with_tools: bool
) -> None:
    said = [
        ChatMessage(role="assistant" if number % 2 else "user", text=f"m{number}")
        for number in range(2 * turns + 1)
    ]
    more = [*said, ChatMessage(role="assistant", text="yes"), ChatMessage(role="user", text="go on")]

    def written(messages: list[ChatMessage]) -> dict:
        completion = Completion(
            model="",
            system="s" if with_system else "",
            messages=messages,
            tools=[TOOL, TOOL] if with_tools else [],
        )
        return anthropic_format.request(completion, "m")

    now, later = written(said), written(more)
    assert marks(now) <= 4
    last = len(now["messages"]) - 1
    assert "cache_control" in now["messages"][last]["content"][-1]
    assert "cache_control" in later["messages"][last]["content"][-1], "what was kept is asked for"
    assert marks(openai_format.request(Completion(model="", messages=said), "m", modern=True)) == 0


@pytest.mark.parametrize(
    ("name", "otherwise"),
    [
        ("gpt-5.2", False),
        ("gpt-4o-mini", False),
        ("o3", False),
        ("gpt-4o-realtime-preview", True),
        ("gpt-4o-mini-tts", True),
        ("text-embedding-3-small", True),
        ("whisper-1", True),
        ("dall-e-3", True),
    ],
)
def test_models_for_something_else_than_chat_are_known_by_their_names(name: str, otherwise: bool) -> None:
    assert openai_format.speaks_otherwise(name) is otherwise


def test_a_window_that_begins_with_the_assistant_is_opened_for_anthropic() -> None:
    completion = Completion(model="", messages=[ChatMessage(role="assistant", text="Hi.")])
    roles = [message["role"] for message in anthropic_format.request(completion, "m")["messages"]]
    assert roles == ["user", "assistant"]


def test_a_conversation_without_tools_names_none() -> None:
    completion = Completion(model="", messages=[ChatMessage(role="user", text="Hi")])
    assert "tools" not in openai_format.request(completion, "m", modern=False)
    assert "tools" not in anthropic_format.request(completion, "m")


def test_openai_itself_gets_the_new_name_of_the_token_limit() -> None:
    body = openai_format.request(Completion(model="", max_tokens=5), "m", modern=True)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


@given(st.lists(st.sampled_from(["first", "second", "third"]), min_size=1, unique=True), st.integers(1, 4))
def test_parallel_calls_are_told_apart_however_a_server_numbers_them(names: list[str], pieces: int) -> None:
    by_index, all_zero, without_index = (openai_format.Calls(set()) for _ in range(3))
    text = '{"n": 12}'
    step = -(-len(text) // pieces)
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    for number, name in enumerate(names):
        by_index.add(number, f"id{number}", name, "")
        for place, part in enumerate(parts):
            all_zero.add(0, f"id{number}", name if place == 0 else "", part)
        without_index.add(None, f"id{number}", name, text)
    for part in parts:  # interleaved
        for number in range(len(names)):
            by_index.add(number, "", "", part)
    expected = [
        ToolUse(id=f"id{number}", name=name, arguments={"n": 12}) for number, name in enumerate(names)
    ]
    for calls in (by_index, all_zero, without_index):
        assert calls.finish(cut=False) == expected


def test_calls_beyond_the_bound_are_not_kept() -> None:
    calls = openai_format.Calls(set())
    for number in range(200):
        calls.add(number, f"id{number}", "t", "{}")
    assert len(calls.finish(cut=False)) == 128


@pytest.mark.parametrize(
    ("reported", "refusal", "reason"),
    [
        ("stop", False, "end"),
        ("tool_calls", False, "tool_use"),
        ("length", False, "length"),
        ("content_filter", False, "refused"),
        ("stop", True, "refused"),
        ("surprise", False, "other"),
    ],
)
def test_openai_stop_reasons_are_mapped(reported: str, refusal: bool, reason: str) -> None:
    assert openai_format.stop_reason(reported, refusal=refusal) == reason


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("tool_use", "tool_use"),
        ("max_tokens", "length"),
        ("refusal", "refused"),
        ("pause_turn", "other"),
    ],
)
def test_anthropic_stop_reasons_are_mapped(reported: str, reason: str) -> None:
    assert anthropic_format.stop_reason(reported) == reason
