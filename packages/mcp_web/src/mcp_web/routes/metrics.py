"""/metrics: the node's figures for Prometheus, behind the same login as everything else.

A scraper sends a login key as its bearer token. The page exists only when the node's configuration asks for
metrics.
"""

from typing import Any, Final

from litestar import Response, get
from litestar.di import Provide

from mcp_interface.commands import GetMetrics
from mcp_web.auth import CallerDependency, provide_caller, require_login

TEXT: Final = "text/plain; version=0.0.4"  # in UTF-8, which the framework adds


@get(
    "/metrics",
    guards=[require_login],
    dependencies={"caller": Provide(provide_caller, sync_to_thread=False)},
    include_in_schema=False,  # it is not ours to describe: the format is Prometheus' own
)
async def metrics(caller: CallerDependency) -> Response[bytes]:
    """Every figure now."""
    text = await caller.ask(GetMetrics())
    return Response(text.encode(), media_type=TEXT, headers={"cache-control": "no-store"})


ROUTES: list[Any] = [metrics]
