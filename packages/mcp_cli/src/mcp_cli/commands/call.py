"""`umbrella call`: one tool call through the whole path: judged, journaled, run, journaled; waited for or not."""

from typing import Any

import click

from mcp_cli import executing
from mcp_cli.arguments import duration, json_object
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import agent_id, find_session
from mcp_interface.client import Client
from mcp_interface.execution import StartExecution


@click.command(
    short_help="Call one tool through the whole path.",
    epilog="""\b
Example: umbrella call fs list_directory --json '{"path": "/tmp"}'""",
)
@click.argument("server")
@click.argument("tool")
@click.option(
    "--json", "arguments", default="", metavar="ARGS", help="The tool's arguments as a JSON object."
)
@click.option("--as", "actor", metavar="AGENT", help="Act with what this agent holds.")
@click.option("--session", metavar="ID", help="Where it is recorded.")
@click.option("--timeout", metavar="TIME", help="For example 30s; after it the call counts as failed.")
@click.option("--detach", is_flag=True, help="Do not wait: print the call's id; see: umbrella executions.")
@click.pass_context
def command(
    ctx: click.Context,
    server: str,
    tool: str,
    arguments: str,
    actor: str | None,
    session: str | None,
    timeout: str | None,
    detach: bool,
) -> None:
    """Call one tool: judged, journaled, run, journaled."""
    given = invocation(ctx)
    if detach and given.embed and given.runner is None:
        raise click.UsageError("--detach with --embed: the call would end with this process", ctx)

    async def work(client: Client) -> Outcome:
        values = json_object(arguments)
        limit = None if timeout is None else duration(timeout)
        wish: dict[str, Any] = {
            "server": server,
            "tool": tool,
            "arguments": values,
            "as_agent": None if actor is None else await agent_id(client, actor),
            "session_id": None if session is None else (await find_session(client, session)).id,
            "timeout_ms": max(1, int(limit * 1000)) if limit else None,
        }
        if detach:
            detached = await client.request(StartExecution(**wish))
            return Outcome(value=detached, shown=executing.started(detached))
        from mcp_cli.calling import called

        return await called(client, StartExecution(**wish), given)

    run(ctx, work, timeout=None)
