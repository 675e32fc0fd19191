"""Errors as HTTP: the one table from stable code to status, and the body of a problem (RFC 9457)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_interface.errors import CODES, ErrorBody, UmbrellaError

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[str, int]] = {
    "error": 500,
    "invalid_input": 400,
    "deadlock": 409,
    "invalid_address": 400,
    "invalid_record": 400,
    "denied": 403,
    "login_required": 401,
    "not_found": 404,
    "lost_race": 409,
    "version_conflict": 409,
    "stale_epoch": 409,
    "wrong_state": 409,
    "overloaded": 429,
    "timeout": 504,
    "unavailable": 503,
    "storage_unavailable": 503,
    "storage_corrupt": 500,
    "server_unavailable": 502,
    "interrupted": 502,
    "model_unavailable": 503,
    "node_unavailable": 503,
    "circuit_open": 503,
    "internal": 500,
}
"""HTTP status of every code of `mcp_interface.errors`."""

_BY_STATUS: Final[Mapping[int, str]] = {
    401: "login_required",
    403: "denied",
    404: "not_found",
    409: "lost_race",
    429: "overloaded",
    503: "unavailable",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, for people and for programs."""

    type: str
    """`urn:umbrella:problem:<code>`."""
    title: str
    """The same sentence for every problem of this code."""
    status: int
    code: str
    message: str
    """Names the input and the rule."""
    remedy: str = ""
    """What the reader can do; empty when nothing can be said."""
    details: dict[str, Any] = {}
    request_id: str = ""
    """Also in the header `x-request-id`; the node's log knows it."""


def problem_of(error: UmbrellaError | ErrorBody, request_id: str, status: int | None = None) -> Problem:
    """Describe an error as an HTTP problem.

    Args:
        error: What happened; an unknown code becomes status 500.
        request_id: Of the request that it answers.
        status: Overrules the table, for what only HTTP knows (405, 413, 415).
    """
    body = error.body() if isinstance(error, UmbrellaError) else error
    kind = CODES.get(body.code, UmbrellaError)
    return Problem(
        type=f"urn:umbrella:problem:{body.code}",
        title=(kind.__doc__ or "").strip().splitlines()[0].split(". ")[0],
        status=STATUS.get(body.code, 500) if status is None else status,
        code=body.code,
        message=body.message,
        remedy=body.remedy,
        details=body.details,
        request_id=request_id,
    )


def code_of(status: int) -> str:
    """The stable code that fits an HTTP status which the web framework raised by itself."""
    return _BY_STATUS.get(status, "invalid_input" if status < 500 else "internal")
