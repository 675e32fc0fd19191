"""`umbrella agent …`: agents, which start with no rights."""

import json
from typing import Any, get_args

import click

from mcp_cli import presenters, teamwork
from mcp_cli.arguments import duration, limits
from mcp_cli.invocation import Outcome, invocation, run
from mcp_cli.naming import agent_id, collect, find_agent, find_session
from mcp_cli.sheet import Prose
from mcp_interface.agent import AgentType
from mcp_interface.client import Client
from mcp_interface.commands import ListAgents, ListCapabilities, SendMessage, SpawnAgent, StopAgent, Wish
from mcp_interface.team import ListTasks


@click.group()
def command() -> None:
    """Start, list and stop agents; a new one may do nothing until you grant it something."""


@command.command(
    short_help="Start an agent, with rights of another one or none.",
    epilog="""\b
Example:
  umbrella agent spawn reader --from lead --grant 'mcp://fs/read/home/me/docs/**' --expires 1h""",
)
@click.argument("name", default="")
@click.option("--type", "kind", type=click.Choice(get_args(AgentType)), default="worker", show_default=True)
@click.option("--session", metavar="ID", help="The session it belongs to and ends with.")
@click.option("--from", "parent", metavar="AGENT", help="Hand on rights of this agent; otherwise yours.")
@click.option("--grant", "uris", multiple=True, metavar="URI", help="A right that it starts with.")
@click.option(
    "--limit", "given", multiple=True, metavar="KEY=JSON", help="A limit on each of them: max_bytes=1000."
)
@click.option("--expires", metavar="TIME", help="When they end, for example 15m, 1h or 7d.")
@click.option("--uses", type=click.IntRange(1), help="How often each of them can be used.")
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="A topic it listens to.")
@click.pass_context
def spawn(
    ctx: click.Context,
    name: str,
    kind: AgentType,
    session: str | None,
    parent: str | None,
    uris: tuple[str, ...],
    given: tuple[str, ...],
    expires: str | None,
    uses: int | None,
    topics: tuple[str, ...],
) -> None:
    """Start an agent that holds what is named here, all of it or it does not start, and nothing else.

    What another agent hands on it must hold itself; when its right ends, the new agent's ends with it.
    """
    clock = invocation(ctx).clock
    if not uris and (given or expires is not None or uses):
        raise click.UsageError("--limit, --expires and --uses belong to a --grant", ctx)

    async def work(client: Client) -> Outcome:
        place = None if session is None else (await find_session(client, session)).id
        source = None if parent is None else await agent_id(client, parent)
        constraints = limits(given) | ({} if uses is None else {"max_uses": uses})
        wishes = [
            Wish(
                resource_uri=uri,
                expires_in_s=None if expires is None else duration(expires),
                constraints=constraints,
            )
            for uri in uris
        ]
        record = await client.request(
            SpawnAgent(
                type=kind,
                name=name,
                session_id=place,
                parent=source,
                grants=wishes,
                metadata={"topics": list(topics)} if topics else {},
            )
        )
        held = await collect(client, ListCapabilities(principal=record.id)) if wishes else []
        return Outcome(value=record, shown=presenters.agent(record, held, clock.now()))

    run(ctx, work)


@command.command("list", short_help="Agents, oldest first.")
@click.option("--all", "stopped", is_flag=True, help="Also those that have ended.")
@click.option("--session", metavar="ID", help="Only those of one session.")
@click.option("--limit", type=click.IntRange(1, 1000), default=200, show_default=True)
@click.option("--cursor", help="Where an earlier page ended.")
@click.pass_context
def list_(ctx: click.Context, stopped: bool, session: str | None, limit: int, cursor: str | None) -> None:
    """List agents, each below the one that it works for, with what it works on."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        place = None if session is None else (await find_session(client, session)).id
        page = await client.request(ListAgents(session_id=place, stopped=stopped, limit=limit, cursor=cursor))
        tasks = await collect(client, ListTasks(limit=1000), most=1000)
        return Outcome(value=page, shown=teamwork.tree(page, tasks, clock.now()))

    run(ctx, work)


@command.command(short_help="One agent and what it holds.")
@click.argument("agent")
@click.pass_context
def show(ctx: click.Context, agent: str) -> None:
    """Show one agent and what it holds."""
    clock = invocation(ctx).clock

    async def work(client: Client) -> Outcome:
        record = await find_agent(client, agent)
        held = await collect(client, ListCapabilities(principal=record.id))
        value = {"agent": record, "capabilities": held}
        return Outcome(value=value, shown=presenters.agent(record, held, clock.now()))

    run(ctx, work)


@command.command(
    short_help="Tell an agent something, or all who listen to a topic.",
    epilog="""\b
Examples:
  umbrella agent send scout '{"look": "here"}'
  umbrella agent send mcp://broadcast/news 'the harbor is open'""",
)
@click.argument("to", metavar="AGENT|ADDRESS")
@click.argument("message")
@click.option("--text", is_flag=True, help="The message is text, also when it could be read as JSON.")
@click.pass_context
def send(ctx: click.Context, to: str, message: str, text: bool) -> None:
    """Send a message, JSON or text, and say how many got it; nobody waits for an answer."""

    async def work(client: Client) -> Outcome:
        address = to if to.startswith("mcp://") else f"mcp://agent/{await agent_id(client, to)}"
        payload = message if text else _payload(message)
        count = await client.request(SendMessage(to=address, payload=payload))
        told = f"sent to {address}" + (f": {count} got it" if "/broadcast/" in address else "")
        return Outcome(value={"to": address, "got_it": count}, shown=Prose(told, "ok" if count else "warn"))

    run(ctx, work)


def _payload(message: str) -> Any:
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return message


@command.command(short_help="End an agent and all of its rights.")
@click.argument("agent")
@click.option("--reason", default="stopped by user")
@click.pass_context
def stop(ctx: click.Context, agent: str, reason: str) -> None:
    """End an agent; its rights end with it, with everything derived from them."""

    async def work(client: Client) -> Outcome:
        identifier = await agent_id(client, agent)
        await client.request(StopAgent(agent=identifier, reason=reason))
        return Outcome(value={"stopped": identifier}, shown=Prose(f"stopped {identifier}", "ok"))

    run(ctx, work)
