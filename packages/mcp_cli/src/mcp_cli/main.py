"""The `umbrella` command: global options, and a lazily loaded module for each noun.

Nothing heavy is imported before a command runs: help, version and usage errors answer at once. Commands of
other packages are found through the entry-point group `umbrella.commands`; so `serve` comes from `mcp_web`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click

from mcp_cli.exit_codes import FAILED, INTERRUPTED, OK, USAGE
from mcp_cli.invocation import Format, Invocation
from mcp_interface.errors import UmbrellaError

ENTRY_POINTS: Final = "umbrella.commands"
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "agent": ("agent", "Start, list and stop agents."),
    "approvals": ("approvals", "See and answer what agents wait for."),
    "ask": ("ask", "One turn of the assistant, without the REPL."),
    "audit": ("audit", "Read and check the audit trail."),
    "call": ("call", "Call one tool through the whole path."),
    "caps": ("caps", "List, revoke and explain capabilities."),
    "chat": ("chat", "Talk with the assistant: the REPL."),
    "completion": ("completion", "Print the script that completes words in your shell."),
    "config": ("config", "Show, edit and check settings."),
    "doctor": ("doctor", "Check this installation and its node."),
    "executions": ("executions", "Look at tool calls, wait for them, cancel them."),
    "grant": ("grant", "Hand an agent a right."),
    "key": ("key", "Make, list and revoke API keys."),
    "logs": ("logs", "Show the node's log."),
    "mcp": ("mcp", "Add, list and remove MCP servers."),
    "models": ("models", "List models, and show what is known of one."),
    "node": ("node", "Start, stop and inspect the node."),
    "observe": ("observe", "The live tree of the node's actors."),
    "plan": ("plan", "Lay work out, look what it would do, approve it, follow it."),
    "prompt": ("prompt", "Keep templates with their versions, and render them."),
    "questions": ("questions", "See and answer what tools want to know."),
    "resource": ("resource", "Keep texts, files and pages; read what servers offer."),
    "secret": ("secret", "Keep secrets for MCP servers, encrypted."),
    "sessions": ("sessions", "List, search, export, import, fork and end sessions."),
    "storage": ("storage", "Look at the journal and check it."),
    "task": ("task", "Give tasks to agents, list and cancel them."),
    "tools": ("tools", "See tools, and which changed since they were allowed."),
    "usage": ("usage", "What models have used, and what it cost."),
    "version": ("version", "Print the versions."),
}
"""Command by name: the module in `commands/` that holds it, and its line in the help."""
ABSENT: Final = {"serve": ("mcp-umbrella-web", "Node, web and dashboard in the foreground.")}
"""Commands of other packages: the distribution to install when it is missing."""


class Umbrella(click.Group):
    """The group of all commands; imports a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, those of other packages included."""
        return sorted({*COMMANDS, *ABSENT, *_entry_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None when there is none of that name."""
        if cmd_name in COMMANDS:
            module = import_module(f"mcp_cli.commands.{COMMANDS[cmd_name][0]}")
            found = _command(module.command)
            return _completing(cmd_name, found) if ctx.resilient_parsing else found
        point = _entry_points().get(cmd_name)
        if point is not None:
            return _command(point.load())
        return _absent(cmd_name) if cmd_name in ABSENT else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names of commands from the table, without importing any of them, and options."""
        from click.shell_completion import CompletionItem

        lines = self._lines()
        found = [
            CompletionItem(name, help=lines[name]) for name in sorted(lines) if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the names that come near."""
        if args and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(_unknown(args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._lines().items()))

    def _lines(self) -> dict[str, str]:
        lines = {name: text for name, (_, text) in COMMANDS.items()}
        lines |= {name: text for name, (_, text) in ABSENT.items()}
        lines |= {
            name: f"from {point.value.partition(':')[0]}"
            for name, point in _entry_points().items()
            if name not in lines
        }
        return lines

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run; as click does, but usage errors follow `--format` too."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        given = list(sys.argv[1:] if args is None else args)
        sys.exit(_run(super().main, given, prog_name or "umbrella", complete_var, extra))


def _run(entry: Any, args: list[str], name: str, complete_var: str | None, extra: dict[str, Any]) -> int:
    try:
        code = entry(args, name, complete_var, standalone_mode=False, **extra)
        return code if isinstance(code, int) else OK
    except click.UsageError as error:
        _usage(error, as_json=_wants_json(args))
        return USAGE
    except click.ClickException as error:
        error.show()
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except UmbrellaError as error:  # from a command that another package brings
        return _complain(error, as_json=_wants_json(args))
    except BrokenPipeError:
        sys.stderr.close()  # the reader left (`| head`); the interpreter must not complain at its exit
        return OK


def _wants_json(args: Sequence[str]) -> bool:
    return "--format=json" in args or any(
        first == "--format" and second == "json" for first, second in pairwise(args)
    )


def _usage(error: click.UsageError, *, as_json: bool) -> None:
    from mcp_cli import terminal
    from mcp_interface.errors import ErrorBody

    path = error.ctx.command_path if error.ctx is not None else "umbrella"
    body = ErrorBody(code="invalid_input", message=error.format_message(), remedy=f"see: {path} --help")
    terminal.complain(body, as_json=as_json)


def _complain(error: UmbrellaError, *, as_json: bool) -> int:
    from mcp_cli import terminal
    from mcp_cli.exit_codes import exit_code

    terminal.complain(error.body(), as_json=as_json)
    return exit_code(error)


def _unknown(typed: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(typed, names, n=3, cutoff=0.5)
    return f"there is no command {typed!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _command(found: Any) -> click.Command:
    if not isinstance(found, click.Command):
        raise click.ClickException(f"{found!r} is not a click command")
    return found


def _completing(name: str, found: click.Command) -> click.Command:
    """Only somebody who presses Tab wants the names that a node knows."""
    from mcp_cli.commands.completion import dress

    return dress(found, (name,))


def _absent(name: str) -> click.Command:
    distribution, text = ABSENT[name]

    @click.command(name, help=text, context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def missing(rest: tuple[str, ...]) -> None:
        raise click.UsageError(f"`umbrella {name}` is in a package of its own: pip install {distribution}")

    return missing


@click.group(
    cls=Umbrella, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the node lives.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--embed", is_flag=True, help="Run the node inside this process.")
@click.option("-c", "--continue", "latest", is_flag=True, help="REPL: resume the latest session.")
@click.option("-r", "--resume", metavar="ID", help="REPL: resume this session.")
@click.option("--plain", is_flag=True, help="REPL: lines only, no full screen.")
@click.version_option(None, "-V", "--version", package_name="mcp-umbrella-cli", prog_name="umbrella")
@click.pass_context
def cli(
    ctx: click.Context,
    data_dir: Path | None,
    output: Format,
    embed: bool,
    latest: bool,
    resume: str | None,
    plain: bool,
) -> None:
    """Umbrella: durable agents that may only do what you granted, over MCP tools.

    Without a command it opens the REPL. It attaches to the node of the data directory and starts one if none
    runs; closing the terminal stops nothing.
    """
    if ctx.obj is None:
        ctx.obj = Invocation(data_dir=data_dir, format=output, embed=embed)
    if ctx.invoked_subcommand is not None:
        return
    if latest and resume:
        raise click.UsageError("--continue and --resume exclude each other", ctx)
    from mcp_cli.commands.chat import talk

    ctx.exit(talk(ctx.obj, resume=resume, latest=latest, plain=plain, model=None))


def main() -> None:
    """Run the command line and exit."""
    cli.main()
