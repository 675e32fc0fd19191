"""The gate against a real web server, over real sockets and real TLS; only names and addresses are made up."""

import asyncio
import gzip
import os
import tracemalloc
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from mcp_interface.errors import CallerMistaken, DeadlineExceeded, InvalidRecord, NotPermitted, WorldBroken
from mcp_security.validators.api import ApiGate, Response
from security.local_web import OTHER, PUBLIC, Network, Page, Seen, moved, reply, serving

NAMES = {
    "api.test": [[PUBLIC]],
    "www.test": [[OTHER]],
    "inner.test": [["10.0.0.7"]],
    "half.test": [[PUBLIC, "127.0.0.1"]],
    "rebind.test": [[PUBLIC], ["127.0.0.1"]],
    "nothing.test": [[]],
}


def run(work: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


def fetch(
    pages: Mapping[str, Page],
    url: str,
    covering: str = "mcp://api/get/http/api.test/**",
    *,
    limits: Mapping[str, Any] | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    max_bytes: int = 1_000_000,
    timeout_s: float = 30,
) -> tuple[Response, list[Seen], Network]:
    async def work() -> tuple[Response, list[Seen], Network]:
        async with serving(pages) as web:
            network = Network(web, NAMES)
            response = await network.gate().fetch(
                covering, limits or {}, method, url, headers, body, max_bytes=max_bytes, timeout_s=timeout_s
            )
            return response, web.seen, network

    result: tuple[Response, list[Seen], Network] = run(work())
    return result


def refused(
    url: str, covering: str, kind: type[Exception] = NotPermitted, **more: Any
) -> tuple[str, Network]:
    """Nobody may be connected to; returns what the refusal says."""
    network = Network(None, NAMES)
    arguments = {"limits": {}, "method": "GET", "max_bytes": 100, "timeout_s": 30.0, **more}
    limits, method = arguments.pop("limits"), arguments.pop("method")
    with pytest.raises(kind) as caught:
        run(network.gate().fetch(covering, limits, method, url, **arguments))
    assert network.connected == []
    return str(caught.value), network


def test_an_answer_comes_back_whole() -> None:
    response, seen, network = fetch({"/a": reply(200, b"hello", X_One="1")}, "http://api.test/a?q=1#f")
    assert (response.status, response.body, response.truncated) == (200, b"hello", False)
    assert ("x-one", "1") in response.headers
    assert response.url == "http://api.test/a?q=1"
    assert network.connected == [(PUBLIC, 80)]
    assert seen[0].target == "/a?q=1"
    assert seen[0].headers == {
        "host": "api.test", "connection": "close", "accept-encoding": "gzip", "accept": "*/*", "user-agent": "mcp-umbrella"
    }  # fmt: skip


def test_a_body_and_headers_are_sent() -> None:
    response, seen, _ = fetch(
        {"/a": reply(201)}, "http://api.test:8080/a", "mcp://api/post/http/api.test:8080/**",
        method="POST", headers={"Content-Type": "text/plain", "User-Agent": "mine"}, body=b"text",
    )  # fmt: skip
    assert response.status == 201
    assert (seen[0].method, seen[0].body, seen[0].headers["host"]) == ("POST", b"text", "api.test:8080")
    assert seen[0].headers["content-type"] == "text/plain"
    assert seen[0].headers["user-agent"] == "mine"


# what a right covers


@pytest.mark.parametrize(
    ("url", "covering"),
    [
        ("http://www.test/a", "mcp://api/get/http/api.test/**"),
        ("http://api.test/secret", "mcp://api/get/http/api.test/public/**"),
        ("http://api.test/public/%2e%2e/secret", "mcp://api/get/http/api.test/public/**"),
        ("http://api.test/publicity", "mcp://api/get/http/api.test/public/**"),
        ("https://api.test/", "mcp://api/get/http/api.test/**"),
        ("http://api.test:8080/", "mcp://api/get/http/api.test/**"),
        ("http://api.test/", "mcp://api/post/http/api.test/**"),
        ("http://api.test/", "mcp://fs/read/http/api.test/**"),
        ("http://evilapi.test/", "mcp://api/get/http/*.api.test/**"),
        ("http://api.test.evil.example/", "mcp://api/get/http/api.test/**"),
    ],
)
def test_what_is_not_covered_is_not_asked_for(url, covering) -> None:
    message, network = refused(url, covering)
    assert "not covered" in message
    assert network.looked_up == [], "not even the name is looked up"


def test_the_limits_of_the_right_hold() -> None:
    everything = "mcp://api/get/**"
    assert (
        "allowed_hosts" in refused("http://www.test/", everything, limits={"allowed_hosts": ["api.test"]})[0]
    )
    assert (
        "allowed_hosts"
        in refused("http://evilapi.test/", everything, limits={"allowed_hosts": ["*.api.test"]})[0]
    )
    assert (
        "allowed_methods" in refused("http://www.test/", everything, limits={"allowed_methods": ["post"]})[0]
    )
    limits = {"allowed_hosts": ["*.test"], "allowed_methods": ["get"], "max_bytes": 3}
    response, _, _ = fetch({"/": reply(200, b"hello")}, "http://api.test/", everything, limits=limits)
    assert (response.body, response.truncated) == (b"hel", True)


def test_a_limit_that_cannot_be_read_denies() -> None:
    for limits in ({"max_bytes": "many"}, {"allowed_hosts": "api.test"}):
        refused("http://api.test/", "mcp://api/get/**", InvalidRecord, limits=limits)


# addresses


@pytest.mark.parametrize(
    "covering",
    [
        "mcp://api/get/**",
        "mcp://api/get/http/**",
        "mcp://api/get/http/*/**",
        "mcp://api/get/http/inner.test/**",
    ],
)
def test_a_name_never_leads_to_a_private_address(covering) -> None:
    message, _ = refused("http://inner.test/", covering)
    assert "private use" in message
    assert "10.0.0.7" not in message, "inner addresses are not told to who guesses names"


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    assert "loopback" in refused("http://half.test/", "mcp://api/get/http/half.test/**")[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://localhost/", "http://[::1]/", "http://0/",
        "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a9fe:a9fe::]/",
        "http://224.0.0.1/", "http://192.168.0.1/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://10.0.0.7:80/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("covering", ["mcp://api/get/**", "mcp://api/get/http/*/**", "mcp://api/get/*/*"])
def test_a_wildcard_reaches_nothing_nearby(url, covering) -> None:
    refused(url, covering)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "[::ffff:7f00:1]", "[fe80::1]", "[64:ff9b::7f00:1]"]
)
def test_what_is_neither_public_nor_local_cannot_even_be_granted(host) -> None:
    assert "not public" in refused(f"http://{host}/", f"mcp://api/get/http/{host}/**")[0]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_local_machine_is_reached_by_a_grant_that_names_it(host) -> None:
    async def work() -> None:
        async with serving({"/a": reply(200, b"here")}) as web:
            covering = f"mcp://api/get/http/{host}:{web.port}/**"
            # the real connection, and no resolver: the name is never looked up
            gate = ApiGate(Network(None, {}).resolve)
            response = await gate.fetch(
                covering, {}, "GET", f"http://{host}:{web.port}/a", max_bytes=9, timeout_s=30
            )
            assert response.body == b"here"
            assert web.seen[0].headers["host"] == f"{host}:{web.port}"

    run(work())


def test_a_name_that_changes_its_mind_changes_nothing() -> None:
    response, _, network = fetch(
        {"/": reply(200, b"x")}, "http://rebind.test/", "mcp://api/get/http/rebind.test/**"
    )
    assert response.status == 200
    assert network.looked_up == ["rebind.test"]
    assert network.connected == [(PUBLIC, 80)], "what was judged is what was connected to"


def test_a_name_that_changes_its_mind_before_a_redirect_is_judged_again() -> None:
    pages = {"/": moved("/again"), "/again": reply(200, b"SECRET")}
    response, seen, network = fetch(pages, "http://rebind.test/", "mcp://api/get/http/rebind.test/**")
    assert response.status == 302
    assert "loopback" in response.stopped
    assert [request.target for request in seen] == ["/"]
    assert network.connected == [(PUBLIC, 80)]


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def work() -> None:
        async with serving({"/": reply(200, b"x")}) as web:
            network = Network(web, {"api.test": [[OTHER, PUBLIC]]})

            async def connect(address: str, port: int) -> Any:
                if address == OTHER:
                    from httpcore2 import ConnectError

                    raise ConnectError("refused")
                return await network.connect(address, port)

            gate = ApiGate(network.resolve, connect)
            response = await gate.fetch(
                "mcp://api/get/**", {}, "GET", "http://api.test/", max_bytes=9, timeout_s=30
            )
            assert response.status == 200

    run(work())


def test_a_name_without_an_address_is_said_so() -> None:
    assert "no address" in refused("http://nothing.test/", "mcp://api/get/**", WorldBroken)[0]


def test_the_systems_resolver_and_a_closed_port_are_the_worlds_fault() -> None:
    async def work() -> None:
        gate = ApiGate()
        with pytest.raises(WorldBroken, match="cannot be resolved"):
            await gate.fetch(
                "mcp://api/get/**", {}, "GET", "http://no.such.name.invalid/", max_bytes=1, timeout_s=60
            )
        async with serving({}) as web:
            port = web.port
        with pytest.raises(WorldBroken, match="does not accept"):
            url = f"http://127.0.0.1:{port}/"
            await gate.fetch(
                f"mcp://api/get/http/127.0.0.1:{port}/**", {}, "GET", url, max_bytes=1, timeout_s=60
            )

    run(work())


# redirects


def test_redirects_are_followed_within_the_right() -> None:
    pages = {"/a": moved("b?x=1"), "/b": moved("http://api.test/c", 308), "/c": reply(200, b"end")}
    response, seen, _ = fetch(pages, "http://api.test/a")
    assert response.body == b"end"
    assert response.redirects == ("http://api.test/a", "http://api.test/b?x=1")
    assert response.url == "http://api.test/c"
    assert [request.target for request in seen] == ["/a", "/b?x=1", "/c"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://169.254.169.254/latest/meta-data/", "not covered"),
        ("http://127.0.0.1/", "not covered"),
        ("http://localhost/", "not covered"),
        ("http://2130706433/", "not covered"),
        ("http://[::ffff:127.0.0.1]/", "not covered"),
        ("http://inner.test/", "not public"),
        ("http://half.test/", "not public"),
        ("http://nothing.test/", "no address"),
        ("http://user@www.test/", "user name"),
        ("http:\\\\www.test\\", "backslash"),
        ("//www.test//x", "empty segment"),
        ("file:///etc/passwd", "neither http nor https"),
        ("http://www.test:0/", "port"),
        ("http://[", "not a URL"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_where_nobody_may_go_is_the_answer(location, why, status) -> None:
    response, seen, network = fetch({"/": moved(location, status)}, "http://api.test/", "mcp://api/get/**")
    assert response.status == status
    assert why in response.stopped
    assert ("location", location) in response.headers
    assert len(seen) == 1
    assert network.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "location",
    [
        "http://www.test/",
        "https://api.test/",
        "/private",
        "/public/../private",
        "http://api.test:81/public/x",
    ],
)
def test_a_redirect_out_of_the_right_is_the_answer(location) -> None:
    covering = "mcp://api/get/http/api.test/public/**"
    response, seen, _ = fetch({"/public/a": moved(location)}, "http://api.test/public/a", covering)
    assert response.status == 302
    assert "not covered" in response.stopped
    assert len(seen) == 1


def test_a_redirect_keeps_to_the_limits() -> None:
    pages = {"/": moved("http://www.test/x"), "/x": reply(200, b"x")}
    everything = "mcp://api/get/**"
    response, _, _ = fetch(pages, "http://api.test/", everything, limits={"allowed_hosts": ["api.test"]})
    assert "allowed_hosts" in response.stopped
    response, _, _ = fetch(pages, "http://api.test/", everything, limits={"a_new_limit": 1})
    assert "the limit a_new_limit" in response.stopped, (
        "a limit that the gate does not know is not stepped around"
    )
    response, _, _ = fetch(
        pages, "http://api.test/", everything, limits={"allowed_hosts": ["*.test"], "max_uses": 1}
    )
    assert response.body == b"x"


def test_redirects_end() -> None:
    response, seen, _ = fetch({"/": moved("/")}, "http://api.test/")
    assert "more than 5" in response.stopped
    assert len(seen) == 6


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_turns_a_post_into_a_get_is_the_answer(status) -> None:
    pages = {"/": moved("/next", status), "/next": reply(200, b"x")}
    response, seen, _ = fetch(
        pages, "http://api.test/", "mcp://api/post/http/api.test/**", method="POST", body=b"b"
    )
    assert response.status == status
    assert "GET" in response.stopped
    assert len(seen) == 1


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_takes_the_body_along(status) -> None:
    pages = {"/": moved("/next", status), "/next": reply(200, b"x")}
    _, seen, _ = fetch(pages, "http://api.test/", "mcp://api/post/http/api.test/**", method="POST", body=b"b")
    assert [(request.method, request.body) for request in seen] == [("POST", b"b")] * 2


def test_credentials_stay_with_their_origin() -> None:
    pages = {"/a": moved("/b"), "/b": moved("http://www.test/c"), "/c": reply(200, b"x")}
    secrets = {"Authorization": "Bearer s", "Cookie": "s", "X-Api-Key": "s", "Accept": "text/x"}
    _, seen, _ = fetch(pages, "http://api.test/a", "mcp://api/get/**", headers=secrets)
    same, other = seen[1].headers, seen[2].headers
    assert {"authorization", "cookie", "x-api-key"} <= same.keys()
    assert not {"authorization", "cookie", "x-api-key"} & other.keys()
    assert other["accept"] == "text/x"


def test_a_cookie_that_is_set_is_not_kept() -> None:
    pages = {"/a": reply(302, Location="/b", Set_Cookie="s=1; Path=/"), "/b": reply(200, b"x")}
    _, seen, _ = fetch(pages, "http://api.test/a")
    assert "cookie" not in seen[1].headers


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    response, _, network = fetch({"/": reply(200, b"x")}, "http://api.test/")
    assert response.body == b"x"
    assert network.connected == [(PUBLIC, 80)]


# headers


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Expect", "Proxy-Authorization",
        "X-HTTP-Method-Override", "x_http_method_override", "X-Method-Override", "X-Original-URL", "X-Rewrite-Url", "X-Forwarded-Host",
        "X_Forwarded_For", "Forwarded", "Accept-Encoding", "HTTP2-Settings", "", "a b", "a:b", "a\nb", "\u00e9", "Host ",
    ],
)  # fmt: skip
def test_a_header_that_frames_or_disguises_a_request_is_refused(name) -> None:
    refused("http://api.test/", "mcp://api/get/**", CallerMistaken, headers={name: "x"})


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\0", "\u00e9", "\u010a", "a\x7f"])
def test_a_value_of_more_than_one_line_is_refused(value) -> None:
    refused("http://api.test/", "mcp://api/get/**", CallerMistaken, headers={"X-A": value})


@pytest.mark.parametrize(
    "headers", [{f"X-{number}": "" for number in range(65)}, {"X": "a" * 16_400}, {"X-A": "1", "x-a": "2"}]
)
def test_too_many_headers_are_refused(headers) -> None:
    refused("http://api.test/", "mcp://api/get/**", CallerMistaken, headers=headers)


# bounds


@pytest.mark.parametrize(
    ("max_bytes", "timeout_s"), [(-1, 1), (2**30, 1), (1, 0), (1, -1), (1, 301), (1, float("nan"))]
)
def test_bounds_have_bounds(max_bytes, timeout_s) -> None:
    refused("http://api.test/", "mcp://api/get/**", CallerMistaken, max_bytes=max_bytes, timeout_s=timeout_s)


async def flood(_: Seen, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 x\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_chunks(_: Seen, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n" * 1000)
        await writer.drain()


@pytest.mark.parametrize("page", [flood, endless_chunks])
def test_an_endless_body_is_cut(page) -> None:
    response, _, _ = fetch({"/": page}, "http://api.test/", max_bytes=100_000)
    assert (len(response.body), response.truncated) == (100_000, True)


def test_a_body_of_exactly_the_limit_is_whole() -> None:
    response, _, _ = fetch({"/": reply(200, b"12345")}, "http://api.test/", max_bytes=5)
    assert (response.body, response.truncated) == (b"12345", False)
    response, _, _ = fetch({"/": reply(200, b"12345")}, "http://api.test/", max_bytes=0)
    assert (response.body, response.truncated) == (b"", True)


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (gzip.compress(b"hello " * 100), "gzip"),
        (zlib.compress(b"hello " * 100), "deflate"),
        (gzip.compress(b"hello ") * 100, "GZip"),
    ],
    ids=["gzip", "deflate", "two in one"],
)
def test_a_packed_body_is_unpacked(packed, encoding) -> None:
    response, _, _ = fetch({"/": reply(200, packed, Content_Encoding=encoding)}, "http://api.test/")
    assert (response.body, response.truncated) == (b"hello " * 100, False)


def test_a_bomb_is_unpacked_only_as_far_as_is_wanted() -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    assert len(bomb) < 1024 * 1024
    tracemalloc.start()
    try:
        response, _, _ = fetch(
            {"/": reply(200, bomb, Content_Encoding="gzip")}, "http://api.test/", max_bytes=50_000
        )
        assert tracemalloc.get_traced_memory()[1] < 20 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert (len(response.body), response.truncated) == (50_000, True)


def test_what_unpacks_to_nothing_does_not_come_for_ever() -> None:
    async def nothing(_: Seen, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            writer.write(gzip.compress(b"") * 1000)
            await writer.drain()

    response, _, _ = fetch({"/": nothing}, "http://api.test/", max_bytes=1000)
    assert (response.body, response.truncated) == (b"", True)


def test_packed_data_that_ends_early_is_said_to_be_cut() -> None:
    half = gzip.compress(os.urandom(1000))[:500]
    response, _, _ = fetch({"/": reply(200, half, Content_Encoding="gzip")}, "http://api.test/")
    assert response.truncated


def broken(page: Page, match: str, **more: Any) -> None:
    with pytest.raises(WorldBroken, match=match):
        fetch({"/": page}, "http://api.test/", **more)


def test_damaged_packed_data_is_the_worlds_fault() -> None:
    broken(reply(200, b"no gzip at all", Content_Encoding="gzip"), "damaged")


def test_another_encoding_is_left_as_it_is() -> None:
    response, _, _ = fetch({"/": reply(200, b"packed", Content_Encoding="br")}, "http://api.test/")
    assert response.body == b"packed"


async def endless_headers(_: Seen, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 x\r\n")
    while True:
        writer.write(b"X-A: b\r\n" * 1000)
        await writer.drain()


def test_endless_headers_are_not_read_to_their_end() -> None:
    broken(endless_headers, "failed")
    many = b"".join(b"X-%d: y\r\n" % number for number in range(201))
    broken(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n" + many + b"\r\n", "headers")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nhello", b"HTTP/1.1 200 x\r\n: y\r\n\r\n",
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_not_http_is_the_worlds_fault(answer) -> None:
    broken(answer, "exchange failed|status 101")


def test_a_slow_body_meets_the_deadline() -> None:
    async def drip(_: Seen, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 x\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    with pytest.raises(DeadlineExceeded, match="did not answer"):
        fetch({"/": drip}, "http://api.test/", timeout_s=0.3)


def test_a_server_that_only_says_wait_meets_the_deadline() -> None:
    async def wait(_: Seen, writer: Any) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 103 wait\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    with pytest.raises(DeadlineExceeded):
        fetch({"/": wait}, "http://api.test/", timeout_s=0.3)
