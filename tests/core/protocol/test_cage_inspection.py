"""The cage that was got is compared with the one that was ordered; any difference ends the process before it begins."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caging import PYTHON, run_caged
from mcp_core.protocol.cage import limits, start
from mcp_core.protocol.cage.inspection import inspect, mount_differences, status_differences
from mcp_core.protocol.cage.order import Order, take_order
from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import Cage, ServerSpec

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed"
)
RIGHT = {
    "NoNewPrivs": "1", "Seccomp": "2", "Uid": "7\t7\t7\t7", "Gid": "7\t7\t7\t7", "Groups": "",
    "CapInh": "0", "CapPrm": "0", "CapEff": "0", "CapBnd": "0", "CapAmb": "0",
}  # fmt: skip


def order(**rights: Any) -> Order:
    return take_order(ServerSpec(command="/bin/sh", cage=Cage(**rights)), [], {}, user=7)


def test_a_right_status_has_no_differences() -> None:
    assert status_differences(RIGHT, order()) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"NoNewPrivs": "0"}, "privileges"),
        ({"Seccomp": "0"}, "filtered"),
        ({"Seccomp": "1"}, "filtered"),
        ({"CapEff": "0000000000200000"}, "CapEff"),
        ({"CapBnd": "1"}, "CapBnd"),
        ({"Uid": "0\t0\t0\t0"}, "user 0"),
        ({"Uid": "7\t0\t7\t7"}, "user 7"),
    ],
)
def test_every_difference_of_the_status_is_told(change: dict[str, str], word: str) -> None:
    found = status_differences(RIGHT | change, order())
    assert len(found) == 1 and word in found[0]


MOUNTS = [
    ("/", False, "tmpfs"), ("/usr", False, "ext4"), ("/proc", True, "proc"), ("/proc/sys", False, "proc"),
    ("/dev", False, "tmpfs"), ("/dev/null", True, "devtmpfs"), ("/dev/shm", True, "tmpfs"), ("/tmp", True, "tmpfs"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mounts", "word"),
    [
        ([*MOUNTS, ("/home", False, "ext4")], "/home is mounted"),
        ([*MOUNTS, ("/proc/sys/kernel", True, "proc")], "can be written"),
        ([("/", True, "tmpfs"), *MOUNTS[1:]], "/ can be written"),
        ([MOUNTS[0], ("/usr", True, "ext4"), *MOUNTS[2:]], "/usr can be written"),
        ([each for each in MOUNTS if each[0] != "/proc/sys"], "/proc/sys is not mounted"),
        ([*MOUNTS[:-1], ("/tmp", True, "ext4")], "/tmp is mounted"),
        ([*MOUNTS, ("/dev/sda", True, "devtmpfs")], "/dev/sda is mounted"),
    ],
)
def test_every_difference_of_the_mounts_is_told(mounts: list[tuple[str, bool, str]], word: str) -> None:
    assert mount_differences(MOUNTS, order()) == []
    assert any(word in each for each in mount_differences(mounts, order()))


def test_lent_paths_are_mounted_as_lent(tmp_path: Path) -> None:
    place = os.path.realpath(tmp_path)
    reading, writing = order(read=[place]), order(write=[place])
    assert mount_differences([*MOUNTS, (place, False, "ext4"), (f"{place}/x", False, "xfs")], reading) == []
    assert mount_differences([*MOUNTS, (place, True, "ext4"), (f"{place}/x", True, "xfs")], writing) == []
    assert mount_differences(MOUNTS, reading) == [f"{place} is not mounted"]
    assert f"{place}/x can be written" in mount_differences(
        [*MOUNTS, (place, False, "ext4"), (f"{place}/x", True, "xfs")], reading
    )
    assert f"{place} cannot be written" in mount_differences([*MOUNTS, (place, False, "ext4")], writing)


def test_a_process_without_a_cage_is_not_taken_for_one_in_it() -> None:
    process = subprocess.Popen(["sleep", "30"])
    try:
        with pytest.raises(ServerUnavailable, match="shares the user namespace") as caught:
            inspect(process.pid, order())
        assert len(caught.value.details["differences"]) >= 8
    finally:
        process.kill()
        process.wait()


def test_a_process_that_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(ServerUnavailable, match="cannot be inspected"):
        inspect(2**22 + 1, order())


def leaving(*words: str) -> Callable[..., list[str]]:
    """Bubblewrap's words without some: a release that ignores an option, say."""
    original = start.bubblewrap_words

    def shortened(*arguments: Any) -> list[str]:
        text = "\0".join(original(*arguments))
        assert "\0".join(words) in text
        return text.replace("\0".join(words) + "\0", "").split("\0")

    return shortened


@needs_bubblewrap
@pytest.mark.parametrize(
    ("ignored", "said"),
    [
        (["--unshare-net"], "shares the net namespace"),
        (["--unshare-ipc"], "shares the ipc namespace"),
        (["--unshare-cgroup"], "shares the cgroup namespace"),
        (["--ro-bind", "/proc/sys", "/proc/sys"], "/proc/sys is not mounted"),
        (["--remount-ro", "/"], "/ can be written"),
        (["--remount-ro", "/dev"], "/dev can be written"),
    ],
)
def test_an_option_that_is_ignored_ends_the_server_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ignored: list[str], said: str
) -> None:
    place = os.path.realpath(tmp_path)
    monkeypatch.setattr(start, "bubblewrap_words", leaving(*ignored))
    with pytest.raises(ServerUnavailable, match=said):
        run_caged(Cage(write=[place]), "/bin/sh", "-c", f"touch {place}/began")
    assert not list(tmp_path.iterdir())


@needs_bubblewrap
def test_a_filter_that_allows_everything_is_still_a_filter_but_none_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = os.path.realpath(tmp_path)
    monkeypatch.setattr(start, "call_filter", lambda *_: b"")
    with pytest.raises(ServerUnavailable):
        run_caged(Cage(write=[place]), "/bin/sh", "-c", f"touch {place}/began")
    assert not list(tmp_path.iterdir())


@needs_bubblewrap
def test_a_link_put_in_the_place_of_a_lent_folder_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = Path(os.path.realpath(tmp_path))
    (place / "lent").mkdir()
    (place / "secret").mkdir()
    original = start.take_order

    def swapped(*arguments: Any) -> Order:
        taken = original(*arguments)
        (place / "lent").rmdir()
        (place / "lent").symlink_to(place / "secret")
        return taken

    monkeypatch.setattr(start, "take_order", swapped)
    with pytest.raises(ServerUnavailable, match="exchanged for something else"):
        run_caged(Cage(write=[str(place / "lent")]), "/bin/sh", "-c", f"touch {place}/lent/began")
    assert not list((place / "secret").iterdir())


@needs_bubblewrap
def test_limits_that_do_not_hold_end_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = os.path.realpath(tmp_path)
    monkeypatch.setattr(limits.Bounds, "script", lambda self: ":")
    monkeypatch.setattr(start, "_BIND_SECONDS", 0.1)
    with pytest.raises(ServerUnavailable, match="Max processes"):
        run_caged(Cage(write=[place]), "/bin/sh", "-c", f"touch {place}/began")
    assert not list(tmp_path.iterdir())


def test_without_bubblewrap_there_is_no_cage_and_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_PLACES", "/nonexistent")
    with pytest.raises(ServerUnavailable, match="bubblewrap is not installed") as caught:
        run_caged(Cage(), "/bin/true")
    assert "install the package bubblewrap" in caught.value.remedy


def test_an_old_bubblewrap_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)
    monkeypatch.setattr(start, "_PLACES", str(tmp_path))
    with pytest.raises(ServerUnavailable, match=r"0\.6\.1"):
        run_caged(Cage(), "/bin/true")


def test_a_bubblewrap_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = tmp_path / "bwrap"
    odd.write_text('#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0\nexit 1\n')
    odd.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(start, "_PLACES", str(tmp_path))
    with pytest.raises(ServerUnavailable, match="could not make the cage"):
        run_caged(Cage(), "/bin/true")


def test_a_limit_below_one_is_refused() -> None:
    for cage in (Cage(memory_mb=0), Cage(processes=0), Cage(cpu_s=-1), Cage(file_mb=0)):
        with pytest.raises(ServerUnavailable, match="less than one"):
            limits.bounds(cage, "x")


@needs_bubblewrap
def test_what_it_got_is_told_in_words(tmp_path: Path) -> None:
    place = os.path.realpath(tmp_path)
    words = run_caged(Cage(read=[place], processes=9, cpu_s=5), "/bin/true").words
    assert words == f"reads {place}; no network; 9 processes; 5 s of processor each"
    assert run_caged(Cage(network=True), "/bin/true").words.startswith(
        "no files but the system's; the host's network"
    )


@needs_bubblewrap
def test_nothing_of_its_environment_is_on_a_command_line() -> None:
    async def scenario() -> bytes:
        spec = ServerSpec(command="/bin/cat", cage=Cage(), env={"TOKEN": "hunter2-and-more"})
        theirs, ours = os.pipe()
        with Path(os.devnull).open("w") as errlog:
            caged = await start.start_caged(spec, errlog, (theirs, ours), [])
            os.close(theirs)
            read = b"".join(
                (entry / "cmdline").read_bytes()
                for entry in Path("/proc").iterdir()
                if entry.name.isdigit() and entry.is_dir()
            )
            os.close(ours)
            await caged.process.wait()
            caged.release()
            return read

    assert b"hunter2" not in asyncio.run(scenario())


@needs_bubblewrap
def test_the_cage_dies_with_a_node_that_is_killed(tmp_path: Path) -> None:
    place = os.path.realpath(tmp_path)
    code = (
        "import asyncio, os, sys\n"
        "from mcp_core.protocol.cage import start_caged\n"
        "from mcp_interface.server import Cage, ServerSpec\n"
        "async def main():\n"
        f"    spec = ServerSpec(command='/bin/sleep', args=['98765'], cage=Cage(write=[{place!r}], memory_mb=64))\n"
        "    theirs, ours = os.pipe()\n"
        "    await start_caged(spec, sys.stderr, (theirs, ours), [])\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    node = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert node.stdout is not None
    assert node.stdout.readline() == b"up\n"
    assert sleepers()
    node.send_signal(signal.SIGKILL)
    node.wait(10)
    node.stdout.close()
    deadline = time.monotonic() + 20
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not sleepers()
    assert run_caged(Cage(memory_mb=64), PYTHON, "-c", "pass").code == 0  # and what it left is swept


def sleepers() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"/bin/sleep\x0098765\0":
                found.append(entry.name)
        except OSError:
            continue
    return found
