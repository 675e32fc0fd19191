"""Waits for the end of a tool call, whatever happens in between: questions of the tool, a node that starts anew."""

from collections.abc import Callable
from typing import Final

from mcp_cli import presenters
from mcp_cli.exit_codes import FAILED
from mcp_cli.interview import Node
from mcp_cli.invocation import Outcome
from mcp_interface.clock import Clock
from mcp_interface.errors import DeadlineExceeded, NodeUnavailable, NotFound, error_from
from mcp_interface.execution import Execution, GetExecution, ListQuestions
from mcp_interface.ids import ExecutionId
from mcp_interface.question import Question

STEP_S: Final = 60.0
"""Seconds that one request waits for an end; then it is asked again."""
GRACE_S: Final = 10.0
OPEN_S: Final = 0.5
"""Seconds between two looks at a call that waits for an answer."""
MOVED_S: Final = 1.0
"""Seconds between two looks of somebody who wants to see how it moves."""

Looked = Callable[[Execution, list[Question]], None]
"""Is given how a call is doing, and what it waits for."""


async def to_its_end(
    node: Node,
    key: ExecutionId,
    clock: Clock,
    *,
    limit: float | None = None,
    looked: Looked | None = None,
    step: float = STEP_S,
    away: Callable[[NodeUnavailable], None] | None = None,
) -> Execution:
    """Return a call that has come to its end.

    Args:
        node: Where to ask.
        key: Which call.
        clock: Source of time.
        limit: Seconds to wait at most; None: as long as it takes.
        looked: Told after each look.
        step: Seconds between two looks, at most.
        away: Told when the node is away, which is asked again then; None: that is an error.

    Raises:
        DeadlineExceeded: It took longer; it goes on.
        NodeUnavailable: The node is away, and nobody waits for it.
    """
    began = clock.monotonic()
    while True:
        left = step if limit is None else min(step, began + limit - clock.monotonic())
        try:
            found, open_questions = await _look(node, key, max(0.0, left))
        except NodeUnavailable as error:
            if away is None:
                raise
            away(error)
            await clock.sleep(OPEN_S)
            continue
        if looked is not None:
            looked(found, open_questions)
        if found.over:
            return found
        if left <= 0:
            raise DeadlineExceeded(
                f"{key} has not ended within {limit:g} s", f"go on waiting: umbrella executions wait {key}"
            )
        if found.questions:
            await clock.sleep(min(OPEN_S, left))


async def _look(node: Node, key: ExecutionId, wait_s: float) -> tuple[Execution, list[Question]]:
    found = await node.request(GetExecution(execution_id=key, wait_s=wait_s), wait_s + GRACE_S)
    if not found.questions:
        return found, []
    try:
        return found, (await node.request(ListQuestions(execution_id=key, limit=100))).items
    except NotFound:
        return found, []


def ended(found: Execution) -> Outcome:
    """What came of a call: its result, or its error raised."""
    if found.error is not None:
        raise error_from(found.error)
    result = found.result
    code = FAILED if result is None or result.is_error else 0
    return Outcome(value=found, shown=presenters.outcome(result) if result is not None else None, code=code)
