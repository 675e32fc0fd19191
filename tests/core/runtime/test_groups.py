"""Topics, against plain lists."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.dead_letters import DeadLetters
from mcp_core.runtime.groups import Groups
from mcp_interface.errors import CallerMistaken, InvalidAddress, NotFound, TooMuch
from mcp_interface.telemetry import TABLE
from mcp_interface.testing import ManualClock

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "leave", "end", "publish", "publish"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 4),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_each_member_gets_what_was_published_while_it_was_one_in_order(
    sink: Any, steps: list[tuple[str, str, int]]
) -> None:
    letters = DeadLetters(ManualClock())
    groups = Groups(letters)
    sinks = [sink(f"member-{number}") for number in range(5)]
    model: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    expected: list[list[Any]] = [[] for _ in sinks]
    for count, (step, topic, number) in enumerate(steps):
        member, members = sinks[number], model[topic]
        if step == "join":
            new = number not in members and not member.ended
            assert groups.join(topic, member) == new
            if new:
                members.append(number)
        elif step == "leave":
            assert groups.leave(topic, member) == (number in members)
            if number in members:
                members.remove(number)
        elif step == "end":
            member.end()
            for each in model.values():
                if number in each:
                    each.remove(number)
        else:
            assert groups.publish(topic, count) == len(members)
            for each_number in members:
                expected[each_number].append(count)
        for name, each in model.items():
            assert groups.members(name) == [sinks[one] for one in each]
            assert groups.count(name) == len(each)
        assert groups.topics() == sorted(name for name, each in model.items() if each)
        assert len(groups) == sum(map(len, model.values()))
    assert [member.got for member in sinks] == expected
    assert len(letters) == 0, "who leaves or ends in time misses nothing"
    for number, member in enumerate(sinks):
        wanted = any(number in each for each in model.values())
        assert bool(member.watchers) == wanted, "who is in no topic is not watched"


def test_a_member_that_is_full_or_dead_does_not_disturb_the_others(sink: Any) -> None:
    letters = DeadLetters(ManualClock())
    groups = Groups(letters)
    full, dead, odd, good = sink("full", room=0), sink("dead"), sink("odd"), sink("good")
    for member in (full, dead, odd, good):
        groups.join("news", member)
    dead.ended = True  # and nobody has heard of it yet
    odd.got = None
    assert groups.publish("news", "hello", "agent_1") == 1
    assert good.got == ["hello"]
    told = [(letter.to, letter.reason, letter.sender) for letter in letters.page()]
    assert told == [
        ("full", "overloaded", "agent_1"),
        ("dead", "not_found", "agent_1"),
        ("odd", "TypeError", "agent_1"),
    ]


def test_what_dead_letters_lead_to_does_not_overtake_the_message(sink: Any) -> None:
    """A listener that publishes because a message was lost, while the same message is still being given out."""

    class Publishing:
        def emit(self, name: str, measurements: Any, metadata: Any) -> None:
            assert name in TABLE
            groups.publish("news", "second")

    letters = DeadLetters(ManualClock(), Publishing())  # type: ignore[arg-type]  # it only emits
    groups = Groups(letters)
    full, good = sink("full", room=0), sink("good")
    groups.join("news", full)
    groups.join("news", good)
    groups.publish("news", "first")
    assert good.got == ["first", "second"]
    assert len(letters) == 2


def test_a_topic_has_an_address(sink: Any) -> None:
    groups = Groups()
    member = sink()
    groups.join("news", member)
    assert groups.publish_to("mcp://broadcast/news", "hello") == 1
    assert member.got == ["hello"]
    with pytest.raises(NotFound, match="nobody listens to mcp://broadcast/other"):
        groups.publish_to("mcp://broadcast/other", "hello")
    with pytest.raises(CallerMistaken, match="is no topic"):
        groups.publish_to("mcp://agent/news", "hello")
    with pytest.raises(InvalidAddress):
        groups.publish_to("news", "hello")


@pytest.mark.parametrize("topic", ["", "x" * 201, "a\nb"])
def test_an_odd_topic_is_refused(sink: Any, topic: str) -> None:
    with pytest.raises(CallerMistaken, match="is not a topic"):
        Groups().join(topic, sink())


def test_there_is_a_limit_to_memberships(sink: Any) -> None:
    groups = Groups(most=2)
    member = sink()
    assert groups.join("a", member) and groups.join("b", member)
    with pytest.raises(TooMuch, match="no room in topic 'c'"):
        groups.join("c", member)
    assert not groups.join("b", member)
    groups.leave("a", member)
    assert groups.join("c", member)


def test_topics_come_in_pages(sink: Any) -> None:
    groups = Groups()
    for name in ("d", "b", "a", "c"):
        groups.join(name, sink())
    assert groups.topics(limit=2) == ["a", "b"]
    assert groups.topics(after="b", limit=2) == ["c", "d"]
    for limit in (0, 1001):
        with pytest.raises(CallerMistaken, match="cannot be had"):
            groups.topics(limit=limit)
