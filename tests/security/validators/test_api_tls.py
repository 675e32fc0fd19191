"""The gate and certificates: real TLS over real sockets; only names and addresses are made up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import WorldBroken
from mcp_security.validators.api import ApiGate, Response
from mcp_security.validators.exchange import default_tls
from security.local_web import OTHER, PUBLIC, Network, certificates, moved, reply, serving

NAMES = {"api.test": [[PUBLIC]], "www.test": [[OTHER]]}


def test_the_certificate_is_that_of_the_name_and_the_name_is_told(tmp_path: Path) -> None:
    server, client = certificates(tmp_path, "api.test", "127.0.0.1")

    async def work() -> None:
        async with serving({"/": reply(200, b"x")}, server) as web:
            network = Network(web, NAMES)
            gate = network.gate(lambda: client)
            arguments: dict[str, Any] = {"max_bytes": 9, "timeout_s": 30}
            response = await gate.fetch("mcp://api/get/https/**", {}, "GET", "https://api.test/", **arguments)
            assert response.body == b"x"
            assert network.connected == [(PUBLIC, 443)]
            assert web.seen[0].sni == "api.test"
            with pytest.raises(WorldBroken, match="certificate"):
                await gate.fetch("mcp://api/get/https/**", {}, "GET", "https://www.test/", **arguments)
            with pytest.raises(WorldBroken, match="certificate"):  # a maker that the system does not trust
                await network.gate().fetch(
                    "mcp://api/get/https/**", {}, "GET", "https://api.test/", **arguments
                )
            local = f"https://127.0.0.1:{web.port}/"
            covering = f"mcp://api/get/https/127.0.0.1:{web.port}/**"
            assert (await gate.fetch(covering, {}, "GET", local, **arguments)).status == 200
            assert len(web.seen) == 2

    asyncio.run(work())


def test_a_redirect_from_https_to_http_is_the_answer(tmp_path: Path) -> None:
    server, client = certificates(tmp_path, "api.test")

    async def work() -> Response:
        async with serving({"/": moved("http://api.test/")}, server) as web:
            gate = Network(web, NAMES).gate(lambda: client)
            return await gate.fetch(
                "mcp://api/get/**", {}, "GET", "https://api.test/", max_bytes=9, timeout_s=30
            )

    assert "from https to http" in asyncio.run(work()).stopped


def test_a_server_without_tls_is_the_worlds_fault() -> None:
    async def work() -> None:
        async with serving({"/": reply()}) as web:
            await (
                Network(web, NAMES)
                .gate()
                .fetch("mcp://api/get/https/**", {}, "GET", "https://api.test/", max_bytes=9, timeout_s=30)
            )

    with pytest.raises(WorldBroken):
        asyncio.run(work())


def test_the_systems_roots_are_trusted_and_names_checked() -> None:
    context = default_tls()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_the_right_that_a_request_needs_is_told() -> None:
    assert ApiGate().resource_of("GET", "https://API.test/a?b").uri == "mcp://api/get/https/api.test/a"
