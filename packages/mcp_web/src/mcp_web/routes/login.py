"""/login and /api/login: from a one-time code to a login, and out again."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery, JSONBody
from litestar.response import Redirect
from msgspec import Meta

from mcp_interface.clock import Clock
from mcp_interface.commands import Login, LoginKey
from mcp_interface.errors import LoginRequired
from mcp_web.auth import AnyRequest, CallerDependency, clients_of, key_of, login_cookie, no_cookie
from mcp_web.routes.shape import PROBLEMS

Code = Annotated[str, Meta(min_length=1, max_length=200)]


class GivenCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A one-time login code."""

    code: Code


@get("/login", include_in_schema=False)
async def follow_link(request: AnyRequest, code: FromQuery[str] = "") -> Redirect:
    """Redeem the code of a login link and open the dashboard; a used link leads to the login page."""
    try:
        if not code or len(code) > 200:
            raise LoginRequired("the link carries no login code")
        key = await clients_of(request).redeem(code)
    except LoginRequired:
        return Redirect("/?login=failed" if code else "/", status_code=303)
    return Redirect("/", status_code=303, cookies=[_cookie(request, key)])


@post(
    "/api/login",
    status_code=201,
    responses=PROBLEMS,
    summary="Exchange a one-time code for a login key",
    security=[{}],
)
async def log_in(request: AnyRequest, data: JSONBody[GivenCode]) -> Response[LoginKey]:
    """The key comes in the body for programs and as a cookie for browsers."""
    key = await clients_of(request).redeem(data.code)
    return Response(key, cookies=[_cookie(request, key)])


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking."""

    login: Login | None
    """None: nobody that is known here."""


@get("/api/login", responses=PROBLEMS, summary="Who am I", security=[{}])
async def who_am_i(request: AnyRequest) -> Who:
    """The person behind this login and when it ends; a stranger gets null instead of a refusal."""
    key = key_of(request)
    if key is None:
        return Who(login=None)
    try:
        return Who(login=await clients_of(request).check(key))
    except LoginRequired:
        return Who(login=None)


@post("/logout", status_code=204, responses=PROBLEMS, summary="End this login")
async def log_out(caller: CallerDependency) -> Response[None]:
    """Its streams are closed, too."""
    await caller.leave()
    return Response(None, status_code=204, cookies=[no_cookie()])


def _cookie(request: AnyRequest, key: LoginKey) -> Any:
    clock: Clock = request.app.state.clock
    return login_cookie(key.key, key.login, clock, secure=request.url.scheme == "https")


PUBLIC: list[Any] = [follow_link, log_in, who_am_i]
PRIVATE: list[Any] = [log_out]
