"""What a running tool can say: how far it is, a line for whoever looks on, a handle, and what it wants to know."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.sessions import Sessions
from mcp_interface.capability import Verdict
from mcp_interface.client import Passing, ToolProgress, ToolSaid
from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, TooMuch
from mcp_interface.events import ExecutionChanged
from mcp_interface.ids import ExecutionId
from mcp_interface.question import Inquiry, Response
from mcp_interface.tool import Resumption, ToolContext, ToolLog

MAX_HANDLE: Final = 1024 * 1024
"""Characters of a handle; it is journaled."""

Aside = Callable[[ExecutionId], AbstractAsyncContextManager[None]]
"""While it is entered, a call has given its turn to others; leaving it waits for another one."""


class Talk:
    """One running call's way to talk.

    Args:
        request: What runs.
        execution_id: As which.
        questions: Ask people.
        sessions: Keep handles.
        publish: Where what only passes by goes.
        clock: Dates the events.
        aside: Gives the turn away for as long as somebody thinks.
        judge_anew: Raises if the call may not go on; hours may have passed.
    """

    def __init__(
        self,
        request: ToolRequest,
        execution_id: ExecutionId,
        questions: OpenQuestions,
        sessions: Sessions,
        publish: Callable[[Passing], None],
        clock: Clock,
        aside: Aside,
        judge_anew: Callable[[], Awaitable[None]],
    ) -> None:
        self._request = request
        self._execution_id = execution_id
        self._questions = questions
        self._sessions = sessions
        self._publish = publish
        self._clock = clock
        self._aside = aside
        self._judge_anew = judge_anew
        self._asking = 0
        self._left = 0.0
        self._over = False
        self.deadline: asyncio.Timeout | None = None
        """Of the call; it rests while somebody is asked."""
        self.seconds: float | None = None
        """How many the call has, from its beginning and from each time that it says how far it is."""

    def end(self) -> None:
        """The tool has let go of the call: a server that asks on behind its answer asks nobody."""
        self._over = True

    def context(self, verdicts: list[Verdict]) -> ToolContext:
        """Under which circumstances the tool runs."""
        request, left = self._request, self._request.left
        return ToolContext(
            execution_id=self._execution_id,
            principal_id=request.principal_id,
            session_id=request.session_id,
            verdicts=verdicts,
            progress=self._report,
            log=self._say,
            answers=self._questions.kinds(request),
            ask=self._ask,
            keep=self._keep,
            resumption=Resumption(handle=left.handle, responses=left.responses) if left.handle else None,
        )

    async def _report(self, progress: float, message: str) -> None:
        self._renew()
        self._publish(
            ToolProgress(
                session_id=self._request.session_id,
                execution_id=self._execution_id,
                progress=min(100.0, max(0.0, progress)),
                message=message,
            )
        )

    def _renew(self) -> None:
        """What says how far it is has not hung; a server's own deadline, which is the first, ends what only says so."""
        deadline = self.deadline
        if deadline is None or self.seconds is None or deadline.expired() or deadline.when() is None:
            return
        deadline.reschedule(asyncio.get_running_loop().time() + self.seconds)

    def _say(self, line: ToolLog) -> None:
        self._publish(
            ToolSaid(session_id=self._request.session_id, execution_id=self._execution_id, line=line)
        )

    async def _keep(self, handle: str) -> None:
        self._check(handle)
        kept = ExecutionChanged(
            timestamp=self._clock.now(),
            execution_id=self._execution_id,
            session_id=self._request.session_id,
            principal_id=self._request.principal_id,
            status="kept",
            handle=handle,
        )
        await self._sessions.add(self._request.session_id, kept)

    async def _ask(self, inquiries: Sequence[Inquiry], handle: str) -> dict[str, Response]:
        self._check(handle)
        if self._over or (self.deadline is not None and self.deadline.expired()):
            raise CallerMistaken(f"{self._execution_id} has ended", "ask while the call goes on")
        async with self._resting(), self._aside(self._execution_id):
            responses = await self._questions.ask(self._request, self._execution_id, inquiries, handle)
        await self._judge_anew()
        return responses

    def _check(self, handle: str) -> None:
        if len(handle) > MAX_HANDLE:
            raise TooMuch(f"a handle of {len(handle)} characters", f"keep it below {MAX_HANDLE}")

    @asynccontextmanager
    async def _resting(self) -> AsyncIterator[None]:
        """The call's time does not run meanwhile, however many questions it has open."""
        now = asyncio.get_running_loop().time
        deadline = self.deadline
        if deadline is None or (self._asking == 0 and deadline.when() is None):
            yield
            return
        if self._asking == 0:
            self._left = (deadline.when() or now()) - now()
            deadline.reschedule(None)
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if self._asking == 0 and not self._over:
                deadline.reschedule(now() + self._left)
