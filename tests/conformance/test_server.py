"""The official conformance suite against a real `umbrella serve`, through which every call goes to a server behind it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import running

from conformance.kit import run_suite
from mcp_interface.commands import AddServer
from mcp_interface.key import Publication
from mcp_interface.server import ServerSpec

FIXTURES = Path(__file__).parent / "fixtures_server.py"
ANYBODY = "user_" + "c" * 32
SECONDS = 100.0
FAILED = {"FAILURE", "WARNING"}
UNSCORED = ("tasks-", "server-sse-polling")
"""Scenarios of extensions, which have tests of their own, and of what the suite itself does not score."""

pytestmark = pytest.mark.node_server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a virtual server, at a node of its own with the fixtures server behind it."""
    config = f'[mcp]\nanonymous_principal = "{ANYBODY}"\n'
    with running(tmp_path_factory.mktemp("node"), config) as server:
        spec = ServerSpec(command=sys.executable, args=[str(FIXTURES)])
        status = server.ask(AddServer(name="fixtures", spec=spec))
        assert status.state == "ready", status.error
        server.grant(ANYBODY, "mcp://tool/execute/fixtures/**", "mcp://tool/read/fixtures/**")
        everything = ["fixtures/*"]
        publication = Publication(
            name="conformance", tools=everything, resources=everything, prompts=everything, bare_names=True
        )
        server.publish(publication)
        yield f"{server.url}mcp/conformance"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_suite_finds_nothing_wrong_with_our_server(endpoint: str, revision: str, tmp_path: Path) -> None:
    arguments = ["server", "--url", endpoint, "--requirements", revision]
    done, checks = run_suite(arguments, tmp_path, SECONDS)
    wrong = [
        check
        for check in checks
        if check.status in FAILED and not check.scenario.removeprefix("server-").startswith(UNSCORED)
    ]
    assert not wrong, "\n".join(
        f"{check.scenario} {check.id} {check.status}: {check.said}" for check in wrong
    )
    assert sum(check.status == "SUCCESS" for check in checks) > 50, done.stdout[-2000:]
    assert done.returncode == 0, done.stdout[-2000:]
