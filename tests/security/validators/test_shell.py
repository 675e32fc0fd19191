"""The gate to programs, with real ones: what may run, what it gets, and that it is what was judged."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_interface.errors import CallerMistaken, LostRace, NotFound, NotPermitted, WorldBroken
from mcp_security.constraints.commands import Commands
from mcp_security.validators import openat2, shell
from mcp_security.validators.command_line import parse_line
from mcp_security.validators.processes import Outcome
from mcp_security.validators.shell import ENVIRONMENT, ShellGate
from security.corpora.commands import ORDINARY, SCHEMAS, argvs
from security.validators.shell_programs import ANY, DASH, nothing_left, python, real, run, script, sh

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with nothing_left(tmp_path_factory.mktemp("folders")):
        yield


# what it gets


def test_output_errors_and_exit_code_come_back() -> None:
    assert sh("echo out; echo err >&2; exit 7") == Outcome(
        exit_code=7, stdout=b"out\n", stderr=b"err\n", truncated=False, timed_out=False
    )
    assert sh("kill -9 $$").exit_code == -9


def test_arguments_arrive_as_they_are() -> None:
    words = [
        "",
        " ",
        "a b",
        "'",
        '"',
        "\\",
        "$HOME",
        "`id`",
        "$(id)",
        ";",
        "*",
        "~",
        "-n",
        "--",
        "a\nb",
        "é東\U0001f600",
        "\x01",
    ]
    assert run(real("printf"), "%s\\0", *words).stdout.decode().split("\0")[:-1] == words
    assert run(real("cat"), "/proc/self/cmdline").stdout == f"{real('cat')}\0/proc/self/cmdline\0".encode()


def test_the_arguments_that_were_judged_are_those_that_arrive(tmp_path: Path) -> None:
    wanted = 400 if NIGHTLY else 15
    limits = {"commands": Commands().read(SCHEMAS)}
    for name in SCHEMAS:
        python(tmp_path / name, "import json, sys; print(json.dumps(sys.argv[1:]))")
    typed = [parse_line(line) for line in ORDINARY if "~" not in line]
    seen = refused = 0
    for name, argv in argvs(11, 100_000, typed):
        if seen == wanted:
            break
        if name not in SCHEMAS:
            continue
        try:
            outcome = run(str(tmp_path.resolve() / name), *argv, limits=limits)
        except (NotPermitted, CallerMistaken):
            refused += 1
            continue
        assert json.loads(outcome.stdout) == argv
        seen += 1
    assert seen == wanted and refused


def test_the_environment_is_what_is_named_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBRELLA_SECRET", "hunter2")
    told = dict(line.split("=", 1) for line in run(real("env")).stdout.decode().splitlines())
    assert told == ENVIRONMENT
    gate = ShellGate({"HOME": "/nowhere", "LANG": "C"})
    outcome = asyncio.run(gate.run(ANY, {}, real("env"), []))
    assert set(outcome.stdout.decode().splitlines()) == {
        f"PATH={ENVIRONMENT['PATH']}",
        "LANG=C",
        "HOME=/nowhere",
    }


def test_the_environment_does_not_show_in_the_processes_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBRELLA_SECRET", "hunter2")
    assert b"hunter2" not in sh("cat /proc/self/environ /proc/$$/environ /proc/$PPID/environ").stdout


def test_no_descriptor_of_ours_goes_along() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        assert sorted(run(real("ls"), "/proc/self/fd").stdout.split()) == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]  # 3: the listing
    finally:
        os.close(reading)
        os.close(writing)


def test_signals_limits_and_privileges_are_set_before_it_begins() -> None:
    status = dict(
        line.split(":\t", 1) for line in run(real("cat"), "/proc/self/status").stdout.decode().splitlines()
    )
    assert (int(status["SigBlk"], 16), int(status["SigIgn"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    limits = run(real("cat"), "/proc/self/limits").stdout.decode()
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert int(rows["Max open files"][1]) <= 1024
    assert rows["Max file size"] == [str(1024**3)] * 2


def test_it_leads_a_session_of_its_own() -> None:
    process, session = sh("set -- $(cat /proc/$$/stat); echo $1 $6").stdout.split()
    assert process == session != str(os.getsid(0)).encode()


def test_stdin_is_what_is_handed_over_or_nothing() -> None:
    assert run(real("cat")).stdout == b""
    assert run(real("cat"), stdin=b"").stdout == b""
    assert run(real("cat"), stdin=b"a\0b").stdout == b"a\0b"
    assert run(real("wc"), "-c", stdin=b"x" * 4_000_000).stdout.strip() == b"4000000"
    assert run(real("true"), stdin=b"x" * 4_000_000).exit_code == 0


def test_a_script_runs_by_its_descriptor(tmp_path: Path) -> None:
    path = script(tmp_path / "s", f'#!{DASH}\necho "$@"; ls /proc/self/fd | wc -l\n')
    first, descriptors = run(path, "a", "b c").stdout.split(b"\n")[:2]
    assert first == b"a b c" and int(descriptors) <= 6


# where it runs


def test_without_a_directory_it_runs_in_an_empty_one_that_goes_away() -> None:
    told = sh("pwd; ls -A | wc -l; mkdir -p a/b; echo x > a/b/c; ln -s / root")
    folder, entries = told.stdout.split()
    assert entries == b"0" and not Path(folder.decode()).exists()
    assert Path("/proc").exists()


def test_it_runs_in_the_directory_that_a_right_covers(tmp_path: Path) -> None:
    folder = str(tmp_path.resolve())
    assert (
        run(real("pwd"), cwd=folder, cwd_covering=f"mcp://fs/list{folder}").stdout == f"{folder}\n".encode()
    )
    (tmp_path / "in").mkdir()
    below = run(real("pwd"), cwd=f"{folder}/in", cwd_covering=f"mcp://fs/list{folder}/**")
    assert below.stdout == f"{folder}/in\n".encode()


@pytest.mark.parametrize(
    "covering", [None, "", "mcp://fs/list/elsewhere/**", "mcp://fs/read/**", "mcp://shell/execute/**"]
)
def test_a_directory_that_is_not_covered_is_refused(tmp_path: Path, covering: str | None) -> None:
    with pytest.raises((NotPermitted, CallerMistaken)):
        run(real("pwd"), cwd=str(tmp_path.resolve()), cwd_covering=covering)


def test_a_directory_is_real_and_a_directory(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    (folder / "link").symlink_to("/")
    (folder / "file").touch()
    covering = f"mcp://fs/list{folder}/**"
    for name, kind in (
        ("link", NotPermitted),
        ("file", NotFound),
        ("none", NotFound),
        ("link/etc", NotPermitted),
    ):
        with pytest.raises(kind):
            run(real("pwd"), cwd=f"{folder}/{name}", cwd_covering=covering)
    for path in ("relative", f"{folder}/../x", f"{folder}/", "/"):
        with pytest.raises(CallerMistaken):
            run(real("pwd"), cwd=path, cwd_covering="mcp://fs/list/**")


# what may run


@pytest.mark.parametrize(
    "covering",
    ["mcp://shell/execute/usr/bin/other", "mcp://shell/execute/opt/**", "mcp://fs/execute/**", "mcp://fs/read/**", "mcp://shell/execute/usr/*"],
)  # fmt: skip
def test_a_program_that_is_not_covered_is_refused_with_the_grant_that_would_do(covering: str) -> None:
    with pytest.raises(NotPermitted) as caught:
        run(real("true"), covering=covering)
    assert caught.value.details["grant"] == f"mcp://shell/execute{real('true')}"


@pytest.mark.parametrize(
    "covering",
    [f"mcp://shell/execute{real('true')}", "mcp://shell/execute/usr/bin/*", "mcp://shell/execute/usr/", ANY],
)
def test_a_program_that_is_covered_runs(covering: str) -> None:
    assert run("/usr/bin/true", covering=covering).exit_code == 0


@pytest.mark.parametrize(
    "program",
    [
        "true",
        "./true",
        "/usr/bin/../bin/true",
        "/usr//bin/true",
        "/usr/bin/true/",
        "/",
        "",
        "/usr/bin/tr\0ue",
        "~/x",
    ],
)
def test_a_program_is_named_by_its_plain_absolute_path(program: str) -> None:
    with pytest.raises(CallerMistaken):
        run(program)


def test_a_program_behind_a_link_is_refused_with_its_real_path(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    (folder / "link").symlink_to(real("true"))
    (folder / "bin").symlink_to(Path(real("true")).parent)
    for path in (f"{folder}/link", f"{folder}/bin/true"):
        with pytest.raises(NotPermitted, match=real("true")) as caught:
            run(path)
        assert caught.value.details["grant"] == f"mcp://shell/execute{real('true')}"


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    os.mkfifo(folder / "pipe")
    for path, kind in (
        (script(folder / "plain", "#!/bin/sh\n", 0o644), CallerMistaken),
        (script(folder / "text", "echo no shell guesses\n"), CallerMistaken),
        (str(folder), CallerMistaken),
        (str(folder / "pipe"), CallerMistaken),
        ("/dev/null", CallerMistaken),
        (str(folder / "none"), NotFound),
        (str(folder / "plain" / "x"), NotFound),
        (f"/{'a' * 300}", CallerMistaken),
        (script(folder / "lost", "#!/nowhere/interpreter\n"), WorldBroken),
    ):
        with pytest.raises(kind):
            run(path)


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_a_program_with_another_authority_is_refused(tmp_path: Path, mode: int) -> None:
    path = script(tmp_path / "x", "#!/bin/sh\n", mode)
    with pytest.raises(NotPermitted, match="setuid"):
        run(path)


def test_a_program_with_file_capabilities_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path / "x", "#!/bin/sh\n")
    try:
        os.setxattr(path, "security.capability", bytes.fromhex("0100000200000000000000000000000000000000"))
    except OSError as error:
        pytest.skip(f"capabilities cannot be set here: {error}")
    with pytest.raises(NotPermitted, match="capabilities"):
        run(path)


def test_the_limits_of_the_right_are_judged_once_more() -> None:
    limits = {"commands": Commands().read({"echo": {"operands": {"max": 1}}}), "max_bytes": 3}
    outcome = run(real("echo"), "hello", limits=limits)
    assert (outcome.stdout, outcome.truncated) == (b"hel", True)
    for program, argv in (("echo", ["a", "b"]), ("echo", ["-n"]), ("true", [])):
        with pytest.raises(NotPermitted, match="commands"):
            run(real(program), *argv, limits=limits)


@pytest.mark.parametrize(
    "argv",
    [["a\0b"], ["\ud800"], ["a"] * 1001, ["a" * 140_000], ["a" * 60_000] * 10],
    ids=["nul", "half", "many", "long", "sum"],
)
def test_arguments_that_cannot_be_handed_over_are_the_callers_mistake(argv: list[str]) -> None:
    with pytest.raises(CallerMistaken):
        run(real("true"), *argv)


def test_many_and_long_arguments_within_the_bounds_arrive() -> None:
    assert run(real("printf"), "%.0s-", *["a" * 500] * 999).stdout == b"-" * 999


@pytest.mark.parametrize(
    "options", [{"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}, {"timeout_s": 1e9}, {"max_bytes": -1}, {"max_bytes": 2**30},
                {"stdin": b"x" * (16 * 1024 * 1024 + 1)}], ids=str,
)  # fmt: skip
def test_bounds_are_bounded(options: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken):
        run(real("true"), **options)


def test_without_linux_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.sys, "platform", "darwin")
    with pytest.raises(WorldBroken, match="Linux"):
        run(real("true"))


# races


def test_what_was_opened_is_what_runs_although_the_name_means_another_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = shell.run
    for number, evil in enumerate(("file", "link")):
        good = script(tmp_path / f"p{number}", f"#!{DASH}\necho good\n")
        other = tmp_path / f"e{number}"
        if evil == "link":
            other.symlink_to(script(tmp_path / "target", f"#!{DASH}\necho evil\n"))
        else:
            script(other, f"#!{DASH}\necho evil\n")

        async def swapping(order: Any, other: Path = other, good: str = good) -> Outcome:
            other.rename(good)
            return await kept(order)

        monkeypatch.setattr(shell, "run", swapping)
        assert run(good).stdout == b"good\n"


def test_a_name_that_is_swapped_all_the_time_never_runs_the_other(tmp_path: Path) -> None:
    tries = 1_000 if NIGHTLY else 25
    folder = tmp_path.resolve()
    (folder / "d").mkdir()
    path, other = script(folder / "d" / "p", f"#!{DASH}\necho good\n"), folder / "evil"
    other.mkdir()
    script(other / "p", f"#!{DASH}\necho evil\n")
    (folder / "l").symlink_to(other / "p")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            _exchange(folder / "d" / "p", folder / "l")  # the program against a link to the other
            _exchange(folder / "d" / "p", folder / "l")

    thread = threading.Thread(target=swap)
    thread.start()
    ran = 0
    try:
        for _ in range(tries):
            with suppress(NotPermitted, LostRace):
                assert run(path, covering=f"mcp://shell/execute{folder}/d/*").stdout == b"good\n"
                ran += 1
    finally:
        stop.set()
        thread.join()
    assert ran


def _exchange(one: Path, other: Path) -> None:
    assert not openat2._renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


def test_a_link_that_goes_while_it_is_read_is_a_lost_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(real("true"))

    def gone(path: str) -> str:
        raise OSError(22, "not a link any more")

    monkeypatch.setattr(shell.os.path, "realpath", gone)
    with pytest.raises(LostRace):
        run(f"{tmp_path}/link")
