"""The client under test: our host with its logins, doing what each scenario of the suite wants to see.

Run by the suite as `client.py URL` with MCP_CONFORMANCE_SCENARIO and MCP_CONFORMANCE_CONTEXT set. It drives what the
node itself uses, `mcp_core.protocol.Host` and `OAuth`, and plays the person: opens the page of a login, accepts what
is asked. Exits with 1 when something was refused that should have worked.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from memory_vault import MemoryVault

from core.protocol.authorizing import visit
from mcp_core.protocol import Host
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.oauth import OAuth
from mcp_core.protocol.oauth_rules import LoginNeeded
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import ExecutionId, PrincipalId
from mcp_interface.question import Inquiry, Response
from mcp_interface.server import Authorization, ServerSpec, ServerStatus
from mcp_interface.tool import ToolContext, ToolInfo

NAME: Final = "exam"
PERSON: Final = PrincipalId("user_" + "0" * 32)
BACK: Final = "http://localhost:3000/callback"
DOCUMENT: Final = "https://conformance-test.local/client-metadata.json"
LOGINS: Final = 3
"""How often a person has the patience to log in."""
TRIES: Final = 10
"""How often the server is looked at until it is there."""
PATIENCE: Final = 180.0
"""Seconds for one call; the suite runs many of us at once, on whatever machine."""
ONCE: Final = {
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
    "sse-retry": [("test_reconnection", {})],
    "elicitation-sep1034-client-defaults": [("test_client_elicitation_defaults", {})],
    "sep-2322-client-request-state": [
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ],
}
"""What is called, by scenario."""
SECRETS: Final = {"client_secret": "client_secret", "private_key": "private_key_pem"}
"""Field of a server's entry, and what the suite calls it."""


class Examinee:
    """A host with one server, and a person beside it."""

    def __init__(self, host: Host, oauth: OAuth, spec: ServerSpec) -> None:
        self._host = host
        self._oauth = oauth
        self._spec = spec
        self._logins = 0

    async def connect(self) -> ServerStatus:
        """Connect, logging in as often as the server asks."""
        status = await self._host.add(NAME, self._spec)
        tries = 0
        while status.state in {"connecting", "waiting", "login"} and tries < TRIES and self._logins < LOGINS:
            tries += 1  # the host goes on trying by itself; here nobody wants to wait for its pauses
            if status.state == "login":
                await self._log_in()
            status = await self._host.add(NAME, self._spec)
        if status.state != "ready":
            raise SystemExit(f"{status.state}: {status.error}")
        return status

    async def call(self, tool: str, arguments: dict[str, Any]) -> None:
        """Call a tool, logging in when it wants more."""
        while True:
            try:
                result = await self._host.call(NAME, tool, arguments, timeout=PATIENCE, context=_context())
                print(f"{tool}: {result.text[:200]}", file=sys.stderr)
                return
            except LoginNeeded:
                if self._logins >= LOGINS:
                    raise
                await self._log_in()

    async def run(self, scenario: str, given: dict[str, Any]) -> None:
        """Do what a scenario wants to see."""
        await self.connect()
        tools = self._host.tools(NAME)
        for tool, arguments in _calls(scenario, given, tools):
            try:
                await self.call(tool, arguments)
            except UmbrellaError as error:
                print(f"{tool}: {error!r}", file=sys.stderr)
                if scenario in ONCE:
                    raise
        for resource in self._host.resources(NAME):
            await self._host.read(NAME, resource.uri, timeout=PATIENCE, context=_context())
        for prompt in self._host.prompts(NAME):
            await self._host.get_prompt(NAME, prompt.name, {}, timeout=PATIENCE, context=_context())

    async def _log_in(self) -> None:
        self._logins += 1
        page = await self._oauth.begin(PERSON, NAME, self._spec, BACK)
        await self._oauth.finish(PERSON, NAME, self._spec, await visit(page))


def _calls(
    scenario: str, given: dict[str, Any], tools: Sequence[ToolInfo]
) -> list[tuple[str, dict[str, Any]]]:
    known = {tool.name: tool for tool in tools}
    if scenario in ONCE:
        return ONCE[scenario]
    if scenario.startswith("auth/"):
        return [(tools[0].name, {})] if tools else []
    if scenario == "http-custom-headers":
        # null where the schema knows none stands for nothing: our host sends no call that breaks the tool's schema
        return [
            (one["name"], {key: value for key, value in one["arguments"].items() if value is not None})
            for one in given["toolCalls"]
            if one["name"] in known
        ]
    if scenario in {"http-invalid-tool-headers", "http-standard-headers", "request-metadata"}:
        return [(tool.name, _least(tool.parameters)) for tool in tools]
    if scenario == "json-schema-2020-12-preservation":
        return [("json_schema_echo", {"schema": known["json_schema_2020_12_tool"].parameters})]
    return []


def _least(schema: dict[str, Any]) -> dict[str, Any]:
    """The least that a schema of arguments takes."""
    kinds: dict[str, Any] = {
        "string": "x",
        "integer": 0,
        "number": 0,
        "boolean": False,
        "object": {},
        "array": [],
    }
    wanted = schema.get("properties", {})
    return {name: kinds.get(wanted.get(name, {}).get("type"), "x") for name in schema.get("required", [])}


def _context() -> ToolContext:
    """Somebody who accepts everything: with the defaults, and yes to every question."""

    async def ask(inquiries: Sequence[Inquiry], handle: str) -> dict[str, Response]:
        return {inquiry.key: Response(action="accept", content=_filled(inquiry)) for inquiry in inquiries}

    return ToolContext(
        execution_id=ExecutionId("exec_" + "0" * 32),
        principal_id=PERSON,
        answers=frozenset({"form", "url", "sampling", "roots"}),
        ask=ask,
    )


def _filled(inquiry: Inquiry) -> dict[str, Any] | None:
    fields = inquiry.schema.get("properties", {})
    filled = {name: field["default"] for name, field in fields.items() if "default" in field}
    agreed = {
        name: True for name, field in fields.items() if field.get("type") == "boolean" and name not in filled
    }
    return filled | agreed if inquiry.kind == "form" else None


def _entry(scenario: str, given: dict[str, Any], url: str) -> ServerSpec:
    if not scenario.startswith("auth/"):
        return ServerSpec(url=url)
    secrets = {field: f"${{secret:{source}}}" for field, source in SECRETS.items() if source in given}
    alone = scenario.startswith("auth/client-credentials")
    return ServerSpec(
        url=url,
        auth=Authorization(
            client_id=given.get("client_id"),
            client_metadata_url=DOCUMENT,
            grant="client_credentials" if alone else "authorization_code",
            **secrets,
        ),
    )


async def main(url: str) -> None:
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    clock, entropy, vault = SystemClock(), SystemEntropy(), MemoryVault()
    vault.secrets |= {name: given[name] for name in SECRETS.values() if name in given}
    oauth = OAuth(vault, clock)
    with tempfile.TemporaryDirectory() as logs:
        doors, tree = Doors(auth=partial(oauth.auth_for, PERSON)), Supervisor(clock, entropy)
        host = Host(clock, entropy, Path(logs), lambda _: None, tree, doors=doors)
        try:
            await Examinee(host, oauth, _entry(scenario, given, url)).run(scenario, given)
        finally:
            await host.close()
            await oauth.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[-1]))
    except UmbrellaError as error:
        raise SystemExit(repr(error)) from error
