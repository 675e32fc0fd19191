"""What becomes of calls whose server dies under them, and of results that break their own rules."""

import os
import signal
import time

import pytest

from hosting import Pids, of, run
from mcp_interface.errors import Interrupted, WorldBroken

ROUNDS = 200 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 20


def test_a_call_that_only_reads_is_sent_once_more(open_host, asking_stdio, tmp_path) -> None:
    marker = tmp_path / "marker"

    async def work() -> None:
        async with open_host(ask=asking_stdio) as host:
            assert (await host.call("ask", "die_once", {"marker": str(marker)})).text == ".."
            assert of(host, "ask").restarts == 1

    run(work)


def test_a_call_that_may_be_repeated_is_repeated_once_and_no_more(open_host, asking_stdio, tmp_path) -> None:
    marker = tmp_path / "marker"

    async def work() -> None:
        async with open_host(ask=asking_stdio) as host:
            with pytest.raises(Interrupted):
                await host.call("ask", "die_always", {"marker": str(marker)})

    run(work)
    assert marker.read_text() == ".."


def test_after_every_kill_the_next_call_is_good_within_two_seconds(open_host, raw, child_pids: Pids) -> None:
    """Timed only in the nightly profile; a busy machine is no reason to fail."""
    durations = []

    async def work() -> None:
        before = child_pids()
        async with open_host(x=raw("plain")) as host:
            await host.call("x", "echo", {"text": "up"})
            for number in range(ROUNDS):
                (pid,) = child_pids() - before
                os.kill(pid, signal.SIGKILL)
                began = time.monotonic()
                while True:
                    try:
                        result = await host.call("x", "echo", {"text": str(number)})
                    except Interrupted:
                        continue  # it had been sent to the dead one, and may not be sent again by itself
                    break
                durations.append(time.monotonic() - began)
                assert result.text == str(number)

    run(work, 300)
    assert len(durations) == ROUNDS
    if ROUNDS == 200:
        assert max(durations) < 2.0


def test_structured_content_against_the_output_schema_names_the_rule(open_host, old) -> None:
    async def work() -> None:
        async with open_host(old=old) as host:
            with pytest.raises(WorldBroken, match="breaks the tool's own output schema") as caught:
                await host.call("old", "lie", {})
            assert caught.value.details == {"server": "old", "tool": "lie", "rule": "type", "path": "n"}

    run(work)
