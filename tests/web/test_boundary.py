"""Who may speak to the port: hosts, origins, the header of a change, and what every response carries."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mcp_interface.commands import ListSessions, Page
from mcp_interface.testing import SeededEntropy
from mcp_web.boundary import HEADERS, Boundary

SAME = "http://127.0.0.1:8420"


def request(
    method: str = "GET", host: str = "127.0.0.1:8420", kind: str = "http", **headers: str
) -> dict[str, Any]:
    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    return {"type": kind, "method": method, "path": "/api/sessions", "headers": encoded}


def refused(scope: dict[str, Any], boundary: Boundary | None = None) -> str:
    boundary = boundary or Boundary(frozenset({"box.lan"}), SeededEntropy())
    error = boundary.refusal(scope)
    return "" if error is None else str(error.details.get("reason", error.code))


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "[::1]:8420", "BOX.lan", "localhost"])
def test_our_own_names_are_answered(host: str) -> None:
    assert refused(request(host=host)) == ""


@pytest.mark.parametrize(
    "host", ["evil.example", "", "127.0.0.1.evil.example", "10.0.0.5:8420", "[::1", "localhost.evil.example"]
)
def test_a_name_that_was_bound_to_us_by_somebody_else_is_refused(host: str) -> None:
    assert refused(request(host=host)) == "host_not_allowed"


def test_a_server_on_all_addresses_answers_to_literal_addresses_but_not_to_names() -> None:
    boundary = Boundary(frozenset(), SeededEntropy(), any_address=True)
    assert refused(request(host="10.0.0.5:8420"), boundary) == ""
    assert refused(request(host="evil.example"), boundary) == "host_not_allowed"


def test_two_different_hosts_are_a_mistake() -> None:
    scope = request()
    scope["headers"].append((b"host", b"evil.example"))
    assert refused(scope) == "invalid_input"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "file://", ""])
def test_a_change_from_a_foreign_page_is_refused_even_with_the_header(origin: str) -> None:
    scope = request("POST", origin=origin, x_umbrella="1", cookie="umbrella_login=k")
    assert refused(scope) == "origin_not_allowed"


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_a_change_by_cookie_needs_the_header_that_no_foreign_form_can_send(method: str) -> None:
    assert refused(request(method, cookie="umbrella_login=k")) == "csrf_header_missing"
    assert refused(request(method, cookie="umbrella_login=k", x_umbrella="0")) == "csrf_header_missing"
    assert refused(request(method, cookie="umbrella_login=k", x_umbrella="1", origin=SAME)) == ""


def test_a_page_that_logs_in_needs_the_header_too() -> None:
    assert refused(request("POST", origin=SAME)) == "csrf_header_missing"


def test_a_bearer_token_needs_no_header_because_no_page_sends_it_by_itself() -> None:
    assert refused(request("POST", authorization="Bearer k")) == ""


def test_the_mcp_endpoint_keeps_foreign_pages_from_reading_too_and_takes_no_cookie() -> None:
    for path in ("/mcp", "/mcp/some"):
        for method in ("GET", "POST", "DELETE"):
            scope = {**request(method, origin="http://evil.example.com"), "path": path}
            assert refused(scope) == "origin_not_allowed"
        assert refused({**request("POST", origin="http://127.0.0.1:8420"), "path": path}) == ""
    assert refused({**request("POST", origin="http://127.0.0.1:8420"), "path": "/mcpx"})


def test_reading_needs_nothing_special() -> None:
    assert refused(request(cookie="umbrella_login=k")) == ""


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8421"])
def test_a_websocket_from_a_foreign_page_is_refused_whatever_its_cookie(origin: str) -> None:
    scope = request(kind="websocket", origin=origin, cookie="umbrella_login=k", authorization="Bearer k")
    assert refused(scope) == "origin_not_allowed"


def test_a_websocket_of_our_own_page_or_of_a_program_is_let_in() -> None:
    assert refused(request(kind="websocket", origin=SAME)) == ""
    assert refused(request(kind="websocket")) == ""


@pytest.mark.parametrize(
    "path", ["/", "/health", "/api/status", "/api/none", "/api/openapi.json", "/assets/none.js"]
)
def test_every_response_carries_a_request_id_and_the_security_headers(
    browse: Callable[..., Any], path: str
) -> None:
    async def scenario() -> None:
        async with browse(None) as http:
            for host in ("127.0.0.1:8420", "evil.example"):
                response = await http.get(path, headers={"host": host})
                assert len(response.headers["x-request-id"]) >= 8
                assert {name: response.headers.get(name) for name in HEADERS} == dict(HEADERS)

    asyncio.run(scenario())


def test_the_callers_own_request_id_is_kept_and_a_bad_one_replaced(browse: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with browse() as http:
            given = await http.get("/api/none", headers={"x-request-id": "my-request-1"})
            assert given.headers["x-request-id"] == given.json()["request_id"] == "my-request-1"
            bad = await http.get("/api/none", headers={"x-request-id": "a b\tc"})
            assert bad.headers["x-request-id"] == bad.json()["request_id"] != "a b\tc"

    asyncio.run(scenario())


def test_a_refusal_at_the_wall_is_a_problem_like_any_other(browse: Callable[..., Any], door: Any) -> None:
    async def scenario() -> None:
        door.answers[ListSessions] = Page(items=[])
        async with browse() as http:
            refusal = await http.get("/api/sessions", headers={"host": "evil.example"})
            assert refusal.status_code == 403
            assert refusal.headers["content-type"] == "application/problem+json"
            assert refusal.json()["code"] == "denied"
        assert door.commands() == []

    asyncio.run(scenario())
