"""The built-in server `plan`: an agent lays work out in its conversation. Nothing of it is done, and it approves nothing."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from mcp_interface.address import tool_resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken, NodeUnavailable, WrongState
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.plan import Plan
from mcp_interface.planning import Step
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult

SERVER: Final = "plan"
DRAFT: Final = "draft"


class DraftArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done, in order."""

    title: Annotated[str, Meta(min_length=1, max_length=500)]
    steps: Annotated[list[Step], Meta(min_length=1, max_length=200)]


class Planner(Protocol):
    """What lays plans out (`mcp_core.gateway.plans`)."""

    async def draft(self, session_id: SessionId, by: PrincipalId, title: str, steps: Sequence[Step]) -> Plan:
        """Put a plan on record, as somebody."""
        ...


class DraftPlanTool:
    """Lays a plan out for a person to look at.

    Args:
        planner: Gives the planner of the node, once it is up.
    """

    def __init__(self, planner: Callable[[], Planner | None]) -> None:
        self._planner = planner

    def info(self) -> ToolInfo:
        """Describe it.

        It changes nothing but the conversation it is called in, like an answer does; so it calls itself read-only,
        and is not asked about under a careful profile. What it lays out is.
        """
        return ToolInfo(
            server=SERVER,
            name=DRAFT,
            title="Draft a plan",
            description=(
                "Lay out work as a plan that the person sees, approves or refuses before anything of it is done. "
                "Use it for several steps that belong together, above all where something is changed or deleted. "
                "Nothing runs by this call, and you cannot approve it."
            ),
            parameters=PARAMETERS,
            required_capabilities=[tool_resource(SERVER, DRAFT).uri],
            read_only=True,
            destructive=False,
            idempotent=False,
            open_world=False,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types and limits; whether the tools exist is checked when it is laid out.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        _read(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to call it."""
        return [Need(tool_resource(SERVER, DRAFT), Facts(arguments=args))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Lay it out.

        Raises:
            CallerMistaken: A step cannot be; names it.
            WrongState: There is no conversation to lay it out in.
        """
        given = _read(args)
        if context.session_id is None:
            raise WrongState("a plan belongs to a conversation, and this call is in none", "call it in one")
        planner = self._planner()
        if planner is None:
            raise NodeUnavailable("the node is not up yet", "try again in a moment")
        plan = await planner.draft(context.session_id, context.principal_id, given.title, given.steps)
        lines = [f"{number}. [{step.risk}] {step.title}" for number, step in enumerate(plan.steps, 1)]
        text = "\n".join([f"drafted {plan.id}; nothing of it is done until the person approves it:", *lines])
        return ToolResult(
            content=[{"type": "text", "text": text}],
            structured={"plan_id": plan.id, "risk": plan.risk, "steps": [step.title for step in plan.steps]},
        )


def planning_tools(planner: Callable[[], Planner | None]) -> list[Tool]:
    """All tools of the server `plan`, over what gives the planner of the node once it is up."""
    return [DraftPlanTool(planner)]


def _read(args: dict[str, Any]) -> DraftArgs:
    try:
        return msgspec.convert(args, DraftArgs)
    except msgspec.ValidationError as error:
        raise CallerMistaken(f"arguments of {SERVER}/{DRAFT}: {error}", "see its parameters") from error


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}
# written by hand: models read one flat list of properties better than five alternatives behind references
PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 500},
        "steps": {
            "type": "array",
            "minItems": 1,
            "maxItems": 200,
            "items": {
                "type": "object",
                "properties": {
                    "title": {**_TEXT, "description": "What this step is for, in one line."},
                    "work": {
                        "type": "object",
                        "properties": {
                            "kind": {
                                "enum": ["tool", "command", "message", "checkpoint", "conditional"],
                                "description": (
                                    "tool: call a tool (server, tool, arguments). command: run a program (command). "
                                    "message: say something to the assistant and wait (text). checkpoint: wait until "
                                    "the person says go on (question). conditional: look at an earlier step (step, "
                                    "status, contains) and leave out the following ones (skip) if it is not as said."
                                ),
                            },
                            "server": {**_TEXT, "description": "Of a tool step."},
                            "tool": {**_TEXT, "description": "Of a tool step: the tool's name."},
                            "arguments": {"type": "object", "description": "Of a tool step."},
                            "command": {
                                "type": "array",
                                "items": _TEXT,
                                "description": "Absolute path of the program, then its arguments; no shell reads it.",
                            },
                            "text": {**_TEXT, "description": "Of a message step."},
                            "question": {**_TEXT, "description": "Of a checkpoint."},
                            "step": {**_NUMBER, "description": "Of a conditional: the earlier step, from 0."},
                            "status": {"enum": ["completed", "failed"]},
                            "contains": {**_TEXT, "description": "What that step's result has to hold."},
                            "skip": {"type": "integer", "minimum": 1},
                        },
                        "required": ["kind"],
                    },
                },
                "required": ["work"],
            },
        },
    },
    "required": ["title", "steps"],
    "additionalProperties": False,
}
