"""/api/servers/{name}/login and /oauth/callback: a person logs in to an MCP server from the dashboard.

The page of the login is somebody else's, so its way back here comes without our cookie, which is SameSite=Strict. It is
therefore answered with a page of ours that opens the same address once more, and that request has the cookie.
"""

from html import escape
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from mcp_interface.errors import LoginRequired, UmbrellaError
from mcp_interface.secret import FinishLogin, LoginServer
from mcp_web.auth import AnyRequest, CallerDependency, key_of, provide_caller
from mcp_web.problem import problem_of
from mcp_web.routes.shape import PROBLEMS

ANSWER_S: Final = 120.0
"""Seconds for the node to hear from the authorization server."""
MAX_QUERY: Final = 16_384
_AGAIN: Final = "umbrella_again"


class LoginPage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a person logs in."""

    url: str


@post("/servers/{name:str}/login", responses=PROBLEMS, summary="Begin to log in to a server")
async def begin_login(request: AnyRequest, caller: CallerDependency, name: FromPath[str]) -> LoginPage:
    """Answers with the page to open; it leads back to this server, in the same browser."""
    back = f"{request.url.scheme}://{request.url.netloc}/oauth/callback/{quote(name, safe='')}"
    return LoginPage(url=await caller.ask(LoginServer(name=name, redirect_url=back), timeout=ANSWER_S))


@get("/oauth/callback/{server:str}", include_in_schema=False)
async def finish_login(
    request: AnyRequest, server: FromPath[str], umbrella_again: FromQuery[bool] = False
) -> Response[str] | Redirect:
    """Hand over what came back, and open the dashboard."""
    query = request.url.query.removesuffix(f"&{_AGAIN}=1")
    if len(query) > MAX_QUERY:
        return _page("The login failed", "what came back is too long", 400)
    if key_of(request) is None and not umbrella_again:
        return _once_more(f"{request.url.path}?{query}&{_AGAIN}=1")
    try:
        callback = f"{request.url.scheme}://{request.url.netloc}{request.url.path}?{query}"
        await provide_caller(request).ask(FinishLogin(name=server, callback_url=callback), timeout=ANSWER_S)
    except LoginRequired:
        return _page("Log in to the dashboard first", "then begin the login to the server again", 401)
    except UmbrellaError as error:
        return _page("The login failed", str(error), problem_of(error, "").status)
    return Redirect("/", status_code=303)


def _once_more(address: str) -> Response[str]:
    refresh = f'<meta http-equiv="refresh" content="0;url={escape(address)}">'
    return _html(f"{refresh}<title>Umbrella</title><p>One moment.", 200)


def _page(title: str, text: str, status: int) -> Response[str]:
    return _html(
        f'<title>{title}</title><h1>{title}</h1><p>{escape(text)}<p><a href="/">Dashboard</a>', status
    )


def _html(body: str, status: int) -> Response[str]:
    whole = f'<!doctype html><html lang="en"><meta charset="utf-8">{body}'
    return Response(whole, media_type="text/html", status_code=status, headers={"cache-control": "no-store"})


PRIVATE: list[Any] = [begin_login]
PUBLIC: list[Any] = [finish_login]
