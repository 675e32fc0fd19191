"""Keys, virtual servers and the MCP server on standard output, at the shell."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters

from mcp_cli.invocation import Invocation, Job
from mcp_cli.main import cli

Umbrella = Callable[..., Result]
COMMAND = "from mcp_cli.main import main; main()"
SECONDS = 100.0


def test_a_key_is_shown_once_listed_and_revoked(umbrella: Umbrella, umbrella_json: Any) -> None:
    made = umbrella("key", "create", "laptop", "--grant", "mcp://fs/read/etc/**", "--expires", "30d")
    assert made.exit_code == 0, made.output
    secret = next(word for word in made.output.split() if word.startswith("umbrella_"))
    (listed,) = [key for key in umbrella_json("key", "list")["items"] if key["name"] == "laptop"]
    assert secret not in umbrella("key", "list").output and listed["expires_at"]
    held = umbrella_json("caps", "list", listed["principal_id"])["items"]
    assert [capability["resource_uri"] for capability in held] == ["mcp://fs/read/etc/**"]
    granted = umbrella("grant", listed["principal_id"], "mcp://fs/list/etc/**")
    assert granted.exit_code == 0, granted.output
    assert umbrella_json("key", "revoke", "laptop")["id"] == listed["id"]
    assert umbrella("key", "revoke", "laptop").exit_code != 0
    assert "laptop" not in [key["name"] for key in umbrella_json("key", "list")["items"]]


def test_a_mistake_names_what_is_wrong(umbrella: Umbrella) -> None:
    for words, why in (
        (("key", "create", "x", "--for", "agent_1"), "user_"),
        (("key", "create", "x", "--grant", "fs"), "resource URI"),
        (("key", "create", "x", "--expires", "soon"), "duration"),
        (("mcp", "publish", "Upper", "--tool", "*"), "lower-case"),
        (("mcp", "publish", "empty"), "selects nothing"),
        (("mcp", "unpublish", "absent"), "absent"),
    ):
        refused = umbrella(*words)
        assert refused.exit_code != 0 and why in refused.stderr, refused.stderr


def test_a_virtual_server_is_published_listed_and_taken_away(umbrella: Umbrella, umbrella_json: Any) -> None:
    options = ("--tool", "git/*", "--tool", "fs/read_file", "--prompt", "*", "--bare-names")
    put = umbrella_json("mcp", "publish", "review", *options, "--instructions", "look only")
    assert put["tools"] == ["git/*", "fs/read_file"] and put["bare_names"] is True
    assert "/mcp/review" in umbrella("mcp", "published").output
    assert umbrella("mcp", "unpublish", "review").exit_code == 0
    assert not umbrella_json("mcp", "published")["items"]


def speaking(node_dir: Path, *options: str, **environ: str) -> Client:
    words = ["-c", COMMAND, "--data-dir", str(node_dir), "mcp", "serve", *options]
    env = {**os.environ, **environ}
    return Client(
        StdioServerParameters(command=sys.executable, args=words, env=env), read_timeout_seconds=SECONDS
    )


def run(work: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await work()

    asyncio.run(bounded())


def test_it_speaks_mcp_and_nothing_else_on_standard_output(node_dir: Path, umbrella_json: Any) -> None:
    secret = umbrella_json("key", "create", "stdio", "--grant", "mcp://fs/read/etc/**")["secret"]
    umbrella_json("mcp", "publish", "files", "--tool", "fs/*", "--bare-names", "--instructions", "files only")

    async def as_a_key() -> None:
        async with speaking(
            node_dir, "--publication", "files", "--key-env", "THE_KEY", THE_KEY=secret
        ) as client:
            assert client.instructions == "files only"
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "read_file" in names and "write_file" not in names
            result = await client.call_tool("read_file", {"path": "/etc/hostname"})
            assert not result.is_error

    async def as_the_owner() -> None:
        async with speaking(node_dir) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"assistant__ask", "shell__run", "fs__read_file"} <= names

    run(as_a_key)
    run(as_the_owner)
    titles = [session["title"] for session in umbrella_json("sessions", "list")["items"]]
    assert "mcp: stdio" not in titles, "it is the session of the key's principal"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--key-env", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (("--publication", "absent"), "no virtual server"),
    ],
)
def test_what_it_cannot_serve_is_said_on_standard_error(
    umbrella: Umbrella, options: tuple[str, ...], why: str
) -> None:
    refused = umbrella("mcp", "serve", *options)
    assert refused.exit_code != 0 and why in refused.stderr and not refused.stdout


def test_it_is_no_command_of_the_repl(node_dir: Path) -> None:
    class Nobody:
        def run(self, job: Job) -> None:
            raise AssertionError("nothing is run")

        finish = run

    given = Invocation(data_dir=node_dir, runner=Nobody())  # type: ignore[arg-type]
    refused = CliRunner().invoke(cli, ["mcp", "serve"], obj=given)
    assert refused.exit_code != 0 and "outside of the REPL" in refused.stderr


def test_a_client_that_asks_for_what_is_hidden_is_told_nothing(node_dir: Path, umbrella_json: Any) -> None:
    secret = umbrella_json("key", "create", "nobody")["secret"]

    async def work() -> None:
        async with speaking(node_dir, "--key-env", "THE_KEY", THE_KEY=secret) as client:
            assert not (await client.list_tools()).tools
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool("fs__read_file", {"path": "/etc/hostname"})

    run(work)
