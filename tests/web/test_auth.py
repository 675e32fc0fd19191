"""From a one-time code to a login and out again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_interface.commands import ListSessions, Page

COOKIE = {"cookie": "umbrella_login=key-1", "x-umbrella": "1"}


def test_the_link_logs_in_by_a_cookie_that_no_script_and_no_foreign_page_can_use(
    browse: Callable[..., Any],
) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            answer = await http.get("/login?code=code-1", follow_redirects=False)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            cookie = answer.headers["set-cookie"].lower()
            assert "umbrella_login=key-1" in cookie
            assert {"httponly", "samesite=strict", "path=/", "max-age=86400"} <= set(cookie.split("; "))

    asyncio.run(scenario())


def test_a_link_works_once(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            await http.get("/login?code=code-1", follow_redirects=False)
            again = await http.get("/login?code=code-1", follow_redirects=False)
            assert again.headers["location"] == "/?login=failed"
            assert "set-cookie" not in again.headers

    asyncio.run(scenario())


def test_a_program_gets_the_key_in_the_body(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            answer = await http.post("/api/login", json={"code": "code-1"})
            assert answer.status_code == 201
            assert answer.json()["key"] == "key-1"
            http.cookies.clear()
            wrong = await http.post("/api/login", json={"code": "code-1"})
            assert (wrong.status_code, wrong.json()["code"]) == (401, "login_required")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "umbrella_login=wrong"},
        {"cookie": "other=key-1"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic key-1"},
    ],
)
def test_without_a_login_nothing_is_answered_and_nothing_is_read(
    browse: Callable[..., Any], door: Any, headers: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            for path in (
                "sessions",
                "agents",
                "servers",
                "tools",
                "capabilities",
                "approvals",
                "audit",
                "status",
            ):
                answer = await http.get(f"/api/{path}", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "login_required"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            # The body is not even looked at: 401 and not 400.
            bad = await http.post("/api/sessions", content=b"{", headers={**headers, "x-umbrella": "1"})
            assert bad.status_code == 401
        assert door.commands() == []

    asyncio.run(scenario())


def test_cookie_and_bearer_token_both_log_in(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ListSessions] = Page(items=[])
        async with browse(None) as http:
            assert (await http.get("/api/sessions", headers=COOKIE)).status_code == 200
            bearer = {"authorization": "Bearer key-1"}
            assert (await http.get("/api/sessions", headers=bearer)).status_code == 200

    asyncio.run(scenario())


def test_who_am_i_answers_strangers_without_a_refusal(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            assert (await http.get("/api/login")).json() == {"login": None}
            known = await http.get("/api/login", headers=COOKIE)
            assert known.json()["login"]["principal_id"].startswith("user_")
            ended = await http.get("/api/login", headers={"cookie": "umbrella_login=wrong"})
            assert ended.json() == {"login": None}

    asyncio.run(scenario())


def test_logging_out_ends_the_key_and_its_connection(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ListSessions] = Page(items=[])
        async with browse(None) as http:
            await http.get("/api/sessions", headers=COOKIE)
            assert door.connected == 2  # the owner's and the login's
            out = await http.post("/api/logout", headers=COOKIE)
            assert out.status_code == 204
            assert "max-age=0" in out.headers["set-cookie"].lower()
            assert door.connected == 1
            assert (await http.get("/api/sessions", headers=COOKIE)).status_code == 401

    asyncio.run(scenario())


def test_a_login_that_is_ended_elsewhere_is_noticed_at_once(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ListSessions] = Page(items=[])
        async with browse(None) as http:
            await http.get("/api/sessions", headers=COOKIE)
            door.keys.clear()
            assert (await http.get("/api/sessions", headers=COOKIE)).status_code == 401
            assert door.connected == 1

    asyncio.run(scenario())
