"""Laying a plan out: each step is found its tool, its arguments are checked, and what it needs and risks is said.

The same is done again when a person approves, so that a tool that has become another one meanwhile is noticed.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mcp_core.gateway.plans.conditions import check_conditions
from mcp_core.gateway.plans.risk import label, risk_of, risk_of_tool
from mcp_core.gateway.sight import Sight
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.tools.shell import SERVER as SHELL
from mcp_interface.errors import CallerMistaken, NotFound, UmbrellaError, error_from
from mcp_interface.ids import PrincipalId
from mcp_interface.plan import CommandStep, PlanStep, ToolStep, Work
from mcp_interface.planning import Step
from mcp_interface.session import Session
from mcp_interface.tool import Tool

MAX_BYTES: Final = 256 * 1024
"""Of all steps of a plan together, as JSON: plans are held in memory, and read by people."""
FIND_S: Final = 10.0
"""Seconds in which a tool has to be found."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The tool call that a step is."""

    server: str
    tool: str
    arguments: dict[str, Any]


def call_of(work: Work, session: Session) -> Call | None:
    """What a step calls; None for one that calls nothing. A command runs in the folder the person works in."""
    if isinstance(work, ToolStep):
        return Call(server=work.server, tool=work.tool, arguments=work.arguments)
    if isinstance(work, CommandStep):
        program, *arguments = work.command
        cwd = str(session.metadata.get("cwd", ""))
        place = {"cwd": cwd.rstrip("/")} if cwd.startswith("/") and cwd.rstrip("/") else {}
        return Call(server=SHELL, tool="run", arguments={"program": program, "arguments": arguments, **place})
    return None


class Drafting:
    """Lays out steps.

    Args:
        toolbox: Finds the tools.
        sight: Says which of them somebody may know of.
    """

    def __init__(self, toolbox: Toolbox, sight: Sight) -> None:
        self._toolbox = toolbox
        self._sight = sight

    async def tool(self, call: Call, person: PrincipalId) -> Tool:
        """The tool of a call, for a person.

        Raises:
            NotFound: There is none that they may know of.
            ServerUnavailable: Its server does not answer.
        """
        self._sight.check(person, call.server, call.tool)
        return await self._toolbox.find(call.server, call.tool, FIND_S, person)

    def is_external(self, call: Call) -> bool:
        """Whether a call goes to a server that is not built in."""
        return call.server not in self._toolbox.builtin

    async def lay_out(self, steps: Sequence[Step], session: Session) -> list[PlanStep]:
        """The steps with their risks and what they need; nothing of them is done.

        Raises:
            CallerMistaken: A tool is unknown, arguments do not fit, a condition looks ahead, or it is too much;
                names the step.
            UmbrellaError: A server that is needed does not answer; names the step.
        """
        size = len(msgspec.json.encode(steps))
        if size > MAX_BYTES:
            raise CallerMistaken(
                f"the steps are {size} bytes long, and a plan has room for {MAX_BYTES}",
                "keep long texts in files, or draft several plans",
            )
        check_conditions([step.work for step in steps])
        return [await self._step(number, step, session) for number, step in enumerate(steps)]

    async def _step(self, number: int, step: Step, session: Session) -> PlanStep:
        title = step.title or label(step.work)
        call = call_of(step.work, session)
        if call is None:
            return PlanStep(title=title, work=step.work, risk=risk_of(step.work))
        try:
            tool = await self.tool(call, session.created_by)
            tool.validate_args(call.arguments)
            needs = [need.resource for need in tool.needs(call.arguments)]
        except UmbrellaError as error:
            raise of_step(number, error) from error
        return PlanStep(
            title=title,
            work=step.work,
            risk=risk_of_tool(tool.info(), needs),
            needs=list(dict.fromkeys(need.uri for need in needs)),
        )


def of_step(number: int, error: UmbrellaError) -> UmbrellaError:
    """An error that names the step which it is about; a tool that is not there is a mistake of whoever wrote it."""
    message = f"step {number + 1}: {error.message}"
    if isinstance(error, NotFound):
        return CallerMistaken(message, error.remedy, error.details)
    return error_from(msgspec.structs.replace(error.body(), message=message))
