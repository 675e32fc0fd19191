import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from mcp_cli import presenters
from mcp_cli.plain import question_lines
from mcp_cli.presenters import ago, removed, span
from mcp_cli.rights import question
from mcp_cli.sheet import Cell, Sheet, Shown, facts, row
from mcp_cli.terminal import renderable
from mcp_interface.approval import Approval
from mcp_interface.commands import StorageCheck
from mcp_interface.ids import ApprovalId, ExecutionId, PrincipalId, SessionId
from mcp_interface.store import StoreReport

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(shown: Shown) -> str:
    output = io.StringIO()
    Console(file=output, width=200, markup=False, emoji=False, highlight=False).print(renderable(shown))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "1 ms"),
        (0.42, "420 ms"),
        (3.21, "3.2 s"),
        (59, "59 s"),
        (300, "5 min"),
        (7200, "2 h"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_end_that_is_almost_a_whole_unit_away_is_told_as_that_unit() -> None:
    assert ago(NOW + timedelta(hours=1) - timedelta(milliseconds=3), NOW) == "in 1 h"
    assert ago(NOW - timedelta(days=3), NOW) == "3 d ago"
    assert ago(NOW, NOW) == "now"


def test_data_is_never_read_as_markup_or_as_an_escape() -> None:
    text = drawn(Sheet(columns=("a",), rows=[row("[bold]x[/bold] :smile: \x1b[31mred\x1b[0m [/nonsense]")]))
    assert text == "a\n[bold]x[/bold] :smile: red [/nonsense]"


def test_a_revocation_says_how_much_ended_and_when_it_may_be_more() -> None:
    assert drawn(removed(["cap_1"])) == "revoked cap_1"
    assert drawn(removed(["cap_1", "cap_2"])) == "revoked cap_1 and 1 derived from it"
    many = [f"cap_{number}" for number in range(1000)]
    assert drawn(removed(many)) == "revoked cap_0 and 999 or more derived from it"


def test_a_question_is_shown_with_everything_that_a_yes_would_be_about() -> None:
    asked = Approval(
        id=ApprovalId("ask_" + "1" * 32),
        session_id=SessionId("session_" + "1" * 32),
        execution_id=ExecutionId("exec_" + "1" * 32),
        principal_id=PrincipalId("agent_" + "1" * 32),
        server="mail",
        tool="send",
        arguments={"to": "a@example.org" + " " * 90 + "evil@example.net", "text": "hi\u200b\nbcc: x"},
        resource_uri="mcp://tool/execute/mail/send",
        reason="it holds nothing",
        fingerprint="ff",
        asked_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
    )
    for text in (drawn(question(asked, NOW)), "\n".join(question_lines(asked, NOW))):
        assert "evil@example.net" in text
        assert "hi\\u200b" in text
        assert "│ bcc: x" in text
        assert "mcp://tool/execute/mail/send" in text


def test_empty_columns_and_facts_are_left_out() -> None:
    assert drawn(Sheet(columns=("a", "b"), rows=[row("1", ""), row("2", "")])) == "a\n1\n2"
    assert drawn(facts(("a", "1"), ("b", ""), ("c", Cell("3", "bad")))) == "a  1\nc  3"
    assert drawn(Sheet(columns=("a",), rows=[], empty="add one")) == "add one"


def report(**given: Any) -> StoreReport:
    told = {"kind": "segments", "state": "writable", "head": 1203, "streams": 8, "size_bytes": 3 * 2**20}
    return StoreReport(**{**told, **given})


@pytest.mark.parametrize(
    ("found", "news"),
    [
        ("", ""),
        ("1,203 events in 8 streams", ""),
        (
            "1,203 events in 8 streams; the last 12 were read back from the log",
            "the last 12 were read back from the log",
        ),
        (
            "3 events in 1 stream; the last 3 were read back from the log; cut off 512 bytes",
            "the last 3 were read back from the log; cut off 512 bytes",
        ),
    ],
)
def test_of_an_opening_only_what_is_out_of_the_ordinary_is_news(found: str, news: str) -> None:
    assert presenters.found(report(found=found)) == news


def test_a_journal_is_told_with_its_size_its_disk_and_why_it_takes_nothing() -> None:
    refusing = report(state="read_only", reason="the disk is full", disk="error", disk_used=0.97, segments=2)
    shown = presenters.storage(refusing)
    told = dict(shown.pairs)
    assert (told["journal"].text, told["journal"].tone) == ("read-only", "bad")
    assert told["why"].text == "the disk is full"
    assert told["size"].text == "3.0 MiB in 2 segments"
    assert dict(presenters.storage(report(segments=1)).pairs)["size"].text == "3.0 MiB in 1 segment"
    assert (told["disk"].text, told["disk"].tone) == ("97% in use", "bad")
    assert (told["holds"].text, told["kind"].text) == ("1,203 events in 8 streams", "an append-only log")
    one = dict(presenters.storage(report(head=1, streams=1)).pairs)
    assert one["holds"].text == "1 event in 1 stream"
    assert "make room" in shown.note
    assert "no node runs" in dict(presenters.storage(report(), resting=True).pairs)["journal"].text


def test_damage_that_a_running_node_knows_of_is_repeated_in_its_status() -> None:
    told = dict(presenters.storage(report(damage="1.seg is damaged\x1b[31m")).pairs)
    assert told["damage"].tone == "bad"
    assert told["damage"].text.startswith("1.seg is damaged") and "\x1b" not in told["damage"].text
    assert "damage" not in dict(presenters.storage(report()).pairs)


def test_damage_is_told_with_its_place_what_is_sound_and_what_to_do() -> None:
    check = StorageCheck(
        ok=False,
        events=28,
        problem="1.seg is damaged\x1b[31m",
        remedy="restore",
        details={"offset": 14211, "found": "43 events; cut off 9 bytes"},
    )
    told = {name: cell.text for name, cell in presenters.storage_check(check).pairs}
    assert told == {
        "journal": "damaged",
        "sound": "up to position 28",
        "problem": "1.seg is damaged",
        "what to do": "restore",
        "details": "offset 14211",
        "found": "cut off 9 bytes",
    }


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB")]
)
def test_a_size_is_told_in_its_largest_unit(count: int, text: str) -> None:
    assert presenters.size(count) == text
