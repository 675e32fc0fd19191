"""The tools of the server `http`, through the real gate and over real sockets."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcp_core.tools.http import Fetch, SendRequest, http_tools
from mcp_interface.address import parse_resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, NotPermitted, WorldBroken
from mcp_interface.ids import new_id
from mcp_interface.testing.exams.tool import check_tool
from mcp_interface.tool import Tool, ToolContext, ToolResult
from mcp_security.validators.api import ApiGate
from security.local_web import Page, Web, moved, reply, serving

GATE = ApiGate()


def context(*verdicts: Verdict) -> ToolContext:
    return ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=list(verdicts),
    )


def use(
    kind: type[Any],
    pages: Mapping[str, Page],
    path: str = "/",
    *,
    limits: dict[str, Any] | None = None,
    **args: Any,
) -> tuple[ToolResult, Web]:
    """Run a tool against a local server, with an allow of all of it for the method."""

    async def work() -> tuple[ToolResult, Web]:
        async with serving(pages) as web, asyncio.timeout(60):
            method = args.get("method", "GET").lower()
            covering = f"mcp://api/{method}/http/localhost:{web.port}/**"
            allow = Verdict(
                allowed=True, reason="allowed", message="", covering=covering, limits=limits or {}
            )
            tool, given = kind(GATE), {"url": f"http://localhost:{web.port}{path}", **args}
            tool.validate_args(given)
            return await tool.execute(given, context(allow)), web

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("kind", "more"), [(Fetch, {}), (SendRequest, {"method": "POST", "body": "{}", "headers": {"X-A": "b"}})]
)
def test_each_tool_passes_the_exam(kind, more) -> None:
    async def work() -> None:
        async with serving({"/": reply(200, b"hello", Content_Type="text/plain")}) as web:

            @asynccontextmanager
            async def made() -> AsyncIterator[Tool]:
                yield kind(GATE)

            good = {"url": f"http://localhost:{web.port}/", **more}
            bad = [
                {**more}, {**good, "url": "localhost"}, {**good, "url": "http://a@b.example/"}, {**good, "other": 1},
                {**good, "method": "TRACE"}, {**good, "method": "get"}, {**good, "headers": {"Host": "x"}},
                {**good, "headers": {"X": "a\nb"}}, {**good, "max_bytes": 0}, {**good, "timeout_s": 1000}, {**good, "headers": []},
            ]  # fmt: skip
            await check_tool(made, good=good, bad=bad)

    asyncio.run(work())


def test_the_right_is_on_the_very_method_and_url() -> None:
    url = "https://API.example.com/v1/%61?q=1#f"
    args = {"url": url, "method": "HEAD"}
    assert Fetch(GATE).needs(args) == [
        Need(parse_resource("mcp://api/head/https/api.example.com/v1/a"), Facts(arguments=args, size=0))
    ]
    args = {"url": url, "method": "PUT", "body": "\u00e9"}
    assert SendRequest(GATE).needs(args) == [
        Need(parse_resource("mcp://api/put/https/api.example.com/v1/a"), Facts(arguments=args, size=2))
    ]


def test_only_what_reads_says_so() -> None:
    fetch, request = (tool.info() for tool in http_tools(GATE))
    assert (fetch.server, fetch.name, fetch.read_only, fetch.destructive) == ("http", "fetch", True, False)
    assert (request.server, request.name, request.read_only, request.destructive) == (
        "http",
        "request",
        False,
        True,
    )
    assert fetch.required_capabilities == ["mcp://api/get/**", "mcp://api/head/**"]
    assert "body" not in fetch.parameters["properties"]
    with pytest.raises(CallerMistaken):
        Fetch(GATE).validate_args({"url": "https://a.example/", "method": "POST"})


def test_text_is_shown_with_its_status() -> None:
    page = reply(200, "h\u00f6llo".encode(), Content_Type="text/html; charset=UTF-8", X_One="1")
    result, web = use(Fetch, {"/a": page}, "/a?q")
    url = f"http://localhost:{web.port}/a?q"
    assert result.text == f"GET {url}: 200\nh\u00f6llo"
    assert not result.is_error
    assert result.structured == {
        "url": url, "status": 200, "headers": [["content-length", "6"], ["content-type", "text/html; charset=UTF-8"], ["x-one", "1"]],
        "redirects": [], "stopped": "", "size": 6, "truncated": False, "binary": False, "undecodable": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"{}", "application/problem+json", "{}"),
        (b"plain", "", "plain"),
        ("\u00e9".encode("latin-1"), "text/plain; charset=ISO-8859-1", "\u00e9"),
        (b"\xe9", "text/plain", "\ufffd"),
        (b"x", "text/plain; charset=bz2", "x"),
        (b"x", "text/plain; charset=no-such", "x"),
    ],
)
def test_text_is_decoded_as_the_answer_says_but_unpacks_nothing(body, kind, text) -> None:
    headers = {"Content_Type": kind} if kind else {}
    result, _ = use(Fetch, {"/": reply(200, body, **headers)})
    assert result.text.partition("\n")[2] == text


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\x89PNG\0", {"Content_Type": "image/png"}),
        (b"\0\0", {"Content_Type": "text/plain"}),
        (b"br", {"Content_Type": "text/plain", "Content_Encoding": "br"}),
        (b"a", {"Content_Type": "application/octet-stream"}),
    ],
)
def test_a_binary_answer_is_described_not_shown(body, headers) -> None:
    result, _ = use(Fetch, {"/": reply(200, body, **headers)})
    assert f"of {len(body)} bytes; it is not shown" in result.text
    assert result.structured["binary"]


def test_a_long_answer_is_cut_between_characters_and_says_so() -> None:
    page = reply(
        200, gzip.compress("\u00f6".encode() * 100), Content_Type="text/plain", Content_Encoding="gzip"
    )
    result, _ = use(Fetch, {"/": page}, max_bytes=7)
    assert result.text.endswith("\n\u00f6\u00f6\u00f6\n[cut after 7 bytes]")
    assert result.structured["truncated"]


def test_the_limits_of_the_right_are_handed_on() -> None:
    result, _ = use(Fetch, {"/": reply(200, b"hello", Content_Type="text/plain")}, limits={"max_bytes": 2})
    assert result.text.endswith("\nhe\n[cut after 2 bytes]")


def test_head_has_no_text() -> None:
    result, web = use(Fetch, {"/": b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n"}, method="HEAD")
    assert result.text == f"HEAD http://localhost:{web.port}/: 200"


def test_an_answer_of_400_or_above_is_an_error() -> None:
    result, _ = use(Fetch, {"/": reply(500, b"sorry", Content_Type="text/plain")})
    assert result.is_error
    assert result.text.endswith("500\nsorry")


def test_a_request_is_sent_with_its_body_and_headers() -> None:
    result, web = use(
        SendRequest,
        {"/": reply(201)},
        method="POST",
        body='{"\u00e9":1}',
        headers={"Content-Type": "application/json"},
    )
    assert result.structured["status"] == 201
    seen = web.seen[0]
    assert (seen.method, seen.body.decode(), seen.headers["content-type"]) == (
        "POST",
        '{"\u00e9":1}',
        "application/json",
    )


def test_a_redirect_out_of_the_right_is_shown_not_followed() -> None:
    result, web = use(Fetch, {"/": moved("http://169.254.169.254/latest/")})
    assert "[redirect to http://169.254.169.254/latest/ not followed: " in result.text
    assert "not covered" in result.structured["stopped"]
    assert len(web.seen) == 1


def test_redirects_within_the_right_are_told() -> None:
    result, web = use(Fetch, {"/": moved("/b"), "/b": reply(200, b"x", Content_Type="text/plain")})
    assert result.structured["redirects"] == [f"http://localhost:{web.port}/"]
    assert result.structured["url"].endswith("/b")


def test_headers_are_shown_up_to_a_bound() -> None:
    many = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(60))
    result, _ = use(Fetch, {"/": b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n" + many + b"\r\n"})
    assert len(result.structured["headers"]) == 40
    assert max(len(value) for _, value in result.structured["headers"]) == 500


def test_half_a_surrogate_pair_and_a_body_too_long_are_refused() -> None:
    for body in ("\ud800", "\u00e9" * (3 * 1024 * 1024)):
        with pytest.raises(CallerMistaken, match="body"):
            SendRequest(GATE).validate_args({"url": "https://a.example/", "method": "POST", "body": body})


@pytest.mark.parametrize(
    "verdicts", [[], [Verdict(allowed=False, reason="no_capability", message="", covering="mcp://api/get/**")],
                 [Verdict(allowed=True, reason="allowed", message="")]]
)  # fmt: skip
def test_without_an_allow_nothing_is_sent(verdicts) -> None:
    with pytest.raises(NotPermitted, match="without the right"):
        asyncio.run(Fetch(GATE).execute({"url": "http://localhost:9/"}, context(*verdicts)))


def test_an_allow_of_something_else_does_not_help() -> None:
    allow = Verdict(allowed=True, reason="allowed", message="", covering="mcp://api/get/http/localhost:8/**")
    with pytest.raises(NotPermitted, match="not covered"):
        asyncio.run(Fetch(GATE).execute({"url": "http://localhost:9/"}, context(allow)))


def test_what_does_not_answer_is_the_worlds_fault() -> None:
    async def work() -> None:
        async with serving({}) as web:
            port = web.port
        covering = f"mcp://api/get/http/localhost:{port}/**"
        allow = Verdict(allowed=True, reason="allowed", message="", covering=covering)
        with pytest.raises(WorldBroken, match="does not accept"):
            await Fetch(GATE).execute({"url": f"http://localhost:{port}/"}, context(allow))

    asyncio.run(work())
