"""The official scenarios of the extensions that we speak, tasks and skills, against a real `umbrella serve`."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import running

from conformance.kit import run_suite
from mcp_interface.commands import AddServer
from mcp_interface.key import Publication
from mcp_interface.server import ServerSpec

TASKS_SERVER = Path(__file__).parent / "tasks_server.py"
ANYBODY = "user_" + "c" * 32
SECONDS = 100.0
TASKS = {
    "tasks-lifecycle": 9,
    "tasks-capability-negotiation": 5,
    "tasks-wire-fields": 4,
    "tasks-request-state-removal": 3,
    "tasks-mrtr-input": 4,
    "tasks-request-headers": 5,
    "tasks-dispatch-and-envelope": 9,
    "tasks-required-task-error": 3,
    "tasks-mrtr-composition": 2,
}
"""The nine that the suite runs, with their checks; `tasks-status-notifications` it skips itself."""
SKILLS = {"sep-2640-skills-directory": 7, "sep-2640-skills-enumeration": 32, "sep-2640-skills-manifest": 6}
MANIFEST = """---
name: release-notes
description: Writes release notes; use it before a release.
license: Apache-2.0
metadata:
  visibility: public
  since: 2026-11-22
---
Look at the log since the last tag, and follow templates/notes.md.
"""

pytestmark = pytest.mark.node_server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a virtual server with the fixtures for tasks and a real skill."""
    folder = tmp_path_factory.mktemp("node")
    skill = folder / "skills" / "release-notes"
    (skill / "templates").mkdir(parents=True)
    (skill / "SKILL.md").write_text(MANIFEST)
    (skill / "templates" / "notes.md").write_text("# What is new\n")
    (skill / "templates" / "logo.png").write_bytes(bytes(range(256)))
    # long enough for a busy machine: within it a tool says whether it asks first
    config = f'[mcp]\nanonymous_principal = "{ANYBODY}"\ntask_wait_s = 10.0\n'
    with running(folder, config) as server:
        spec = ServerSpec(command=sys.executable, args=[str(TASKS_SERVER)])
        assert server.ask(AddServer(name="tasks", spec=spec)).state == "ready"
        server.grant(ANYBODY, "mcp://tool/execute/tasks/**", "mcp://tool/read/tasks/**")
        server.publish(
            Publication(name="extensions", tools=["tasks/*"], resources=["catalog/*"], bare_names=True)
        )
        yield f"{server.url}mcp/extensions"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("scenario", "expected"), [*TASKS.items(), *SKILLS.items()])
def test_a_scenario_of_an_extension_passes_whole(
    endpoint: str, scenario: str, expected: int, tmp_path: Path
) -> None:
    done, checks = run_suite(["server", "--url", endpoint, "--scenario", scenario], tmp_path, SECONDS)
    told = "\n".join(f"{check.id} {check.status}: {check.said}" for check in checks)
    assert Counter(check.status for check in checks) == {"SUCCESS": expected}, told or done.stdout[-2000:]
    assert done.returncode == 0, done.stdout[-2000:]
