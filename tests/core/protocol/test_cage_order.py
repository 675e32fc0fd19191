"""What may be ordered of a cage, and what is refused by its rule."""

import os
import platform
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol.cage.filter import call_filter
from mcp_core.protocol.cage.order import bubblewrap_words, take_order
from mcp_interface.errors import InvalidRecord, ServerUnavailable
from mcp_interface.server import Cage, ServerSpec


def spec(
    *read: str, write: tuple[str, ...] = (), command: str = "/bin/sh", cwd: str | None = None
) -> ServerSpec:
    return ServerSpec(command=command, cage=Cage(read=list(read), write=list(write)), cwd=cwd)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def rule(wanted: ServerSpec, *closed: Path) -> tuple[str, str]:
    with pytest.raises(InvalidRecord) as caught:
        take_order(wanted, closed, {})
    assert "the cage cannot be made" in caught.value.message
    assert caught.value.remedy
    return caught.value.rule, caught.value.remedy


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("relative", "cage_path_form"),
        ("/usr/../etc", "cage_path_form"),
        ("/etc//x", "cage_path_form"),
        ("/a\0b", "cage_path_form"),
        ("", "cage_path_form"),
        ("/", "cage_path_too_wide"),
        ("/tmp", "cage_path_too_wide"),
        ("/run", "cage_path_too_wide"),
        ("/run/dbus", "cage_path_too_wide"),
        ("/run/user/1000/bus", "cage_path_too_wide"),
        ("/var/run/docker.sock", "cage_path_too_wide"),
        ("/proc", "cage_path_too_wide"),
        ("/proc/1/root", "cage_path_too_wide"),
        ("/sys/fs/cgroup", "cage_path_too_wide"),
        ("/dev/null", "cage_path_too_wide"),
        ("/no/such/place", "cage_path_missing"),
    ],
)
def test_a_path_that_would_undo_the_cage_is_refused(path: str, broken: str) -> None:
    assert rule(spec(path))[0] == broken
    assert rule(spec(write=(path,)))[0] == broken


def test_the_system_is_never_lent_for_writing() -> None:
    assert rule(spec(write=("/usr/share",)))[0] == "cage_path_system"


def test_a_link_is_refused_and_what_it_leads_to_is_named(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    assert rule(spec(str(place / "link"))) == ("cage_path_link", f"allow {place / 'real'}")
    (place / "real" / "inner").mkdir()
    assert rule(spec(str(place / "link" / "inner")))[0] == "cage_path_link"
    assert take_order(spec(str(place / "real")), [], {}).lent[0].path == str(place / "real")


def test_a_pipe_or_socket_is_not_lent(place: Path) -> None:
    os.mkfifo(place / "pipe")
    assert rule(spec(str(place / "pipe")))[0] == "cage_path_kind"


def test_nothing_of_the_node_is_ever_in_a_cage(place: Path) -> None:
    data = place / "home" / "data"
    (data / "logs").mkdir(parents=True)
    (place / "home" / "project").mkdir()
    for path in (place, place / "home", data, data / "logs"):
        assert rule(spec(str(path)), data)[0] == "cage_holds_node"
    assert take_order(spec(str(place / "home" / "project")), [data], {}).lent
    (place / "alias").symlink_to(data)
    assert rule(spec(str(data)), place / "alias")[0] == "cage_holds_node"
    assert rule(spec(), Path("/usr/share/umbrella"))[0] == "cage_holds_node"


def test_a_name_that_only_begins_alike_is_another_folder(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data-of-others").mkdir()
    assert take_order(spec(str(place / "data-of-others")), [place / "data"], {}).lent


def test_the_working_folder_must_be_in_the_cage(place: Path) -> None:
    broken, remedy = rule(spec(cwd=str(place)))
    assert (broken, remedy) == ("cage_cwd", f"add --allow-path {place}")
    assert take_order(spec(str(place), cwd=str(place)), [], {}).directory == str(place)
    assert take_order(spec(), [], {}).directory == "/tmp"


def test_a_command_that_is_not_in_the_cage_is_named_with_what_to_allow(place: Path) -> None:
    program = place / "bin" / "tool"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    broken, remedy = rule(spec(command=str(program)))
    assert (broken, remedy) == ("cage_command", f"add --allow-path {place}")
    assert take_order(spec(str(place), command=str(program)), [], {}).command == [str(program)]
    alias = place / "alias"
    alias.mkdir()
    (alias / "tool").symlink_to(program)
    assert f"--allow-path {place}" in rule(spec(str(alias), command=str(alias / "tool")))[1]
    assert "was not found" in str(_refusal(spec(command="no-such-program-at-all")))


def _refusal(wanted: ServerSpec) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        take_order(wanted, [], {})
    return caught.value


def test_writing_wins_over_reading_and_parents_come_first(place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)
    outer, inner = str(place / "a"), str(place / "a" / "b")
    order = take_order(spec(inner, outer, write=(inner,)), [], {})
    assert [(each.path, each.write) for each in order.lent] == [(outer, False), (inner, True)]


def test_of_the_nodes_environment_only_the_language_is_handed_on() -> None:
    wanted = ServerSpec(command="/bin/sh", env={"TOKEN": "x"}, cage=Cage())
    found = take_order(wanted, [], {"LANG": "C", "AWS_SECRET": "y", "PATH": "/evil", "LD_PRELOAD": "z"})
    assert found.environment.keys() == {"HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "TOKEN", "USER"}
    assert "/evil" not in found.environment["PATH"]
    assert "x" not in repr(found).replace("Order(0 paths, network=False)", "")


def test_the_order_in_bubblewraps_words(place: Path) -> None:
    words = bubblewrap_words(take_order(spec(str(place)), [], {}, user=1000), {})
    assert {"--unshare-net", "--clearenv", "--disable-userns", "--new-session", "--die-with-parent"} <= {
        *words
    }
    lent = words.index(str(place))
    assert words[lent - 1 : lent + 2] == ["--ro-bind", str(place), str(place)]
    shared = ServerSpec(command="/bin/sh", cage=Cage(network=True))
    assert "--unshare-net" not in bubblewrap_words(take_order(shared, [], {}), {})


def test_as_root_it_is_lent_to_somebody_else() -> None:
    assert (take_order(spec(), [], {}, user=0).user, take_order(spec(), [], {}, user=0).staged) == (
        65534,
        True,
    )
    assert (take_order(spec(), [], {}, user=7).user, take_order(spec(), [], {}, user=7).staged) == (7, False)


# -- the filter, run as the kernel runs it -----------------------------------------------------------------

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def judged(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Run a classic BPF program over one system call."""
    words = [number & 0xFFFFFFFF, arch, 0, 0]
    for argument in (*arguments, *[0] * (6 - len(arguments))):
        words += [argument & 0xFFFFFFFF, argument >> 32]
    steps = list(struct.iter_unpack("=HBBI", program))
    loaded, place = 0, 0
    while True:
        code, yes, no, value = steps[place]
        place += 1
        match code:
            case 0x20:
                loaded = words[value // 4]
            case 0x54:
                loaded &= value
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                held = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
                place += yes if held else no
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


X86, ARM = 0xC000003E, 0xC00000B7


@pytest.mark.parametrize(("machine", "arch", "numbers"), [
    ("x86_64", X86, {"ptrace": 101, "keyctl": 250, "mount": 165, "read": 0, "openat": 257, "clone": 56, "socket": 41,
                     "socketpair": 53, "ioctl": 16}),
    ("aarch64", ARM, {"ptrace": 117, "keyctl": 219, "mount": 40, "read": 63, "openat": 56, "clone": 220,
                      "socket": 198, "socketpair": 199, "ioctl": 29}),
])  # fmt: skip
def test_the_filter_judges_by_number_and_argument(machine: str, arch: int, numbers: dict[str, int]) -> None:
    alone, shared = call_filter(machine, False), call_filter(machine, True)
    for name in ("ptrace", "keyctl", "mount"):
        assert judged(alone, arch, numbers[name]) == ERRNO | 1
    for name in ("read", "openat"):
        assert judged(alone, arch, numbers[name]) == ALLOW
    assert judged(alone, arch ^ 1, numbers["read"]) == KILL
    assert judged(alone, arch, numbers["clone"], 17) == ALLOW
    assert judged(alone, arch, numbers["clone"], 0x10000011) == ERRNO | 1
    for high in (0, 1 << 32):
        assert judged(alone, arch, numbers["ioctl"], 0, 0x5412 | high) == ERRNO | 1
    assert judged(alone, arch, numbers["ioctl"], 0, 0x5401) == ALLOW
    families = {family for family in range(64) if judged(alone, arch, numbers["socket"], family, 1) == ALLOW}
    assert families == {2, 10}
    families = {family for family in range(64) if judged(shared, arch, numbers["socket"], family, 1) == ALLOW}
    assert families == {2, 10, 16}
    for cage in (alone, shared):
        calls = {kind: judged(cage, arch, numbers["socketpair"], 1, kind | 0o2000000) for kind in range(8)}
        assert {kind for kind, verdict in calls.items() if verdict == ALLOW} == {1, 5}


@given(st.integers(467, 2**32 - 1))
def test_a_call_that_is_not_known_is_not_there(number: int) -> None:
    assert judged(call_filter("x86_64", False), X86, number) == ERRNO | 38


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_call_is_judged(number: int, arguments: list[int]) -> None:
    for network in (False, True):
        verdict = judged(call_filter("aarch64", network), ARM, number, *arguments)
        assert verdict == ALLOW or verdict & 0xFFFF0000 == ERRNO


def test_a_machine_whose_calls_are_not_known_has_no_cage() -> None:
    with pytest.raises(ServerUnavailable, match="mips"):
        call_filter("mips", False)
    assert call_filter(platform.machine(), False)
