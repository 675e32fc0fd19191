"""The end of programs that the gate ran: by themselves, at the deadline, by force; nothing is left of them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import TooMuch, UmbrellaError, WorldBroken
from mcp_security.validators.shell import MAX_RUNNING, ShellGate
from security.validators.shell_programs import (
    ANY,
    DASH,
    children,
    eventually,
    new_mark,
    nothing_left,
    processes,
    python,
    real,
    run,
    script,
    sh,
    start,
    stopped,
)


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with nothing_left(tmp_path_factory.mktemp("folders")):
        yield


@pytest.fixture
def mark() -> str:
    return new_mark()


def test_at_the_deadline_it_is_told_to_end(mark: str) -> None:
    told = stopped(lambda outcome: outcome.exit_code == -signal.SIGTERM, real("sleep"), mark)
    assert told.exit_code == -signal.SIGTERM
    assert not processes(mark)


def test_what_it_says_before_the_deadline_is_kept(mark: str) -> None:
    text = f"trap 'echo bye; exit 3' TERM; echo hi; sleep {mark} & wait"
    told = stopped(lambda outcome: outcome.exit_code == 3, DASH, "-c", text)
    assert (told.stdout, told.exit_code) == (b"hi\nbye\n", 3)
    assert not processes(mark)


def test_what_ignores_signals_is_killed(mark: str) -> None:
    text = f"trap '' TERM INT HUP; echo ready; while :; do sleep {mark}; done"
    told = stopped(lambda outcome: outcome.stdout == b"ready\n", DASH, "-c", text)
    assert (told.stdout, told.exit_code) == (b"ready\n", -signal.SIGKILL)
    assert not processes(mark)


@pytest.mark.parametrize("stays", [True, False], ids=["stopped", "ended"])
def test_a_daemon_in_a_session_of_its_own_is_killed(tmp_path: Path, mark: str, stays: bool) -> None:
    daemon = python(
        tmp_path / "daemon",
        "import os, signal, sys\n"
        "reading, writing = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):\n"
        "            signal.signal(number, signal.SIG_IGN)\n"
        "        os.write(writing, b'x')\n"
        "        quiet = os.open('/dev/null', os.O_RDWR)\n"
        "        [os.dup2(quiet, number) for number in range(3)]\n"
        "        os.closerange(3, 64)\n"
        f"        os.execv({real('sleep')!r}, ['sleep', sys.argv[1]])\n"
        "    os._exit(0)\n"
        "os.read(reading, 1)\n"
        "print('daemon is away', flush=True)\n"
        "if sys.argv[2] == 'True': signal.pause()\n",
    )
    if stays:
        outcome = stopped(lambda outcome: bool(outcome.stdout), daemon, mark, "True")
    else:
        outcome = run(daemon, mark, "False")
    assert (outcome.stdout, outcome.timed_out) == (b"daemon is away\n", stays)
    assert not processes(mark)


def test_a_background_process_that_holds_the_output_is_not_waited_for(mark: str) -> None:
    outcome = sh(f"sleep {mark} & echo done", timeout_s=30.0)
    assert (outcome.stdout, outcome.timed_out) == (b"done\n", False)
    assert not processes(mark)


def test_a_tree_of_processes_that_keeps_forking_is_killed(mark: str) -> None:
    text = f"f() {{ sleep {mark} & for i in 1 2; do setsid sh -c 'sleep {mark} & sleep {mark}' & done; }}; trap '' TERM; f; f; f; wait"
    assert sh(text, timeout_s=0.5).timed_out
    assert not processes(mark)


def test_cancelling_kills_it(mark: str) -> None:
    async def cancelled() -> None:
        patient = ShellGate(grace_s=60)
        text = f"trap '' TERM; setsid sleep {mark} & sleep {mark}"
        task = asyncio.create_task(patient.run(ANY, {}, DASH, ["-c", text]))
        while len(processes(mark)) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not processes(mark)

    asyncio.run(cancelled())


def test_when_the_node_is_killed_nothing_of_the_program_lives_on(tmp_path: Path, mark: str) -> None:
    node = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import asyncio, sys\n"
            "from mcp_security.validators.shell import ShellGate\n"
            "asyncio.run(ShellGate(grace_s=0.1).run('mcp://shell/execute/**', {}, *sys.argv[1:2], sys.argv[2:]))",
            *(DASH, "-c", f"trap '' TERM; setsid sleep {mark} & sleep {mark}"),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert eventually(lambda: len(processes(mark)) >= 2)
    finally:
        node.kill()
        node.wait()
    assert eventually(lambda: not processes(mark))


def test_a_launcher_that_is_killed_is_told_as_a_broken_world(mark: str) -> None:
    async def killed() -> None:
        before = children()
        task = asyncio.create_task(start(real("sleep"), mark))
        while not any(Path(f"/proc/{pid}/exe").resolve() == Path(real("sleep")) for pid in processes(mark)):
            await asyncio.sleep(0.01)
        (launcher,) = children() - before
        os.kill(int(launcher), signal.SIGKILL)
        with pytest.raises(WorldBroken, match="may still run"):
            await task

    asyncio.run(killed())
    assert eventually(lambda: not processes(mark))


def test_a_flood_is_read_and_thrown_away() -> None:
    outcome = stopped(lambda outcome: outcome.truncated, real("yes"), max_bytes=1_000)
    assert (outcome.stdout, outcome.truncated) == (b"y\n" * 500, True)
    outcome = sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4", max_bytes=2_000_000)
    assert (len(outcome.stdout), len(outcome.stderr), outcome.exit_code) == (2_000_000, 2_000_000, 4)
    assert outcome.truncated and not outcome.timed_out
    assert not run(real("head"), "-c", "1000", "/dev/zero", max_bytes=1_000).truncated
    assert run(real("echo"), max_bytes=0).stdout == b""


def test_only_so_many_run_at_once() -> None:
    async def crowd() -> None:
        gate = ShellGate()
        running = [
            asyncio.create_task(gate.run(ANY, {}, real("cat"), ["/proc/self/comm"]))
            for _ in range(MAX_RUNNING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(TooMuch):
            await gate.run(ANY, {}, real("true"), [])
        assert {outcome.exit_code for outcome in await asyncio.gather(*running)} == {0}
        assert (await gate.run(ANY, {}, real("true"), [])).exit_code == 0

    asyncio.run(crowd())


def test_failures_leave_nothing_open(tmp_path: Path) -> None:
    text = script(tmp_path / "text", "no first line\n")
    for program, argv in ((text, []), (real("true"), ["a" * 140_000]), (f"{tmp_path}/none", [])):
        for _ in range(3):
            with pytest.raises(UmbrellaError):
                run(program, *argv)


def test_it_is_the_same_under_uvloop(mark: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def both() -> None:
        assert (await start(real("echo"), "a")).stdout == b"a\n"
        assert (await start(real("sleep"), mark, timeout_s=0.2)).timed_out

    def under(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)

    under(both())
    assert not processes(mark)
