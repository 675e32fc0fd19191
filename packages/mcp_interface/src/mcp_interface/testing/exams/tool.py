"""The exam of a `Tool`: a true description, checked arguments, named rights, results in wire form."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from typing import Any

from mcp_interface.address import Resource, parse_resource
from mcp_interface.capability import Need, Verdict
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import ExecutionId, new_id
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.samples import a_person, a_session
from mcp_interface.testing.time import SeededEntropy
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult


async def check_tool(
    maker: Callable[[], AbstractAsyncContextManager[Tool]],
    *,
    good: dict[str, Any],
    bad: Sequence[dict[str, Any]],
    covering: Callable[[Resource], str] = lambda needed: needed.uri,
) -> None:
    """Examine a tool.

    Args:
        maker: Opens a tool in a world where it can work.
        good: Arguments with which it succeeds.
        bad: Arguments that it must refuse; at least one.
        covering: The pattern of the right that allows each need; the need itself by default.

    Raises:
        AssertionError: Names the broken promise.
    """
    assert bad, "the exam needs at least one wrong set of arguments"
    async with maker() as tool:
        _check_info(tool)
        _check_arguments(tool, good, bad)
        needs = _check_needs(tool, good)
        await within(_check_execution(tool, good, needs, covering), "check_tool.execution")


def _check_info(tool: Tool) -> None:
    info = tool.info()
    assert info.server and info.name, "a tool has a server and a name"
    assert info.description.strip(), "a tool says what it does"
    assert info.parameters.get("type") == "object", "the arguments' schema describes an object"
    read: ToolInfo = decode_json(encode_json(info), ToolInfo)
    assert read == info, "a description survives the wire"
    assert info.required_capabilities, "a tool names the rights it may need"
    for uri in info.required_capabilities:
        parse_resource(uri)
    assert not (info.read_only and info.destructive), "what only reads destroys nothing"
    assert tool.info() == info, "a tool describes itself the same all the time"


def _check_arguments(tool: Tool, good: dict[str, Any], bad: Sequence[dict[str, Any]]) -> None:
    given = deepcopy(good)
    tool.validate_args(given)
    assert given == good, "validate_args leaves the arguments alone"
    for args in bad:
        with refuses(CallerMistaken, what=f"the arguments {args!r}"):
            tool.validate_args(deepcopy(args))


def _check_needs(tool: Tool, good: dict[str, Any]) -> list[Need]:
    given = deepcopy(good)
    needs = list(tool.needs(given))
    assert needs, "a tool always needs a right"
    assert given == good, "needs leaves the arguments alone"
    for need in needs:
        assert "*" not in need.resource.path, f"{need.resource.uri} is a pattern, not a concrete right"
    assert list(tool.needs(deepcopy(good))) == needs, "equal arguments need equal rights"
    return needs


async def _check_execution(
    tool: Tool, good: dict[str, Any], needs: Sequence[Need], covering: Callable[[Resource], str]
) -> None:
    told: list[float] = []

    async def progress(percent: float, message: str) -> None:
        told.append(percent)

    verdicts = [
        Verdict(
            allowed=True, reason="allowed", message="the exam allows it", covering=covering(need.resource)
        )
        for need in needs
    ]
    for number, callback in enumerate((None, progress)):
        context = ToolContext(
            execution_id=ExecutionId(new_id("exec", SeededEntropy(number))),
            principal_id=a_person(),
            session_id=a_session(),
            verdicts=verdicts,
            progress=callback,
        )
        given = deepcopy(good)
        result = await tool.execute(given, context)
        assert given == good, "execute leaves the arguments alone"
        assert not result.is_error, f"it should succeed: {result.text}"
        assert all(isinstance(block.get("type"), str) for block in result.content), "blocks have a type"
        assert result.content or result.structured is not None, "a result says something"
        assert decode_json(encode_json(result), ToolResult) == result, "a result survives the wire"
    assert all(0 <= percent <= 100 for percent in told), f"progress is within 0 to 100: {told}"
    assert told == sorted(told), f"progress does not go back: {told}"
