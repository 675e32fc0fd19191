"""A login to a server from the dashboard: where it leads back to, and what comes of it."""

import asyncio
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from mcp_interface.errors import NotPermitted
from mcp_interface.secret import FinishLogin, LoginServer

COOKIE = {"cookie": "umbrella_login=key-1"}
BACK = "/oauth/callback/docs?code=a%2Bb&state=s"
PAGE = "https://login.example/authorize?state=s"


def test_a_login_that_is_begun_here_leads_back_here(browse: Callable[..., Any], door: Any) -> None:
    door.answers[LoginServer] = PAGE

    async def work() -> None:
        async with browse() as http:
            answer = await http.post("/api/servers/docs/login")
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"url": PAGE}
        assert door.commands() == [
            LoginServer(name="docs", redirect_url="http://127.0.0.1:8420/oauth/callback/docs")
        ]

    asyncio.run(work())


def test_what_comes_back_is_handed_over_and_the_dashboard_opens(
    browse: Callable[..., Any], door: Any
) -> None:
    door.answers[FinishLogin] = None

    async def work() -> None:
        async with browse(key=None) as http:
            # the authorization server's redirect: no foreign page can make the browser send the cookie
            first = await http.get(BACK, follow_redirects=False)
            assert first.status_code == 200 and first.headers["cache-control"] == "no-store"
            assert door.commands() == []
            found = re.search(r'content="0;url=([^"]+)"', first.text)
            assert found is not None
            second = await http.get(unescape(found[1]), headers=COOKIE, follow_redirects=False)
        assert (second.status_code, second.headers["location"]) == (303, "/")
        assert door.commands() == [FinishLogin(name="docs", callback_url=f"http://127.0.0.1:8420{BACK}")]

    asyncio.run(work())


@pytest.mark.parametrize("headers", [{}, {"cookie": "umbrella_login=wrong"}])
def test_nobody_else_finishes_a_login(browse: Callable[..., Any], door: Any, headers: dict[str, str]) -> None:
    async def work() -> None:
        async with browse(key=None, **headers) as http:
            answer = await http.get(f"{BACK}&umbrella_again=1", follow_redirects=False)
        assert answer.status_code == 401 and "Log in to the dashboard" in answer.text
        assert door.commands() == []

    asyncio.run(work())


def test_a_login_that_fails_says_so_and_runs_no_script(browse: Callable[..., Any], door: Any) -> None:
    door.answers[FinishLogin] = NotPermitted("declined <script>alert(1)</script>", "begin again")

    async def work() -> None:
        async with browse(key=None, **COOKIE) as http:
            answer = await http.get(f"{BACK}%22%3E%3Cscript%3E", follow_redirects=False)
            odd = await http.get("/oauth/callback/%22%3E%3Cscript%3E?state=%22%3E", follow_redirects=False)
            bare = await http.get(
                "/oauth/callback/%22%3E%3Cscript%3E?state=%22%3E", headers={"cookie": "a=b"}
            )
        assert answer.status_code == 403 and "declined" in answer.text
        assert all("<script>" not in text for text in (answer.text, odd.text, bare.text))

    asyncio.run(work())


def test_a_login_is_begun_by_people_only(browse: Callable[..., Any], door: Any) -> None:
    async def work() -> None:
        async with browse(key=None) as http:
            assert (await http.post("/api/servers/docs/login")).status_code == 401
        assert door.commands() == []

    asyncio.run(work())
