"""The card of a tool call: what it shows folded and open, and in which colours."""

from datetime import UTC, datetime
from typing import Any

from mcp_cli.passages import Permission, Remark, ToolCard
from mcp_cli.tui.blocks import Painter, folds
from mcp_cli.tui.palette import DARK, palette
from mcp_interface.approval import Answer, Approval
from mcp_interface.errors import ErrorBody
from mcp_interface.ids import ApprovalId, CapabilityId, ExecutionId, PrincipalId, SessionId
from mcp_interface.tool import Preview, text_result

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COLOURS = palette(DARK)
PAINTER = Painter(COLOURS)
DIFF = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\n-old [red]line[/red]\n+new line"


def card(**more: Any) -> ToolCard:
    return ToolCard(
        execution_id=ExecutionId("exec_1"),
        principal_id=PrincipalId("agent_1"),
        server="fs",
        tool="write_file",
        by_model=True,
        began=NOW,
        **more,
    )


def text(item: Any, *, unfolded: bool = False) -> str:
    return "\n".join(strip.text.rstrip() for strip in PAINTER.paint(item, 80, unfolded=unfolded))


def colour_of(item: Any, words: str) -> str:
    """Colour of the piece of a line that holds these words."""
    for strip in PAINTER.paint(item, 80):
        for segment in strip:
            if words in segment.text and segment.style is not None and segment.style.color is not None:
                return segment.style.color.name
    raise AssertionError(f"{words!r} is not there")


def test_a_diff_in_a_result_is_coloured_and_a_list_with_dashes_is_not() -> None:
    changed = card(state="done", seconds=0.2, result=text_result(f"done\n```diff\n{DIFF}\n```"))
    assert colour_of(changed, "-old [red]line") == COLOURS.bad
    assert colour_of(changed, "+new line") == COLOURS.ok
    assert colour_of(changed, "@@ -1,2") == COLOURS.accent
    assert colour_of(changed, " same") == COLOURS.text
    listed = card(state="done", seconds=0.2, result=text_result("- one\n+ two"))
    assert colour_of(listed, "- one") == COLOURS.text


def test_what_a_call_was_allowed_to_change_is_read_on_its_card() -> None:
    changed = card(state="done", seconds=0.2, preview=Preview(summary="changes x", diff=DIFF, cut=7))
    assert "changes x" in text(changed) and "7 more lines" in text(changed)
    assert colour_of(changed, "+new line") == COLOURS.ok
    assert "+new line" not in text(card(state="denied", preview=Preview(summary="changes x", diff=DIFF)))


def test_a_running_tool_is_heard_and_a_finished_one_when_somebody_asks() -> None:
    said = tuple(f"line {number}" for number in range(9))
    running = card(progress=40.0, message="halfway", said=said)
    assert "━━━━╌╌╌╌╌╌ 40 %" in text(running)
    assert "halfway" in text(running) and "» line 8" in text(running) and "» line 4" not in text(running)
    done = card(state="done", seconds=65.0, said=said, result=text_result("ok"))
    assert "» line 8" not in text(done)
    assert "» line 0" in text(done, unfolded=True)


def test_the_right_and_the_time_of_a_call_are_told() -> None:
    done = card(state="done", seconds=0.25, capability_id=CapabilityId("cap_7"), result=text_result("ok"))
    assert "250 ms" in text(done) and "cap_7" not in text(done)
    assert "by the right cap_7" in text(done, unfolded=True)
    failed = card(state="failed", seconds=2.0, error=ErrorBody(code="x", message="broken"))
    assert "failed, 2.0 s" in text(failed)


def test_a_right_that_lasts_says_how_to_take_it_back() -> None:
    approval = Approval(
        id=ApprovalId("ask_1"),
        session_id=SessionId("session_1"),
        execution_id=ExecutionId("exec_1"),
        principal_id=PrincipalId("agent_1"),
        server="fs",
        tool="write_file",
        arguments={},
        resource_uri="mcp://fs/write/x",
        reason="",
        fingerprint="00",
        asked_at=NOW,
        expires_at=NOW,
    )
    right = CapabilityId("cap_7")
    always = Permission(approval=approval, answer=Answer(allow=True, remember="always"), capability_id=right)
    assert "always allowed (take it back: /caps revoke cap_7)" in text(always)
    once = Permission(approval=approval, answer=Answer(allow=True), capability_id=right)
    assert "revoke" not in text(once)


def test_a_summary_folds() -> None:
    remark = Remark(tone="dim", text="from here a summary", more="They spoke\nof [b]fish[/b]")
    assert folds(remark) and "of [b]fish[/b]" not in text(remark) and "2 more lines" in text(remark)
    assert "│ of [b]fish[/b]" in text(remark, unfolded=True)
