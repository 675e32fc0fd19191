"""Commands about the node itself. Every figure is measured when it is asked for."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from mcp_core.agents.directory import Directory
from mcp_core.gateway.gateway import Handler
from mcp_core.gateway.handlers.owning import require_owner
from mcp_core.gateway.handlers.security import AuditTrail
from mcp_core.gateway.handlers.storage import StorageCommands
from mcp_core.gateway.questions import OpenQuestions
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.toolbox import Toolbox
from mcp_core.providers.lender import Lender
from mcp_core.runtime.commit import Journal
from mcp_interface.approval import ApprovalDesk
from mcp_interface.commands import (
    Check,
    GetHealth,
    GetStatus,
    ModelStatus,
    NodeStatus,
    ShareVariables,
    StopNode,
)
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import PrincipalId

DISK_WARNING = 0.85
DISK_ERROR = 0.95


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a node once it runs."""

    version: str
    pid: int
    data_dir: Path
    started_at: datetime
    owner: PrincipalId
    recovered: int


class NodeCommands:
    """Handlers over the node as a whole."""

    def __init__(
        self,
        birth: Birth,
        journal: Journal,
        storage: StorageCommands,
        sessions: Sessions,
        directory: Directory,
        toolbox: Toolbox,
        desk: ApprovalDesk,
        questions: OpenQuestions,
        audit: AuditTrail,
        models: Lender,
        stop: Callable[[], None],
    ) -> None:
        self._birth = birth
        self._journal = journal
        self._storage = storage
        self._sessions = sessions
        self._directory = directory
        self._toolbox = toolbox
        self._desk = desk
        self._questions = questions
        self._audit = audit
        self._models = models
        self._stop = stop

    def handlers(self) -> dict[type, Handler]:
        """Which command goes where."""
        return {
            GetStatus: self.status,
            GetHealth: self.health,
            StopNode: self.stop,
            ShareVariables: self.share,
        }

    async def status(self, who: PrincipalId, command: GetStatus) -> NodeStatus:
        """The node at a glance."""
        require_owner(who, self._birth.owner, "look at how it is")
        await self._models.look()
        return NodeStatus(
            version=self._birth.version,
            pid=self._birth.pid,
            data_dir=str(self._birth.data_dir),
            started_at=self._birth.started_at,
            epoch=self._journal.epoch,
            position=self._journal.bus.position,
            owner=self._birth.owner,
            sessions=self._sessions.count(),
            agents=self._directory.count(),
            servers=len(self._toolbox.host.statuses()),
            pending_approvals=len(self._desk.pending()),
            pending_questions=self._questions.count(),
            model=self._models.status(),
            recovered=self._birth.recovered,
        )

    async def health(self, who: PrincipalId, command: GetHealth) -> list[Check]:
        """Measure disk, journal, audit, servers and model."""
        require_owner(who, self._birth.owner, "measure its health")
        await self._models.look()
        return [
            await asyncio.to_thread(disk, self._birth.data_dir),
            await self._storage.check(),
            await self._audit_check(),
            *self._server_checks(),
            self._model_check(),
        ]

    async def stop(self, who: PrincipalId, command: StopNode) -> None:
        """End the process after the answer is out."""
        require_owner(who, self._birth.owner, "stop it")
        asyncio.get_running_loop().call_later(0.05, self._stop)

    async def share(self, who: PrincipalId, command: ShareVariables) -> ModelStatus:
        """Take variables into memory."""
        require_owner(who, self._birth.owner, "lend it variables")
        self._models.lend(command.variables)
        await self._models.look()
        return self._models.status()

    async def _audit_check(self) -> Check:
        try:
            report = await self._audit.verify()
        except UmbrellaError as error:
            return Check(name="audit", status="error", detail=error.message, remedy=error.remedy)
        if not report.ok:
            return Check(name="audit", status="error", detail=report.problem, remedy="compare with a backup")
        return Check(name="audit", status="ok", detail=f"chain of {report.entries} entries is whole")

    def _server_checks(self) -> Sequence[Check]:
        return [
            Check(
                name=f"server {status.name}",
                status="ok" if status.state == "ready" else "warning",
                detail=f"{status.state}, {status.tools} tools"
                + (f": {status.error}" if status.error else ""),
                remedy=f"see {status.log_file}" if status.error and status.log_file else "",
            )
            for status in self._toolbox.host.statuses()
        ]

    def _model_check(self) -> Check:
        model = self._models.status()
        if model.ready:
            return Check(name="model", status="ok", detail=f"{model.provider} {model.model}".strip())
        return Check(name="model", status="warning", detail="no model is configured", remedy=model.hint)


def disk(place: Path) -> Check:
    """How full the disk of the data directory is."""
    usage = shutil.disk_usage(place)
    full = usage.used / (usage.used + usage.free)  # as df and the journal count: without what root keeps back
    detail = f"{full:.0%} used, {usage.free // 2**20} MiB free"
    if full >= DISK_ERROR:
        return Check(name="disk", status="error", detail=detail, remedy="free some space now")
    if full >= DISK_WARNING:
        return Check(name="disk", status="warning", detail=detail, remedy="free some space soon")
    return Check(name="disk", status="ok", detail=detail)
