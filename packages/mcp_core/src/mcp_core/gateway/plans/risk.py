"""How much harm a step of a plan can do, by what its tool says of itself and what it needs. Pure."""

from collections.abc import Sequence
from typing import Final

from mcp_interface.address import Resource
from mcp_interface.plan import CheckpointStep, CommandStep, ConditionalStep, MessageStep, Risk, Work
from mcp_interface.tool import ToolInfo

BEYOND: Final = frozenset({"api", "shell"})
"""Types of resources with which a step runs programs or reaches beyond this machine, reading included: an address
can carry out what was read before."""


def risk_of_tool(info: ToolInfo, needs: Sequence[Resource]) -> Risk:
    """Judge a call of a tool; what says nothing of itself may do the worst."""
    if any(need.type in BEYOND for need in needs):
        return "dangerous"
    if info.read_only:
        return "safe"
    return "dangerous" if info.destructive or info.open_world else "moderate"


def risk_of(work: Work) -> Risk:
    """Judge a step that calls no tool.

    What is said to the assistant changes nothing by itself: what it then does is judged like any of its turns.
    """
    match work:
        case CheckpointStep() | ConditionalStep():
            return "safe"
        case MessageStep():
            return "moderate"
    return "dangerous"


def label(work: Work) -> str:
    """What an untitled step is called."""
    match work:
        case MessageStep(text=text):
            return f"say: {text}"[:120]
        case CommandStep(command=command):
            return f"run: {' '.join(command)}"[:120]
        case CheckpointStep(question=question):
            return f"ask: {question}"[:120]
        case ConditionalStep(step=step):
            return f"look at step {step + 1}"
    return f"{work.server}/{work.tool}"[:120]
