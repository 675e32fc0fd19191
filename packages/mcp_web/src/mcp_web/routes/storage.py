"""/api/storage: how the journal is, the proof that it is whole, and making anew what is derived from it."""

from typing import Final

from litestar import get, post

from mcp_interface.commands import GetStorage, RebuildStorage, StorageCheck, VerifyStorage
from mcp_interface.store import StoreReport
from mcp_web.auth import CallerDependency
from mcp_web.routes.shape import PROBLEMS

WHOLE_S: Final = 3600.0
"""Seconds that reading a whole journal may take."""


@get("/storage", responses=PROBLEMS, summary="How the journal is, and what its last opening found")
async def storage_status(caller: CallerDependency) -> StoreReport:
    """A journal that is read-only is an answer, not an error."""
    return await caller.ask(GetStorage())


@post("/storage/verify", status_code=200, responses=PROBLEMS, summary="Read the whole journal back")
async def verify_storage(caller: CallerDependency) -> StorageCheck:
    """A damaged journal is an answer (`ok` false), not an error."""
    return await caller.ask(VerifyStorage(), WHOLE_S)


@post("/storage/rebuild", status_code=200, responses=PROBLEMS, summary="Make anew what is derived from it")
async def rebuild_storage(caller: CallerDependency) -> StoreReport:
    """For the owner of the node; nothing of the journal itself changes."""
    return await caller.ask(RebuildStorage(), WHOLE_S)


ROUTES = [storage_status, verify_storage, rebuild_storage]
