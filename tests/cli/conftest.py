"""A real node per test session, and the command line in this process."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings

from mcp_cli.main import cli

MODEL_VARIABLES = [
    name
    for name in os.environ
    if name.startswith(("OPENAI_", "ANTHROPIC_", "UMBRELLA_MODEL", "UMBRELLA_DATA"))
]

# The machine may be busy: a slow example is not a wrong one.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

Umbrella = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def runner(data_dir: Path, *options: str) -> Umbrella:
    def run(*words: str, stdin: str = "") -> Result:
        arguments = ["--data-dir", str(data_dir), *options, *words]
        return CliRunner().invoke(cli, arguments, input=stdin, catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def node_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a node that runs detached, as `umbrella node start` makes it."""
    place = tmp_path_factory.mktemp("node")
    kept = {name: os.environ.pop(name) for name in MODEL_VARIABLES}
    started = runner(place)("node", "start")
    os.environ.update(kept)
    assert started.exit_code == 0, started.output
    yield place
    stopped = runner(place)("node", "stop")
    assert stopped.exit_code == 0, stopped.output


@pytest.fixture
def umbrella(node_dir: Path) -> Umbrella:
    """Run a command against the node."""
    return runner(node_dir)


@pytest.fixture
def umbrella_json(node_dir: Path) -> Callable[..., Any]:
    """Run a command that must succeed and return its JSON document."""

    def run(*words: str, code: int = 0) -> Any:
        result = runner(node_dir, "--format", "json")(*words)
        assert result.exit_code == code, result.stderr
        return json.loads(result.stdout)

    return run
