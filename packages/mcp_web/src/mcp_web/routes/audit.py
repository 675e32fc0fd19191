"""/api/audit: the trail of decisions, the proof that nobody touched it, and a copy of it to take away."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery
from litestar.response import Stream

from mcp_interface.capability import AuditEntry
from mcp_interface.clock import Instant
from mcp_interface.codec import encode_json
from mcp_interface.commands import AuditReport, Page, ReadAudit, VerifyAudit
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import CapabilityId
from mcp_web.auth import Caller, CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

VERIFY_S: Final = 120.0
EXPORT_PAGE: Final = 500
"""Entries that are in memory at a time during an export."""
JSON_LINES: Final = "application/x-ndjson"
EXPORTED: Final = ResponseSpec(
    str, generate_examples=False, media_type=JSON_LINES, description="One JSON object a line, oldest first"
)


def provide_wanted(
    principal: FromQuery[str | None] = None,
    capability_id: FromQuery[str | None] = None,
    resource_uri: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    denied_only: FromQuery[bool] = False,
    since: FromQuery[Instant | None] = None,
    until: FromQuery[Instant | None] = None,
) -> ReadAudit:
    """Which entries are wanted; how many of them is the route's to say.

    Raises:
        CallerMistaken: A time is without a zone, which the framework lets through.
    """
    for name, time in {"since": since, "until": until}.items():
        if time is not None and time.tzinfo is None:
            raise CallerMistaken(f"{name}: {time.isoformat()} has no time zone", "add one, such as Z for UTC")
    return ReadAudit(
        principal=principal or None,
        capability_id=CapabilityId(capability_id) if capability_id else None,
        resource_uri=resource_uri or None,
        kind=kind or None,
        denied_only=denied_only,
        since=since,
        until=until,
    )


WANTED: Final = {"wanted": Provide(provide_wanted, sync_to_thread=False)}
WantedDependency = NamedDependency[ReadAudit]


@get("/audit", responses=PROBLEMS, dependencies=WANTED, summary="Read audit entries, newest first")
async def read_audit(
    caller: CallerDependency,
    wanted: WantedDependency,
    oldest_first: FromQuery[bool] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """`resource_uri` may be a glob; from `since` on and before `until`; entries cannot be changed or removed."""
    query = msgspec.structs.replace(wanted, oldest_first=oldest_first, limit=limit, cursor=cursor)
    return await caller.ask(query)


@get(
    "/audit/export",
    responses={**PROBLEMS, 200: EXPORTED},
    dependencies=WANTED,
    summary="Download audit entries as JSON lines, oldest first",
)
async def export_audit(caller: CallerDependency, wanted: WantedDependency) -> Stream:
    """What was recorded when the request came; a broken connection means that it is not all."""
    newest = (await caller.ask(ReadAudit(limit=1))).items
    last = newest[0].seq if newest else -1
    query = msgspec.structs.replace(wanted, oldest_first=True, limit=EXPORT_PAGE)
    # The first page is asked for here, so that a wrong filter is a problem and not half a file.
    first = await caller.ask(query)
    return Stream(
        _lines(caller, query, first, last),
        media_type=JSON_LINES,
        headers={"content-disposition": 'attachment; filename="umbrella-audit.jsonl"'},
    )


async def _lines(caller: Caller, query: ReadAudit, page: Page[AuditEntry], last: int) -> AsyncIterator[bytes]:
    """The entries up to number `last`; what is recorded meanwhile would never let this end."""
    while True:
        fitting = [entry for entry in page.items if entry.seq <= last]
        if fitting:
            yield b"".join(encode_json(entry) + b"\n" for entry in fitting)
        if page.cursor is None or len(fitting) < len(page.items):
            return
        page = await caller.ask(msgspec.structs.replace(query, cursor=page.cursor))


@get("/audit/verify", responses=PROBLEMS, summary="Check the audit chain on the node")
async def verify_audit(caller: CallerDependency) -> AuditReport:
    """A broken chain is an answer (`ok` false), not an error."""
    return await caller.ask(VerifyAudit(), VERIFY_S)


ROUTES = [read_audit, export_audit, verify_audit]
