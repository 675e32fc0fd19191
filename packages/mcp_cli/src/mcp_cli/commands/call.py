"""`umbrella call`: one tool call through the whole path: judged, journaled, run, journaled."""

import click

from mcp_cli import presenters
from mcp_cli.arguments import duration, json_object
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Outcome, run
from mcp_cli.naming import agent_id, find_session
from mcp_interface.client import Client
from mcp_interface.commands import CallTool

PATIENCE_S = 3600.0
"""Seconds to wait for a call without a limit of its own; a person may have to approve it first."""


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
@click.pass_context
def command(
    ctx: click.Context,
    server: str,
    tool: str,
    arguments: str,
    actor: str | None,
    session: str | None,
    timeout: str | None,
) -> None:
    """Call one tool: judged, journaled, run, journaled."""

    async def work(client: Client) -> Outcome:
        given = json_object(arguments)
        limit = None if timeout is None else duration(timeout)
        order = CallTool(
            server=server,
            tool=tool,
            arguments=given,
            as_agent=None if actor is None else await agent_id(client, actor),
            session_id=None if session is None else (await find_session(client, session)).id,
            timeout_ms=max(1, int(limit * 1000)) if limit else None,
        )
        call = await client.request(order, timeout=limit + 5 if limit else PATIENCE_S)
        code = FAILED if call.result.is_error else 0
        return Outcome(value=call, shown=presenters.outcome(call), code=code)

    run(ctx, work, timeout=None)
