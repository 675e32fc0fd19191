"""/mcp over a real socket: who comes in and how, what an outsider is told, and which virtual server answers."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from serving import Running, running

from mcp_core.protocol.server.http import MAX_SESSIONS_EACH
from mcp_interface.key import Publication

ANYBODY = "user_" + "a" * 32
KNOWN = "user_" + "b" * 32
AUDIENCE = "https://example.org/mcp"
ISSUER = "https://issuer.example.org"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28"}


def ask(
    server: Running,
    path: str = "mcp",
    method: str = "tools/list",
    headers: dict[str, str] | None = None,
    **params: Any,
) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **params}}
    named = {"mcp-name": params["name"]} if "name" in params else {}
    return httpx.post(
        server.url + path,
        json=body,
        headers={**HEADERS, "mcp-method": method, **named, **(headers or {})},
        timeout=30,
    )


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


PROXIED = (
    "x-forwarded-for",
    "X-Forwarded-Host",
    "x-forwarded-proto",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "true-client-ip",
    "tailscale-user-login",
    "via",
)
OLDER = {"accept": "application/json, text/event-stream"}
BEGIN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def plain(server: Running, version: str) -> int:
    """The status of a session's beginning, asked in one version of HTTP."""
    port, body = int(server.url.rstrip("/").rpartition(":")[2]), json.dumps(BEGIN).encode()
    head = [f"POST /mcp {version}", f"Host: 127.0.0.1:{port}", "Connection: close"]
    head += [f"Accept: {OLDER['accept']}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        return int(line.makefile("rb").readline().split()[1])


def begin(server: Running, key: str) -> httpx.Response:
    return httpx.post(server.url + "mcp", json=BEGIN, headers={**OLDER, **bearer(key)}, timeout=30)


def tools(response: httpx.Response) -> set[str]:
    assert response.status_code == 200, response.text
    return {tool["name"] for tool in response.json()["result"]["tools"]}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[ec.EllipticCurvePrivateKey, Path]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    file = tmp_path_factory.mktemp("jwks") / "jwks.json"
    file.write_text(json.dumps({"keys": [{**public, "kid": "one", "use": "sig", "alg": "ES256"}]}))
    return private, file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, key_file: tuple[Any, Path]) -> Iterator[Running]:
    config = f"""
[oauth]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "{key_file[1]}"
[oauth.principals]
"ann@example.org" = "{KNOWN}"
"""
    with running(tmp_path_factory.mktemp("node"), config) as server:
        server.grant(KNOWN, "mcp://fs/read/etc/**")
        yield server


def token(key_file: tuple[Any, Path], **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann@example.org", "exp": time.time() + 300, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key_file[0], algorithm="ES256", headers={"kid": "one"})


def test_an_outsider_is_told_how_to_come_in(server: Running) -> None:
    for path, named in (("mcp", ""), ("mcp/", ""), ("mcp/some", "/some"), ("mcp/so%22me", "/so%22me")):
        refused = ask(server, path)
        assert refused.status_code == 401
        challenge = refused.headers["www-authenticate"]
        assert challenge.startswith("Bearer ") and "resource_metadata=" in challenge
        where = challenge.partition('resource_metadata="')[2].partition('"')[0]
        told = httpx.get(where).json()
        assert told["authorization_servers"] == [ISSUER] and told["resource"] == AUDIENCE + named
    wrong = ask(server, headers=bearer("umbrella_" + "0" * 64))
    assert wrong.status_code == 401 and 'error="invalid_token"' in wrong.headers["www-authenticate"]


def test_a_key_comes_in_with_its_own_rights_until_it_is_revoked(server: Running) -> None:
    key = server.key("laptop", "mcp://fs/read/etc/**")
    assert "fs__read_file" in tools(ask(server, headers=bearer(key)))
    assert tools(ask(server, "mcp/", headers=bearer(key))) == tools(ask(server, headers=bearer(key)))
    call = ask(
        server,
        method="tools/call",
        headers=bearer(key),
        name="fs__read_file",
        arguments={"path": "/etc/hostname"},
    )
    assert call.json()["result"]["isError"] is False
    assert call.headers["cache-control"].startswith("no-") and "x-request-id" in call.headers
    server.revoke("laptop")
    assert ask(server, headers=bearer(key)).status_code == 401
    assert httpx.get(server.url + "api/sessions", headers=bearer(key)).status_code == 401


def test_a_cookie_is_no_way_in(server: Running) -> None:
    key = server.key("cookie", "mcp://fs/read/etc/**")
    assert ask(server, headers={"cookie": f"umbrella_login={key}"}).status_code == 401


def test_an_access_token_made_for_us_acts_as_its_principal(
    server: Running, key_file: tuple[Any, Path]
) -> None:
    assert "fs__read_file" in tools(ask(server, headers=bearer(token(key_file))))
    assert "fs__read_file" in tools(ask(server, headers=bearer(token(key_file, aud=["x", AUDIENCE]))))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://example.org/other"},
        {"aud": None},
        {"iss": "https://other.example.org"},
        {"exp": 1.0},
        {"exp": None},
        {"nbf": 32503680000},
        {"sub": "bob@example.org"},
        {"sub": None},
    ],
)
def test_any_other_access_token_is_refused(
    server: Running, key_file: tuple[Any, Path], changes: dict[str, Any]
) -> None:
    assert ask(server, headers=bearer(token(key_file, **changes))).status_code == 401


def test_a_token_that_somebody_else_signed_is_refused(server: Running, key_file: tuple[Any, Path]) -> None:
    claims = jwt.decode(token(key_file), options={"verify_signature": False})
    other = ec.generate_private_key(ec.SECP256R1())
    for forged in (
        jwt.encode(claims, other, algorithm="ES256", headers={"kid": "one"}),
        jwt.encode(claims, other, algorithm="ES256", headers={"kid": "two"}),
        jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "one"}),
        jwt.encode(claims, None, algorithm="none", headers={"kid": "one"}),
    ):
        assert ask(server, headers=bearer(forged)).status_code == 401


def test_nobody_comes_in_unknown_unless_that_is_allowed(server: Running, tmp_path: Path) -> None:
    assert ask(server).status_code == 401
    with running(tmp_path, f'[mcp]\nanonymous_principal = "{ANYBODY}"\n') as open_server:
        warning = (tmp_path / "serve.err").read_text()
        assert ANYBODY in warning and "without a key" in warning
        open_server.grant(ANYBODY, "mcp://fs/read/etc/**")
        assert "fs__read_file" in tools(ask(open_server))
        for name in PROXIED:  # a proxy on this machine hands others on
            assert ask(open_server, headers={name: "203.0.113.9"}).status_code == 401, name
        assert plain(open_server, "HTTP/1.0") == 401  # as a proxy that was told nothing else speaks
        assert plain(open_server, "HTTP/1.1") == 200
        assert ask(open_server, headers=bearer("wrong")).status_code == 401


def test_a_foreign_page_and_a_foreign_name_are_kept_out(server: Running) -> None:
    key = server.key("page")
    for headers in ({"origin": "http://evil.example.com"}, {"host": "evil.example.com"}):
        assert ask(server, headers={**bearer(key), **headers}).status_code == 403
    foreign = {**HEADERS, **bearer(key), "origin": "http://evil.example.com"}
    assert httpx.get(server.url + "mcp", headers=foreign).status_code == 403
    own = server.url.rstrip("/")
    assert ask(server, headers={**bearer(key), "origin": own}).status_code == 200


def test_a_body_that_is_too_large_is_refused(server: Running) -> None:
    key = server.key("large")
    large = ask(server, method="tools/call", headers=bearer(key), name="x", arguments={"a": "b" * 5_000_000})
    assert large.status_code == 413


def test_a_virtual_server_answers_those_it_is_for_and_no_other(server: Running) -> None:
    key, other = server.key("hers", "mcp://fs/read/etc/**"), server.key("other", "mcp://fs/read/etc/**")
    holder = server.principal(key)
    server.publish(Publication(name="small", tools=["fs/read_file"], principal_id=holder, bare_names=True))
    assert tools(ask(server, "mcp/small", headers=bearer(key))) == {"read_file"}
    assert ask(server, "mcp/small", headers=bearer(other)).status_code == 404
    assert ask(server, "mcp/absent", headers=bearer(key)).status_code == 404
    absent = ask(server, "mcp/small", headers=bearer(other)).json()["message"]
    assert absent == ask(server, "mcp/absent", headers=bearer(other)).json()["message"].replace(
        "absent", "small"
    )


def test_a_session_of_the_older_era_belongs_to_the_key_that_opened_it(server: Running) -> None:
    mine, others = server.key("older"), server.key("thief")
    opened = begin(server, mine)
    assert opened.status_code == 200
    session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    answers = [
        httpx.post(server.url + "mcp", json=ping, headers={**OLDER, **session, **bearer(key)}, timeout=30)
        for key in (mine, others)
    ]
    assert [answer.status_code for answer in answers] == [200, 404]


def test_nobody_takes_all_the_sessions_of_the_older_era(server: Running) -> None:
    greedy, victim = server.key("greedy"), server.key("victim")
    opened = [begin(server, greedy) for _ in range(MAX_SESSIONS_EACH + 1)]
    assert {answer.status_code for answer in opened[:-1]} == {200}
    assert opened[-1].status_code == 429 and opened[-1].json()["code"] == "overloaded"
    other = begin(server, victim)
    assert other.status_code == 200
    theirs = {**OLDER, "mcp-session-id": other.headers["mcp-session-id"]}
    for headers in ({**theirs, **bearer(greedy)}, theirs):
        assert httpx.delete(server.url + "mcp", headers=headers).status_code in {401, 404}
    ended = {**OLDER, **bearer(greedy), "mcp-session-id": opened[0].headers["mcp-session-id"]}
    assert httpx.delete(server.url + "mcp", headers=ended).status_code == 200
    assert begin(server, greedy).status_code == 200
    assert ask(server, headers=bearer(greedy)).status_code == 200  # the era without sessions is not bounded


def test_an_access_token_for_one_virtual_server_opens_that_one_alone(
    server: Running, key_file: tuple[Any, Path]
) -> None:
    server.publish(Publication(name="narrow", tools=["fs/read_file"]))
    server.publish(Publication(name="narrower", tools=["fs/read_file"]))
    made = bearer(token(key_file, aud=f"{AUDIENCE}/narrow"))
    assert tools(ask(server, "mcp/narrow", headers=made)) == {"fs__read_file"}
    for path in ("mcp", "mcp/narrower"):
        assert ask(server, path, headers=made).status_code == 401
    assert ask(server, "mcp/narrow", headers=bearer(token(key_file))).status_code == 200
