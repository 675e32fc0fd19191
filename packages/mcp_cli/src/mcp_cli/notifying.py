"""What is worth a bell: something waits for the person, or is done, and the person looks elsewhere. Pure."""

from typing import Final

from mcp_cli.untrusted import one_line
from mcp_interface.events import ApprovalAsked, Event, QuestionAsked, TurnEnded

LONG_S: Final = 10.0
"""Seconds after which the end of a turn is news even to somebody who looks on."""
WIDTH: Final = 120
"""Characters of a notification."""


def news(event: Event, *, focused: bool, took_s: float | None, title: str = "") -> str:
    """Return what to tell, or nothing.

    Args:
        event: What happened.
        focused: Whether the terminal has the person's keys.
        took_s: How long the turn took that ends; None: not known.
        title: Of the session.
    """
    match event:
        case ApprovalAsked(approval=asked):
            told = "" if focused else f"{asked.server}.{asked.tool} needs your answer"
        case QuestionAsked(question=wanted):
            told = "" if focused else f"{wanted.server}.{wanted.tool} asks something"
        case TurnEnded(status="cancelled"):
            told = ""  # the person did that
        case TurnEnded(status=status):
            is_long = took_s is not None and took_s > LONG_S
            words = {"completed": "the assistant has answered", "interrupted": "the turn was interrupted"}
            told = words.get(status, "the turn failed") if is_long or not focused else ""
        case _:
            told = ""
    return one_line(f"{told}: {title}" if told and title else told, WIDTH)
