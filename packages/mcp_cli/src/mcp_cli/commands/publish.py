"""`umbrella mcp publish|unpublish|published|serve`: the node as an MCP server; `commands.mcp` takes these up."""

import os

import click

from mcp_cli import entering
from mcp_cli.invocation import Invocation, Outcome, invocation, run
from mcp_cli.naming import collect
from mcp_cli.sheet import Prose
from mcp_interface.access import ListPublications, Publish, Unpublish
from mcp_interface.client import Client, ClientInfo, Welcome
from mcp_interface.clock import SystemEntropy
from mcp_interface.commands import CheckLogin, Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.ids import PrincipalId
from mcp_interface.key import Publication


@click.command(
    "publish",
    short_help="Offer a virtual server under /mcp/NAME.",
    epilog="""\b
Examples:
  umbrella mcp publish review --tool 'git/*' --tool 'fs/read_file'
  umbrella mcp publish ci --tool 'git/*' --for user_… --bare-names""",
)
@click.argument("name")
@click.option("--tool", "tools", multiple=True, metavar="GLOB", help="Over server/tool, as in 'git/*'.")
@click.option("--resource", "resources", multiple=True, metavar="GLOB", help="Over server/uri.")
@click.option("--prompt", "prompts", multiple=True, metavar="GLOB", help="Over server/prompt.")
@click.option("--for", "principal", metavar="PRINCIPAL", help="The only one who finds it.")
@click.option("--bare-names", is_flag=True, help="Keep own names instead of server__name.")
@click.option("--instructions", default="", help="What clients are told about it.")
@click.pass_context
def publish(
    ctx: click.Context,
    name: str,
    tools: tuple[str, ...],
    resources: tuple[str, ...],
    prompts: tuple[str, ...],
    principal: str | None,
    bare_names: bool,
    instructions: str,
) -> None:
    """Offer a selection of tools, resources and prompts; each client sees of it what it holds rights on."""

    async def work(client: Client) -> Outcome:
        publication = Publication(
            name=name,
            tools=list(tools),
            resources=list(resources),
            prompts=list(prompts),
            principal_id=None if principal is None else PrincipalId(principal),
            bare_names=bare_names,
            instructions=instructions,
        )
        put = await client.request(Publish(publication=publication))
        return Outcome(value=put, shown=Prose(f"published under /mcp/{put.name}", "ok"))

    run(ctx, work)


@click.command("unpublish", short_help="Take a virtual server away.")
@click.argument("name")
@click.pass_context
def unpublish(ctx: click.Context, name: str) -> None:
    """Take a virtual server away; what it selected stays where it is."""

    async def work(client: Client) -> Outcome:
        await client.request(Unpublish(name=name))
        return Outcome(value={"unpublished": name}, shown=Prose(f"{name} is no longer published", "ok"))

    run(ctx, work)


@click.command("published", short_help="The virtual servers.")
@click.pass_context
def published(ctx: click.Context) -> None:
    """List the virtual servers."""

    async def work(client: Client) -> Outcome:
        page = Page(items=await collect(client, ListPublications()))
        return Outcome(value=page, shown=entering.publications(page))

    run(ctx, work)


@click.command("serve", short_help="Speak MCP on standard input and output.")
@click.option(
    "--publication", metavar="NAME", help="A virtual server; otherwise everything that you may use."
)
@click.option("--key-env", metavar="VAR", help="Act as the API key in this variable; otherwise as yourself.")
@click.pass_context
def serve(ctx: click.Context, publication: str | None, key_env: str | None) -> None:
    """Be an MCP server for the program that started this; attaches to the node, and starts one if none runs."""
    import asyncio  # late: help needs none of it

    from mcp_cli.headless import guarded

    given = invocation(ctx)

    def body() -> int:
        if given.runner is not None:
            raise CallerMistaken("this speaks to a program, not to a person", "run it outside of the REPL")
        asyncio.run(_serve(given, publication, key_env))
        return 0

    ctx.exit(guarded(given, body))


async def _serve(given: Invocation, publication: str | None, key_env: str | None) -> None:
    from mcp_core import Portal, Settings, open_door, open_seal, read_entrance, serve_stdio

    key = None if key_env is None else os.environ.get(key_env, "")
    if key == "":
        raise CallerMistaken(
            f"the variable {key_env} is not set", "put an API key into it: umbrella key create"
        )
    settings = Settings.load(given.data_dir)
    door = await open_door(settings, start=True, embed=given.embed)
    try:

        async def connect() -> tuple[Client, Welcome]:
            client = door.client()
            return client, await client.connect(ClientInfo(name="mcp", token=key or door.owner_token))

        name = "stdio"
        if key is not None:
            client, _ = await connect()
            name = (await client.request(CheckLogin(key=key))).key_name or name
            await client.disconnect("known")
        portal = Portal(connect, name, publication, given.clock, read_entrance(settings.data_dir)[0])
        await serve_stdio(portal, open_seal(settings.data_dir, SystemEntropy()))
    finally:
        await door.close()


COMMANDS = (publish, unpublish, published, serve)
