"""What routes have in common: the parameters of every list, and the problems that any of them may answer."""

from typing import Annotated, Final

from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter

from mcp_web.problem import MEDIA_TYPE, Problem

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="Most items that one page holds.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=500, description="From the page before; omit it for the first page."),
]
PROBLEMS: Final = {
    status: ResponseSpec(Problem, generate_examples=False, media_type=MEDIA_TYPE, description=told)
    for status, told in {
        400: "The request is wrong",
        401: "No login",
        403: "Not permitted",
        404: "Not found",
        409: "Somebody else was first",
        429: "Too much at once",
        503: "Something outside is broken",
    }.items()
}
"""For the `responses` of a route."""
