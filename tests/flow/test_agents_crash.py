"""kill -9 of a process full of event-sourced agents: what they acknowledged is in their state afterwards, once."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from flow import sourced_agents
from flow.sourced_agents import AGENTS, history, opened

LIVES = 30 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 3


def _live(folder: Path, life: str, seconds: float) -> list[str]:
    """Run it until it has begun to work, and so long more; then kill it. Gives what it said whole lines of."""
    command = [sys.executable, sourced_agents.__file__, str(folder), life]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        killing = threading.Timer(seconds, process.kill)
        killing.start()
        said += process.stdout.read()
        killing.join()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    return said.decode().rpartition("\n")[0].splitlines()


async def _check(folder: Path, acknowledged: set[str]) -> None:
    store, journal = await opened(folder)
    found: dict[str, int] = {}
    for number in range(AGENTS):
        stream = history(journal, f"agent:{number}")
        await stream.load()
        found |= stream.state.entries
    await store.close()
    assert acknowledged <= set(found), f"lost: {sorted(acknowledged - set(found))[:5]}"
    assert set(found.values()) <= {1}, "written twice"


@pytest.mark.timeout(60 + LIVES * 15)
def test_kill_9_loses_nothing_that_an_agent_acknowledged(tmp_path: Path) -> None:
    dice = random.Random(2026)
    acknowledged: set[str] = set()
    for life in range(LIVES):
        said = _live(tmp_path / "journal", str(life), 0.1 + dice.random() * 0.5)
        assert said
        acknowledged.update(said)
        asyncio.run(_check(tmp_path / "journal", acknowledged))
    assert len(acknowledged) > LIVES * 20
    print(f"{LIVES} lives, {len(acknowledged)} entries acknowledged")
