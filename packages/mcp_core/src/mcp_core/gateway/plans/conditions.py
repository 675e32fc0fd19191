"""What a conditional step of a plan looks at. Pure; nothing of it is evaluated as a program."""

from collections.abc import Sequence
from typing import Final

from mcp_interface.errors import CallerMistaken
from mcp_interface.plan import ConditionalStep, PlanStep, Work

_NEVER_EXCUSED: Final = frozenset({"interrupted", "denied"})
"""Codes of errors behind which no plan goes on: what was done is not known, or a right has ended."""


def check_conditions(steps: Sequence[Work]) -> None:
    """Return if each condition looks back at an earlier step, and leaves out no more than there are.

    Raises:
        CallerMistaken: One does not; names the step.
    """
    for number, work in enumerate(steps):
        if not isinstance(work, ConditionalStep):
            continue
        if work.step >= number:
            raise CallerMistaken(
                f"step {number + 1} looks at step {work.step + 1}, which does not come before it",
                "name the number of an earlier one, counted from 0",
            )
        if number + work.skip >= len(steps):
            raise CallerMistaken(
                f"step {number + 1} would leave out {work.skip} steps, and {len(steps) - number - 1} follow",
                "leave out fewer",
            )


def holds(condition: ConditionalStep, steps: Sequence[PlanStep]) -> bool:
    """Whether the step that is looked at is as said; one that was left out is not."""
    looked = steps[condition.step]
    return looked.status == condition.status and condition.contains in looked.result


def is_excused(steps: Sequence[PlanStep], number: int) -> bool:
    """Whether the plan goes on behind a failed step: the very next one looks at it, and nothing is in doubt."""
    error = steps[number].error
    if error is not None and error.code in _NEVER_EXCUSED:
        return False
    following = steps[number + 1].work if number + 1 < len(steps) else None
    return isinstance(following, ConditionalStep) and following.step == number
