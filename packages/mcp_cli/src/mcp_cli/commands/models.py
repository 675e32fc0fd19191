"""`umbrella models …`: which models a session can choose, how much they take, and what they cost."""

from collections.abc import Sequence
from difflib import get_close_matches

import click

from mcp_cli import modelling
from mcp_cli.invocation import Outcome, run
from mcp_interface.client import Client
from mcp_interface.conversing import ListModels
from mcp_interface.errors import CallerMistaken, NotFound
from mcp_interface.provider import ModelInfo


@click.group()
def command() -> None:
    """List models and show what is known of one."""


@command.command(
    "list",
    short_help="Models that a session can choose now.",
    epilog="""\b
Examples:
  umbrella models list
  umbrella models list claude
  umbrella --format json models list""",
)
@click.argument("part", default="")
@click.pass_context
def list_(ctx: click.Context, part: str) -> None:
    """List the models of every endpoint that is configured, and of Ollama on this machine; PART is in their names."""

    async def work(client: Client) -> Outcome:
        found = await client.request(ListModels())
        wanted = [info for info in found if part.lower() in info.name.lower()]
        if found and not wanted:
            raise _unknown(part, found)
        return Outcome(value=wanted, shown=modelling.models(wanted))

    run(ctx, work)


@command.command("show", short_help="What is known of one model.")
@click.argument("name")
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """Show what is known of a model: how much it reads and writes, and its prices."""

    async def work(client: Client) -> Outcome:
        found = await client.request(ListModels())
        info = choose(name, found)
        return Outcome(value=info, shown=modelling.model(info))

    run(ctx, work)


def choose(name: str, found: Sequence[ModelInfo]) -> ModelInfo:
    """The model that is meant: by its whole name, or by the part behind the prefix where that is clear.

    Raises:
        NotFound: None has this name.
        CallerMistaken: Several endpoints offer one of this name.
    """
    fitting = [info for info in found if info.name == name]
    fitting = fitting or [info for info in found if info.name.partition(":")[2] == name]
    if not fitting:
        raise _unknown(name, found)
    if len(fitting) > 1:
        names = ", ".join(info.name for info in fitting)
        raise CallerMistaken(f"{name!r} fits several models: {names}", "write the whole name")
    return fitting[0]


def _unknown(name: str, found: Sequence[ModelInfo]) -> NotFound:
    names = [info.name for info in found]
    plain = {each.partition(":")[2]: each for each in names}
    near = get_close_matches(name, [*names, *plain], n=3, cutoff=0.5)
    meant = list(dict.fromkeys(plain.get(each, each) for each in near))
    remedy = f"did you mean {' or '.join(meant)}?" if meant else "list them: umbrella models list"
    return NotFound(f"no model is called {name!r}", remedy)
