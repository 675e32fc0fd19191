"""Any history, however torn, becomes one that a vendor accepts."""

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.providers.transcript import NO_RESULT, orderly
from mcp_interface.provider import ChatMessage, ToolOutput, ToolUse

IDS = st.sampled_from(["", "a", "b", "call", "call-2"])
TEXTS = st.sampled_from(["", "  ", "hello", "bye"])
USES = st.lists(st.builds(ToolUse, id=IDS, name=st.just("t"), arguments=st.just({})), max_size=3)
OUTPUTS = st.lists(st.builds(ToolOutput, tool_use_id=IDS, text=TEXTS, is_error=st.booleans()), max_size=3)
MESSAGES = st.lists(
    st.one_of(
        st.builds(ChatMessage, role=st.just("user"), text=TEXTS),
        st.builds(ChatMessage, role=st.just("assistant"), text=TEXTS, tool_uses=USES),
        st.builds(ChatMessage, role=st.just("tool"), tool_outputs=OUTPUTS),
    ),
    max_size=12,
)


def said(*words: str) -> ChatMessage:
    return ChatMessage(role="user", text=" ".join(words))


def called(*ids: str) -> ChatMessage:
    return ChatMessage(role="assistant", tool_uses=[ToolUse(id=i, name="t", arguments={}) for i in ids])


def answered(**outputs: str) -> ChatMessage:
    return ChatMessage(
        role="tool", tool_outputs=[ToolOutput(tool_use_id=key, text=text) for key, text in outputs.items()]
    )


@given(MESSAGES)
def test_every_call_is_answered_at_once_and_nothing_else_is(messages: list[ChatMessage]) -> None:
    turns = orderly(messages)
    ids = [use.id for turn in turns for use in turn.tool_uses]
    assert len(ids) == len(set(ids))
    assert all(ids)
    for place, turn in enumerate(turns):
        assert turn.text.strip() or turn.tool_uses or turn.tool_outputs
        if turn.tool_uses:
            assert [o.tool_use_id for o in turns[place + 1].tool_outputs] == [u.id for u in turn.tool_uses]
        if turn.tool_outputs:
            assert turns[place - 1].tool_uses


@given(MESSAGES)
def test_an_orderly_history_stays_as_it_is(messages: list[ChatMessage]) -> None:
    once = orderly(messages)
    assert orderly(once) == once


def test_what_a_person_typed_during_a_call_comes_behind_its_result() -> None:
    turns = orderly([said("go"), called("a"), said("and?"), answered(a="done")])
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "user"]
    assert turns[2].tool_outputs[0].text == "done"


def test_results_take_the_order_of_their_calls() -> None:
    turns = orderly([called("a", "b"), answered(b="second"), answered(a="first")])
    assert [output.text for output in turns[1].tool_outputs] == ["first", "second"]


def test_a_call_that_was_interrupted_gets_a_result_that_says_so() -> None:
    _, tool = orderly([called("a")])
    assert tool.tool_outputs == [ToolOutput(tool_use_id="a", text=NO_RESULT, is_error=True)]


def test_a_result_whose_call_is_behind_the_window_is_left_out() -> None:
    assert orderly([answered(gone="old"), said("hi")]) == [said("hi")]


def test_a_repeated_id_belongs_to_the_newest_call() -> None:
    turns = orderly([called("0"), answered(**{"0": "one"}), called("0"), answered(**{"0": "two"})])
    assert [turn.tool_outputs[0].text for turn in turns if turn.role == "tool"] == ["one", "two"]
    assert turns[0].tool_uses[0].id != turns[2].tool_uses[0].id
