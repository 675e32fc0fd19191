"""What a question about a right says, and what the keys answer; pure."""

from datetime import timedelta
from typing import Any

import pytest
from asked import FILE, FOLDER, NOW, asked
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli import rights
from mcp_cli.answering import ANSWERS, ENDS, Leaning
from mcp_cli.diffing import as_text, preview_lines
from mcp_cli.plain import question_lines
from mcp_interface.approval import Answer, Approval, Precedent
from mcp_interface.capability import Capability
from mcp_interface.tool import Preview

DIFF = "@@ -1,2 +1,2 @@\n same\n-old\u200b\n+new\x1b[31m"


def lines_of(found: Approval) -> str:
    shown = rights.question(found, NOW)
    return "\n".join([*(f"{name} {cell.text}" for name, cell in shown.pairs), shown.note])


def test_a_question_says_what_it_would_do_and_by_whom() -> None:
    found = asked(
        touches=[FILE, "mcp://fs/read/proj/a.txt"],
        preview=Preview(summary="changes /proj/a.txt", diff=DIFF, cut=3),
        precedent=Precedent(
            at=NOW - timedelta(hours=2), allow=False, arguments={"path": "/proj/a.txt", "content": "old"}
        ),
    )
    for text in (lines_of(found), "\n".join(question_lines(found, NOW))):
        assert "ann" in text
        assert "may overwrite or delete, by its own words" in text
        assert "mcp://fs/read/proj/a.txt" in text
        assert "-old\\u200b" in text and "+new\\u001b[31m" in text, "nothing in a diff is invisible"
        assert "3 more lines" in text
        assert "denied 2 h ago, when it was:" in text and "content: old" in text
        assert FOLDER in text
        assert "in 5 min" in text


@pytest.mark.parametrize(
    ("before", "names", "told"),
    [
        ({"path": "/proj/a.txt", "content": "new"}, [], "with the same arguments"),
        ({"path": "/proj/b.txt", "content": "new"}, ["path"], "  path: /proj/b.txt"),
        ({"path": "/proj/a.txt"}, ["content"], "without content"),
        ({"path": "/proj/a.txt", "content": "new", "mode": 1}, ["mode"], "  mode: 1"),
        ({"content": "x", "mode": 1}, ["path", "content", "mode"], "  and no path"),
    ],
)
def test_the_arguments_that_differ_from_last_time_are_marked(
    before: dict[str, Any], names: list[str], told: str
) -> None:
    found = asked(precedent=Precedent(at=NOW, allow=True, arguments=before))
    assert rights.differing(found) == names
    assert any(told in line for line in rights.precedent_lines(found, NOW))
    marked = [line.text for line in rights.argument_lines(found) if line.text.startswith("≠ ")]
    assert [line.removeprefix("≠ ").split(":")[0] for line in marked] == [
        name for name in names if name in found.arguments
    ]


def test_without_a_precedent_nothing_is_marked() -> None:
    assert rights.precedent_lines(asked(), NOW) == []
    assert all(line.tone == "accent" for line in rights.argument_lines(asked()))


@pytest.mark.parametrize(
    ("seconds", "text", "tone"),
    [(300, "in 5 min", "dim"), (60, "in 1 min", "dim"), (42, "in 42 s", "bad"), (0, "ended", "bad")],
)
def test_the_last_minute_is_a_warning(seconds: float, text: str, tone: str) -> None:
    cell = rights.ending(asked(expires_at=NOW + timedelta(seconds=seconds)), NOW)
    assert text in cell.text and cell.tone == tone


def test_a_long_diff_folds_and_says_how_much_is_left_out() -> None:
    preview = Preview(summary="changes it", diff="\n".join(f"+{n}" for n in range(100)), cut=7)
    assert len(preview_lines(preview)) == 102
    folded = preview_lines(preview, 10)
    assert [line.text for line in folded] == ["changes it", *(f"+{n}" for n in range(10)), "… 97 more lines"]
    assert [line.tone for line in preview_lines(Preview(summary="", diff="@@ -1,1 +1,1 @@\n-a\n+b\n c"))][
        1:
    ] == ["accent", "bad", "ok", "dim"]
    assert as_text(preview_lines(Preview(summary="one\nline"))) == "one line"


def test_what_was_answered_says_how_to_take_it_back() -> None:
    minted = Capability(id="cap_1", resource_uri=FOLDER, principal_id="agent_1", granted_at=NOW)
    answer = Answer(allow=True, remember="session", resource_uri=FOLDER, expires_in_s=3600.0)
    told = rights.answered(asked(), answer, minted).text
    assert "allowed (session, for 1 h)" in told and FOLDER in told
    assert "umbrella caps revoke cap_1" in told
    assert "umbrella caps list" in rights.answered(asked(), answer).text
    assert "caps" not in rights.answered(asked(), Answer(allow=True)).text
    assert rights.answered(asked(), Answer(allow=False, remember="always")).text.startswith("denied for good")


KEYS = st.text(alphabet="ysaSAndxpe", max_size=12)


@given(KEYS, st.booleans())
def test_a_key_answers_for_the_very_call_unless_the_person_went_further(keys: str, offers: bool) -> None:
    found = asked(suggestions=[FILE, FOLDER] if offers else [])
    leaning = Leaning(found)
    for key in keys:
        if key in "pe":
            leaning = leaning.wider() if key == "p" else leaning.ending()
            continue
        answer = leaning.answer(key)
        if answer is None:
            assert key in "dx" or leaning.pattern
            continue
        assert answer.allow == ANSWERS[key].allow
        assert answer.any_arguments == (key in "SA")
        if answer.resource_uri:
            assert answer.resource_uri == leaning.pattern and answer.resource_uri in found.suggestions
            assert answer.remember != "once"
        if answer.expires_in_s is not None:
            assert answer.allow and answer.remember != "once" and answer.expires_in_s in ENDS


def test_the_ways_to_more_lead_back_to_the_thing_itself() -> None:
    leaning = Leaning(asked())
    assert leaning.wider().pattern == FOLDER
    assert leaning.wider().wider() == leaning
    for _ in ENDS:
        leaning = leaning.ending()
    assert leaning == Leaning(asked())
    assert Leaning(asked(suggestions=[])).wider().pattern == ""


def test_a_right_that_is_to_be_handed_on_is_asked_for_as_one() -> None:
    found = asked(hands_on=True, suggestions=[])
    for text in (lines_of(found), "\n".join(question_lines(found, NOW))):
        assert "to be handed on to an agent below" in text or "to hand it on to an agent below" in text
    assert [key for key, _ in Leaning(found).choices()] == ["y", "S", "A", "n", "d", "x"]
    assert Leaning(found).answer("s") is None, "the node takes no such yes"
