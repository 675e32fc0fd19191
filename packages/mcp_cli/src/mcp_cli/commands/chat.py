"""`umbrella chat`: the REPL by its name, which is also what `umbrella` alone opens."""

import click
import msgspec

from mcp_cli.invocation import Invocation, invocation
from mcp_interface.budget import Budget


@click.command(
    short_help="Talk with the assistant: the REPL.",
    epilog="Example: umbrella chat --continue --model anthropic:claude-sonnet-4-5",
)
@click.option("-c", "--continue", "latest", is_flag=True, help="Go on with the latest session.")
@click.option("-r", "--resume", metavar="ID", help="Go on with this session.")
@click.option("--model", metavar="M", help="Which model answers.")
@click.option("--plain", is_flag=True, help="Lines only, no full screen: for screen readers and pipes.")
@click.pass_context
def command(ctx: click.Context, latest: bool, resume: str | None, model: str | None, plain: bool) -> None:
    """Open the REPL. Leaving it stops nothing: agents go on, and --continue finds them again."""
    if latest and resume:
        raise click.UsageError("--continue and --resume exclude each other", ctx)
    if invocation(ctx).runner is not None:
        raise click.UsageError("this is the REPL already", ctx)
    ctx.exit(talk(invocation(ctx), resume=resume, latest=latest, plain=plain, model=model))


def talk(given: Invocation, *, resume: str | None, latest: bool, plain: bool, model: str | None) -> int:
    """Open the REPL with what the person's settings say; returns the exit code.

    Args:
        given: The global options.
        resume: A session to go on with.
        latest: Go on with the latest one.
        plain: Lines only.
        model: For the session that is gone on with, or begins; None: as it is, or as the settings say.
    """
    from mcp_cli.headless import guarded

    def body() -> int:
        from mcp_cli import configuring
        from mcp_cli.opening import open_repl

        if model is not None and (resume is not None or latest):
            _choose(given, resume, model)
        settings = configuring.load()
        begun = msgspec.structs.replace(
            given,
            model=configuring.default_model(settings) if model is None else model,
            budget=Budget(max_cost=settings.budget.max_cost, max_tokens=settings.budget.max_tokens),
        )
        return open_repl(begun, resume=resume, latest=latest, plain=plain)

    return guarded(given, body)


def _choose(given: Invocation, resume: str | None, model: str) -> None:
    """Change the model of a session before it is opened."""
    import asyncio

    from mcp_cli.headless import connected
    from mcp_cli.naming import find_session, latest_session
    from mcp_interface.commands import ChangeSession

    async def work() -> None:
        async with connected(given) as (client, _):
            found = await find_session(client, resume) if resume is not None else await latest_session(client)
            await client.request(ChangeSession(session_id=found.id, model=model))

    asyncio.run(work())
