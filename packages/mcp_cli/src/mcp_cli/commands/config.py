"""`umbrella config …`: settings, and where each of them comes from."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcp_cli import configuring
from mcp_cli.configuring import DEFAULT
from mcp_cli.exit_codes import OK, USAGE
from mcp_cli.invocation import Invocation, Outcome, finish, invocation
from mcp_cli.sheet import Cell, Facts, Sheet, facts, row
from mcp_cli.untrusted import compact_json, one_line
from mcp_interface.errors import CallerMistaken, UmbrellaError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE: Final = """\
# Settings of umbrella. An option and the environment come before this file; a project's .umbrella/config.toml
# comes before it in [ask] and [ui]. See what counts: umbrella config show --origin

# [models]
# default = "anthropic:claude-sonnet-4-5"   # for sessions that choose none
# fallback = ["openai:gpt-5"]               # asked in this order when a model cannot be reached
# discover = true                           # look for models on this machine
# [models.cards."openai:gpt-5"]             # what is known of a model, and what it costs: US dollars a million tokens
# context_tokens = 400_000
# input_price = 1.25
# output_price = 10.0

# [ask]
# output = "text"                           # text, json or stream-json
# timeout = "10m"
# max_cost = 0.50                           # US dollars for one umbrella ask
# max_tokens = 200_000

# [budget]                                  # of each session that you begin
# max_cost = 5.0
# max_tokens = 2_000_000

# [ui]
# theme = "dark"
# notifications = true
# mouse = true
"""


@click.group()
def command() -> None:
    """Show, edit and check settings."""


@command.command(short_help="The settings that count.")
@click.option("--origin", is_flag=True, help="Also where each of them comes from.")
@click.pass_context
def show(ctx: click.Context, origin: bool) -> None:
    """Show the settings that count here: option > environment > project's file > your file > default."""
    given = invocation(ctx)

    def body() -> Outcome:
        settings = configuring.load().settings
        value: Any = {setting.key: setting.value for setting in settings}
        if not origin:
            pairs = [(setting.key, _shown(setting.value)) for setting in settings]
            return Outcome(value=value, shown=Facts(pairs=pairs, note=_where(given)))
        rows = [
            row(
                Cell(setting.key, "strong"),
                _shown(setting.value),
                Cell(one_line(setting.origin), "dim" if setting.origin == DEFAULT else "plain"),
            )
            for setting in settings
        ]
        sheet = Sheet(columns=("setting", "value", "from"), rows=rows, note=_where(given))
        return Outcome(value=settings, shown=sheet)

    finish(ctx, body)


@command.command(short_help="Open your settings in your editor.")
@click.pass_context
def edit(ctx: click.Context) -> None:
    """Open your settings in $VISUAL or $EDITOR, and check them afterwards."""

    def body() -> Outcome:
        from mcp_core import UserConfig, read_config

        file = _mine(os.environ)
        _begin(file)
        _open(file)
        read_config(file, UserConfig)
        return Outcome(value={"file": str(file)}, shown=facts(("sound", str(file))))

    finish(ctx, body)


@command.command(short_help="Check every file of settings.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def validate(ctx: click.Context, file: Path | None) -> None:
    """Check your file, the project's and the node's, or FILE as one of yours; the exit code is 2 when one is broken."""
    given = invocation(ctx)

    def body() -> Outcome:
        from mcp_core import UserConfig

        files = _files(given) if file is None else [("given", file, UserConfig)]
        found = [_check(whose, place, kind) for whose, place, kind in files]
        if file is not None and found[0]["state"] == "none":
            raise CallerMistaken(f"{file} cannot be read: there is no such file", "name another file")
        rows = [
            row(
                Cell(each["whose"], "strong"),
                Cell(each["state"], "bad" if each["state"] == "broken" else "ok"),
                one_line(each["file"]),
                Cell(one_line(each["problem"]), "bad"),
            )
            for each in found
        ]
        broken = any(each["state"] == "broken" for each in found)
        sheet = Sheet(columns=("whose", "state", "file", "problem"), rows=rows)
        return Outcome(value=found, shown=sheet, code=USAGE if broken else OK)

    finish(ctx, body)


def _shown(value: Any) -> Cell:
    return Cell("none" if value is None else compact_json(value, 200), "plain")


def _mine(environ: "Mapping[str, str]") -> Path:
    from mcp_core import user_file

    file = user_file(environ)
    if file is None:
        raise CallerMistaken("there is no place for your settings", "set HOME or XDG_CONFIG_HOME")
    return file


def _where(given: Invocation) -> str:
    there = [str(place) for _, place, _ in _files(given) if place.is_file()]
    return (
        f"files: {', '.join(there)}" if there else "no file of settings yet; write one: umbrella config edit"
    )


def _files(given: Invocation) -> list[tuple[str, Path, type[Any]]]:
    from mcp_core import NodeConfig, ProjectConfig, Settings, UserConfig

    files: list[tuple[str, Path, type[Any]]] = [("yours", _mine(os.environ), UserConfig)]
    project = configuring.project_file(Path.cwd())
    if project is not None:
        files.append(("project's", project, ProjectConfig))
    return [*files, ("node's", Settings.load(given.data_dir).data_dir / "config.toml", NodeConfig)]


def _check(whose: str, file: Path, kind: type[Any]) -> dict[str, str]:
    from mcp_core import read_config

    found = {"whose": whose, "file": str(file), "problem": ""}
    try:
        told = read_config(file, kind)
    except UmbrellaError as error:
        problem = error.message.removeprefix(str(file)).lstrip(",: ")
        return {**found, "state": "broken", "problem": f"{problem} ({error.remedy})"}
    return {**found, "state": "none" if told is None else "sound"}


def _begin(file: Path) -> None:
    """Have a file of its owner's alone, with every setting in it as a comment."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(TEMPLATE)
    except FileExistsError:
        return
    except OSError as error:
        raise CallerMistaken(f"{file} cannot be written: {error}", "see who owns that folder") from error


def _open(file: Path) -> None:
    import subprocess

    words = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(words), str(file)], check=False)  # noqa: S603  # the person's own choice
    except (OSError, ValueError) as error:
        raise CallerMistaken(f"the editor {words!r} does not start: {error}", "set EDITOR") from error
    if done.returncode != 0:
        raise CallerMistaken(f"the editor {words!r} ended with {done.returncode}", "set EDITOR")
