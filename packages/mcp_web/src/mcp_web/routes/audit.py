"""/api/audit: the trail of decisions, and the proof that nobody touched it."""

from litestar import get
from litestar.params import FromQuery

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import AuditReport, Page, ReadAudit, VerifyAudit
from mcp_interface.ids import CapabilityId
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

VERIFY_S = 120.0


@get("/audit", responses=PROBLEMS, summary="Read audit entries, newest first")
async def read_audit(
    caller: CallerDependency,
    principal: FromQuery[str | None] = None,
    capability_id: FromQuery[str | None] = None,
    resource_uri: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    denied_only: FromQuery[bool] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """`resource_uri` may be a glob; entries cannot be changed or removed."""
    command = ReadAudit(
        principal=principal or None,
        capability_id=CapabilityId(capability_id) if capability_id else None,
        resource_uri=resource_uri or None,
        kind=kind or None,
        denied_only=denied_only,
        limit=limit,
        cursor=cursor,
    )
    return await caller.ask(command)


@get("/audit/verify", responses=PROBLEMS, summary="Check the audit chain on the node")
async def verify_audit(caller: CallerDependency) -> AuditReport:
    """A broken chain is an answer (`ok` false), not an error."""
    return await caller.ask(VerifyAudit(), VERIFY_S)


ROUTES = [read_audit, verify_audit]
