"""Writes a transcript for people (Markdown) or for programs (every record)."""

from collections.abc import Sequence
from typing import Any

from mcp_cli.passages import (
    Answered,
    Asked,
    Block,
    Permission,
    Remark,
    Said,
    ToolCard,
    break_mark,
    dollars,
    result_text,
    told,
    verdict,
)
from mcp_cli.transcript import EMPTY, Transcript, fold
from mcp_cli.untrusted import compact_json, one_line, printable, readable_json
from mcp_interface.client import Client
from mcp_interface.commands import ReadSession
from mcp_interface.ids import SessionId
from mcp_interface.session import Session
from mcp_interface.store import Record

MOST = 100_000
"""Records of one session that are read at most."""


async def read_records(client: Client, session_id: SessionId) -> list[Record]:
    """Read the events of a session in order, page by page."""
    from mcp_cli.naming import collect

    return await collect(client, ReadSession(session_id=session_id, limit=1000), most=MOST)


def transcript_of(records: Sequence[Record]) -> Transcript:
    """Fold records into the picture that the REPL would show."""
    state = EMPTY
    for record in records:
        state = fold(state, record)
    return state


def markdown(session: Session, transcript: Transcript) -> str:
    """Write a transcript as Markdown; what tools returned stands in code fences."""
    head = [
        f"# {one_line(session.title) or 'Untitled session'}",
        "",
        f"- session: `{session.id}`",
        f"- begun: {session.created_at:%Y-%m-%d %H:%M} UTC",
        f"- profile: {session.profile}",
        f"- tokens: {transcript.input_tokens} in, {transcript.output_tokens} out",
        *_costs(transcript),
    ]
    return "\n".join([*head, *(line for block in transcript.blocks for line in ("", *_lines(block)))]) + "\n"


def _costs(transcript: Transcript) -> list[str]:
    if not transcript.cost:
        return []
    more = f", and {transcript.unpriced} answers whose price is not known" if transcript.unpriced else ""
    return [f"- cost: {dollars(transcript.cost)}{more}"]


def _lines(block: Block) -> list[str]:
    match block:
        case Said():
            return [f"## You, {block.at:%H:%M}", "", printable(block.text)]
        case Answered():
            name = f"Assistant ({one_line(block.model)})" if block.model else "Assistant"
            return [
                f"## {name}",
                "",
                printable(block.text),
                *(["", f"*({mark})*"] if (mark := break_mark(block)) else []),
            ]
        case ToolCard():
            return _card(block)
        case Permission():
            approval = block.approval
            return [f"> {printable(approval.server)}.{printable(approval.tool)}: {one_line(verdict(block))}"]
        case Asked():
            return [f"> {_asked(block)}"]
        case Remark():
            head = f"> {one_line(block.text)}" + (f" ({one_line(block.remedy)})" if block.remedy else "")
            return [head, *(f"> > {line}" for line in printable(block.more).split("\n") if block.more)]


def _card(card: ToolCard) -> list[str]:
    name = f"{one_line(card.server)}.{one_line(card.tool)}"
    took = f", {card.seconds:.1f} s" if card.seconds is not None else ""
    lines = [f"### Tool {name}: {card.state}{took}", ""]
    if card.capability_id is not None:
        lines += [f"by the right `{one_line(card.capability_id)}`", ""]
    lines += _fence(readable_json(card.arguments), "json")
    if card.preview is not None and card.preview.diff:
        lines += ["", *_fence(printable(card.preview.diff), "diff")]
    if card.result is not None:
        lines += ["", *_fence(printable(result_text(card.result)))]
    if card.error is not None:
        lines += [
            "",
            f"{printable(card.error.message)}",
            *([f"({card.error.remedy})"] if card.error.remedy else []),
        ]
    return lines


def _fence(text: str, language: str = "") -> list[str]:
    """Fence a text with more backticks than it holds, so that it cannot end the fence itself."""
    longest = run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    mark = "`" * max(3, longest + 1)
    return [f"{mark}{language}", text, mark]


def document(session: Session, records: Sequence[Record]) -> dict[str, Any]:
    """Return everything there is of a session, for programs."""
    return {"session": session, "records": list(records)}


def plain_lines(transcript: Transcript, last: int = 0) -> str:
    """Write the last blocks as lines for a terminal without a screen (zero: all of them)."""
    blocks = transcript.blocks[-last:] if last else transcript.blocks
    return "\n".join(line for block in blocks for line in plain_block(block))


def plain_block(block: Block) -> list[str]:
    """Write one block as lines."""
    match block:
        case Said():
            return ["", f"> {line}" if (line := printable(block.text)) else ">"]
        case Answered():
            return ["", printable(block.text) + (f"  … ({mark})" if (mark := break_mark(block)) else "")]
        case ToolCard():
            return _plain_card(block)
        case Asked():
            return [f"? {_asked(block)}"]
        case Permission():
            approval = block.approval
            name = f"{one_line(approval.server)}.{one_line(approval.tool)}"
            return [f"? {name} {compact_json(approval.arguments, 80)}: {one_line(verdict(block))}"]
        case Remark():
            head = f"! {one_line(block.text)}" + (f" ({one_line(block.remedy)})" if block.remedy else "")
            return [head, *(f"  {line}" for line in printable(block.more).split("\n") if block.more)]


def _asked(block: Asked) -> str:
    question = block.question
    name = f"{one_line(question.server)}.{one_line(question.tool)}"
    return f"{name} asks {one_line(question.inquiry.message, 200)!r}: {one_line(told(block))}"


def _plain_card(card: ToolCard) -> list[str]:
    head = f"* {one_line(card.server)}.{one_line(card.tool)} {compact_json(card.arguments, 80)}: {card.state}"
    body = printable(result_text(card.result)) if card.result is not None else ""
    if card.error is not None:
        body = printable(card.error.message) + (
            f" ({printable(card.error.remedy)})" if card.error.remedy else ""
        )
    return [head, *(f"  {line}" for line in body.splitlines())]
