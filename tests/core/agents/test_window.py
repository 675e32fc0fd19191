"""Whatever a conversation is, what is sent of it is one that both vendors take."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.gateway.conversations import conversations, fold
from mcp_core.agents.window import (
    fit,
    longest_output,
    older_part,
    overflows,
    tokens_in,
    tokens_of,
)
from mcp_core.providers import anthropic_format, openai_format
from mcp_interface.events import TurnStarted
from mcp_interface.ids import AgentId, TurnId
from mcp_interface.provider import ChatMessage, Completion, ToolOutput, ToolUse
from mcp_interface.testing import START

texts = st.text(min_size=1, max_size=8).map(lambda text: f"x{text}") | st.just("y" * 900)


@st.composite
def windows(draw: Any) -> list[ChatMessage]:
    """Well-formed: each call is answered right behind it."""
    window: list[ChatMessage] = []
    kinds = draw(st.lists(st.sampled_from(["user", "text", "tools", "tools"]), max_size=16))
    for number, kind in enumerate(kinds):
        if kind == "user" or not window:
            window.append(ChatMessage(role="user", text=f"{number} {draw(texts)}"))
        elif kind == "text":
            window.append(ChatMessage(role="assistant", text=f"{number} {draw(texts)}"))
        else:
            uses = [
                ToolUse(id=f"{number}_{each}", name="t", arguments={"a": draw(texts)})
                for each in range(draw(st.integers(1, 3)))
            ]
            outputs = [
                ToolOutput(tool_use_id=use.id, text=draw(texts) * draw(st.integers(1, 9))) for use in uses
            ]
            window.append(ChatMessage(role="assistant", tool_uses=uses))
            window.append(ChatMessage(role="tool", tool_outputs=outputs))
    return window


def check(messages: list[ChatMessage]) -> None:
    """Raise when a vendor would refuse it."""
    if not messages:
        return
    assert messages[0].role == "user"
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            assert {output.tool_use_id for output in message.tool_outputs} == waiting
        else:
            assert not waiting
        waiting = {use.id for use in message.tool_uses}
    assert not waiting
    completion = Completion(model="m", messages=messages)
    said = openai_format.request(completion, "m", modern=False)["messages"]
    open_calls: set[str] = set()
    for each in said:
        if each["role"] == "tool":
            open_calls.remove(each["tool_call_id"])
            continue
        assert not open_calls
        open_calls = {call["id"] for call in each.get("tool_calls", [])}
    assert not open_calls
    blocks = anthropic_format.request(completion, "m")["messages"]
    assert [each["role"] for each in blocks] == [
        "user" if number % 2 == 0 else "assistant" for number in range(len(blocks))
    ]
    for first, second in pairwise(blocks):
        called = {block["id"] for block in first["content"] if block["type"] == "tool_use"}
        given_back = {block["tool_use_id"] for block in second["content"] if block["type"] == "tool_result"}
        assert called == given_back


@given(windows(), st.integers(1, 3000), st.integers(500, 4000), st.booleans())
def test_what_is_sent_is_a_valid_conversation_in_the_old_order(
    window: list[ChatMessage], budget: int, longest: int, pinned: bool
) -> None:
    fitted = fit(window, budget, longest=longest, pinned=int(pinned and bool(window)))
    check(fitted.messages)
    assert fitted.left_out == len(window) - len(fitted.messages)
    assert fitted.tokens == sum(map(tokens_in, fitted.messages))
    kept = [(message.role, message.text, tuple(use.id for use in message.tool_uses)) for message in window]
    places = iter(kept)
    for message in fitted.messages:  # a part of it, in its order
        wanted = (message.role, message.text, tuple(use.id for use in message.tool_uses))
        assert any(each == wanted for each in places)
    said = [message for message in window if message.role == "user"]
    if said:
        assert said[-1] in fitted.messages
    if pinned and window:
        assert fitted.messages[0] == window[0]


@given(windows(), st.integers(1, 3000))
def test_it_is_within_its_budget_whenever_the_last_exchange_alone_is(
    window: list[ChatMessage], budget: int
) -> None:
    last = max((place for place, message in enumerate(window) if message.role == "user"), default=0)
    alone = sum(map(tokens_in, window[last:]))
    fitted = fit(window, budget)
    if alone <= budget:
        assert fitted.tokens <= budget
        assert fitted.messages[-len(window[last:]) :] == window[last:]
    if not overflows(window, budget, 10**9):
        assert fitted.messages == window


@settings(deadline=None)
@given(conversations(), st.integers(1, 200))
def test_what_a_session_holds_when_a_turn_begins_can_be_sent(events: list[Any], budget: int) -> None:
    begun = TurnStarted(timestamp=START, turn_id=TurnId("turn_new"), agent_id=AgentId("a"))
    state = fold([*events, begun])
    fitted = fit(state.window, budget, pinned=int(state.summarized))
    if state.spoken:
        check(fitted.messages)


@given(windows(), st.integers(0, 3000))
def test_a_summary_stands_for_whole_exchanges_or_whole_steps(window: list[ChatMessage], keep: int) -> None:
    split = older_part(window, keep)
    assert 0 <= split < max(1, len(window))
    if split:
        assert window[split].role in {"user", "assistant"}
        assert window[split:], "the latest stays as it was said"
        state_like = [ChatMessage(role="user", text="summary"), *window[split:]]
        check(state_like)


def test_a_long_output_keeps_its_head_and_its_tail() -> None:
    text = "a" * 5_000 + "z" * 5_000
    window = [
        ChatMessage(role="user", text="read it"),
        ChatMessage(role="assistant", tool_uses=[ToolUse(id="1", name="t", arguments={})]),
        ChatMessage(role="tool", tool_outputs=[ToolOutput(tool_use_id="1", text=text)]),
    ]
    sent = fit(window, 10_000, longest=1_000).messages[2].tool_outputs[0].text
    assert sent.startswith("a" * 750) and sent.endswith("z" * 250)
    assert "9,000 of 10,000 characters are left out here" in sent and "result has all of it" in sent
    assert window[2].tool_outputs[0].text == text


def test_one_exchange_that_is_too_long_loses_its_oldest_steps() -> None:
    window = [ChatMessage(role="user", text="do it")]
    for number in range(50):
        use = ToolUse(id=str(number), name="t", arguments={})
        output = ToolOutput(tool_use_id=str(number), text="o" * 400)
        window += [
            ChatMessage(role="assistant", tool_uses=[use]),
            ChatMessage(role="tool", tool_outputs=[output]),
        ]
    fitted = fit(window, 2_000)
    assert fitted.tokens <= 2_000 and fitted.messages[0] == window[0] and fitted.messages[-1] == window[-1]
    check(fitted.messages)


def test_a_window_that_grows_begins_at_the_same_place_for_a_while() -> None:
    window: list[ChatMessage] = []
    begins = []
    for number in range(60):
        window.append(ChatMessage(role="user", text=f"{number:04} " + "q" * 360))
        window.append(ChatMessage(role="assistant", text="a"))
        begins.append(fit(window, 2_000).messages[0].text[:4])
    changes = sum(one != other for one, other in pairwise(begins))
    assert 5 <= changes <= 15  # and not at each of the 40 exchanges that did not fit


def test_the_estimate_counts_other_scripts_by_their_bytes() -> None:
    assert tokens_of("") == 0 and tokens_of("four") == 1 and tokens_of("five!") == 2
    assert tokens_of("日本語") == 3
    assert longest_output(128_000) == 64_000 and longest_output(1_000) == 500
