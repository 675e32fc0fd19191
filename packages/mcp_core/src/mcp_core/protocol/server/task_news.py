"""notifications/tasks: how tasks are, told on a `subscriptions/listen` stream to clients that ask for it by `taskIds`.

Each tells all that `tasks/get` would. The node is looked at as a client that polls would, but from near by: nothing is
missed for good when a line to it breaks, because the next look shows it.

Source: Model Context Protocol extension `io.modelcontextprotocol/tasks` (SEP-2663), "Task Status Notifications".
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Literal

from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from mcp_types import (
    Notification,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from mcp_core.protocol.server import offered, tasks
from mcp_core.protocol.server.portal import Portal
from mcp_interface.errors import UmbrellaError

MOST: Final = 64
"""Tasks that one stream tells about; more are not acknowledged."""
LOOK_S: Final = 0.5
_UNTOLD: Final = {"resultType", "pollIntervalMs"}
"""What does not make a task another one."""

Context = ServerRequestContext[Any, Any]


class TaskChanged(Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """A task as it is now."""

    method: Literal["notifications/tasks"] = "notifications/tasks"


class _Telling:
    """The session of a request, whose acknowledgement names the tasks too.

    Args:
        session: Of the request.
        task_ids: Which are told about.
    """

    def __init__(self, session: Any, task_ids: Sequence[str]) -> None:
        self._session = session
        self._task_ids = list(task_ids)
        self.acknowledged = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send_notification(self, notification: Any, related_request_id: Any = None) -> None:
        """As the session's."""
        if isinstance(notification, SubscriptionsAcknowledgedNotification):
            honored = notification.params.notifications.model_copy(update={"taskIds": self._task_ids})
            params = notification.params.model_copy(update={"notifications": honored})
            notification = notification.model_copy(update={"params": params})
        await self._session.send_notification(notification, related_request_id)
        self.acknowledged.set()


async def listen(
    ctx: Context, params: SubscriptionsListenRequestParams, portal: Portal
) -> SubscriptionsListenResult:
    """subscriptions/listen, tasks included.

    Raises:
        MCPError: The client asks about tasks and does not declare the extension.
    """
    wanted = (params.notifications.model_extra or {}).get("taskIds")
    if not wanted or not isinstance(wanted, list):
        return await offered.listen(ctx, params, portal)
    if not tasks.declares(ctx):
        raise tasks.missing()
    known = []
    for task_id in dict.fromkeys(str(each) for each in wanted[:MOST]):
        with suppress(MCPError):
            known.append((await tasks.find(portal, task_id)).id)
    telling: Any = _Telling(ctx.session, known)
    pump = asyncio.get_running_loop().create_task(_tell(ctx, telling, known, portal))
    try:
        return await offered.listen(replace(ctx, session=telling), params, portal)
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def _tell(ctx: Context, telling: _Telling, task_ids: list[Any], portal: Portal) -> None:
    """Tell how each task is, and again whenever it is otherwise, until it has ended."""
    await telling.acknowledged.wait()
    told: dict[str, dict[str, Any]] = {}
    waiting = list(task_ids)
    while waiting:
        for task_id in list(waiting):
            try:
                execution = await tasks.find(portal, task_id)
                found = await tasks.described(portal, execution)
            except MCPError:
                waiting.remove(task_id)  # it is forgotten by now
                continue
            except UmbrellaError:
                continue  # the node is away
            if execution.over:
                waiting.remove(task_id)
            seen = {key: value for key, value in found.items() if key not in _UNTOLD}
            if told.get(task_id) != seen:
                told[task_id] = seen
                meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
                await telling.send_notification(TaskChanged(params={**found, "_meta": meta}), ctx.request_id)
        await portal.clock.sleep(LOOK_S)
