"""`umbrella version`: which versions are installed."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import click

from mcp_cli.invocation import Outcome, finish
from mcp_cli.sheet import facts

PACKAGES: Final = (
    "mcp-umbrella-interface",
    "mcp-umbrella-security",
    "mcp-umbrella-persistence",
    "mcp-umbrella-core",
    "mcp-umbrella-web",
    "mcp-umbrella-cli",
)


def versions() -> dict[str, str]:
    """Versions of our packages and of Python; a package that is not installed has an empty one."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Print the versions."""
    found = versions()
    shown = facts(*((name, number or "not installed") for name, number in found.items()))
    finish(ctx, lambda: Outcome(value=found, shown=shown))
