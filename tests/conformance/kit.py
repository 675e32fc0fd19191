"""The protocol's own conformance suite, at the version that we promise to pass."""

import json
import re
import subprocess
from pathlib import Path

import msgspec
from node_programs import npm_program

SUITE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"


def conformance_command() -> list[str]:
    """The command that runs the suite; installs it first. Skips the test where that cannot be done, fails it in CI."""
    return npm_program(SUITE, VERSION, "dist/index.js").command()


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
