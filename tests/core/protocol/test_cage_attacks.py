"""Attacks from within a cage: each fails there, and works without it."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caging import PYTHON, run_caged, run_free
from mcp_interface.server import Cage

PROBE = Path(__file__).parent / "probes" / "attacks.py"
MARKER = "marker-of-the-nodes-environment"
WITH_NETWORK = {"connect to loopback", "open a netlink socket"}
"""What the order allows then."""
NOT_EVERYWHERE = {
    "open a socket to the hypervisor",
    "open a packet socket",
    "type into a terminal",
    "type into a terminal, high bits",
    "make an io_uring",
    "mount",
    "make a user namespace",
    "make a user namespace by clone",
    "read a keyring",
}
"""What a system may forbid to everybody: there the control shows nothing."""
FOR_ROOT = {"read /etc/shadow", "change a switch of the kernel", "chroot", "write into the system"}
REFUSED_BY_NUMBER = {
    "trace", "read another's memory", "mount", "make a user namespace", "make a user namespace by clone",
    "read a keyring", "type into a terminal", "type into a terminal, high bits", "make an io_uring", "chroot",
}  # fmt: skip

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed"
)
pytestmark = needs_bubblewrap


class Field:
    """What is attacked, and what the probe found with and without a cage."""

    def __init__(self, place: Path) -> None:
        self.read, self.write, home = place / "read", place / "write", place / "home"
        for folder in (self.read, self.write, home):
            folder.mkdir()
        self.probe = Path(shutil.copy(PROBE, self.read))
        secret = home / "secret"
        secret.write_text("secret")
        secret.chmod(0o600)
        (self.write / "link").symlink_to(secret)
        self.listeners = [socket.create_server(("127.0.0.1", 0))]
        abstract = f"umbrella-test-{os.getpid()}"
        for address in (str(place / "node.sock"), str(self.read / "bus"), f"\0{abstract}"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen(64)
            self.listeners.append(listener)
        self.aim = {
            "secret": str(secret),
            "link": str(self.write / "link"),
            "home": str(home),
            "read": str(self.read),
            "port": self.listeners[0].getsockname()[1],
            "socket": str(place / "node.sock"),
            "lent socket": str(self.read / "bus"),
            "abstract": abstract,
            "parent": os.getpid(),
            "marker": MARKER,
        }

    def caged(self, **rights: Any) -> Any:
        cage = Cage(read=[str(self.read)], write=[str(self.write)], **rights)
        ended = run_caged(cage, PYTHON, "-I", str(self.probe), json.dumps(self.aim))
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    def free(self) -> Any:
        ended = run_free(PYTHON, "-I", str(self.probe), json.dumps(self.aim))
        assert ended.code == 0, ended.err
        return json.loads(ended.out)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    os.environ["UMBRELLA_TEST_MARKER"] = MARKER
    made = Field(Path(os.path.realpath(tmp_path_factory.mktemp("field"))))
    yield made
    del os.environ["UMBRELLA_TEST_MARKER"]
    for listener in made.listeners:
        listener.close()


@pytest.fixture(scope="module")
def inside(field: Field) -> Any:
    return field.caged()


@pytest.fixture(scope="module")
def inside_with_network(field: Field) -> Any:
    return field.caged(network=True)


@pytest.fixture(scope="module")
def outside(field: Field) -> Any:
    return field.free()


@pytest.fixture(scope="module")
def names(outside: Any) -> list[str]:
    return list(outside["attacks"])


def test_what_is_tried_works_without_a_cage(outside: Any) -> None:
    failed = {name for name, error in outside["attacks"].items() if error is not None}
    allowed = NOT_EVERYWHERE | {"make a user namespace by clone3"}
    assert failed <= (allowed if os.geteuid() == 0 else allowed | FOR_ROOT)


def test_every_attack_fails_in_a_cage(inside: Any) -> None:
    done = {name for name, error in inside["attacks"].items() if error is None}
    assert not done


def test_with_the_network_only_the_network_is_added(inside_with_network: Any) -> None:
    done = {name for name, error in inside_with_network["attacks"].items() if error is None}
    assert done == WITH_NETWORK


def test_what_the_filter_refuses_is_refused_by_it(inside: Any) -> None:
    assert {inside["attacks"][name] for name in REFUSED_BY_NUMBER} == {1}  # EPERM, and no other reason
    assert inside["attacks"]["make a user namespace by clone3"] == 38  # as if it were not there
    assert inside["attacks"]["open a socket to the hypervisor"] == 97


def test_the_environment_is_what_was_ordered_and_no_other_can_be_read(inside: Any, outside: Any) -> None:
    assert outside["found"]["leaked"]
    assert not inside["found"]["leaked"]
    allowed = {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "PWD", "TMPDIR", "TZ", "USER"}
    assert set(inside["found"]["environment"]) <= allowed


def test_nothing_else_is_seen(inside: Any, outside: Any) -> None:
    found = inside["found"]
    assert found["descriptors"] == [0, 1, 2, 3]  # the fourth lists the others
    assert found["processes"] == 2 < outside["found"]["processes"]
    assert found["devices"] == ["lo"]
    assert found["uid"] == 1000
    assert os.geteuid() != 0 or set(found["groups"]) <= {1000}


def test_the_nodes_secret_is_as_it_was(field: Field, inside: Any, inside_with_network: Any) -> None:
    # the control wrote it, the cages did not
    assert Path(field.aim["secret"]).read_text() in ("secret", "changed")
    Path(field.aim["secret"]).write_text("secret")
    field.caged()
    assert Path(field.aim["secret"]).read_text() == "secret"


def test_what_is_lent_can_be_used(field: Field) -> None:
    code = (
        "import os, sys; print(open(sys.argv[1]).readline()); open(sys.argv[2], 'w').write('made inside');"
        "os.mkdir(sys.argv[2] + '.d'); os.rename(sys.argv[2], sys.argv[2] + '.d/x')"
    )
    cage = Cage(read=[str(field.read)], write=[str(field.write)])
    made = field.write / "made"
    ended = run_caged(cage, PYTHON, "-I", "-c", code, str(field.probe), str(made))
    assert ended.code == 0, ended.err
    assert ended.out.startswith('"""Tries to do harm')
    file = field.write / "made.d" / "x"
    assert file.read_text() == "made inside"
    assert file.stat().st_uid == os.geteuid()  # on the disk it is the node's


def test_a_folder_within_a_lent_one_can_have_other_rights(field: Field) -> None:
    inner = field.write / "fixed"
    inner.mkdir(exist_ok=True)
    code = "import sys; open(sys.argv[1] + '/a', 'w').close(); open(sys.argv[2] + '/a', 'w').close()"
    cage = Cage(read=[str(inner)], write=[str(field.write)])
    ended = run_caged(cage, PYTHON, "-I", "-c", code, str(field.write), str(inner))
    assert ended.code == 1 and "Read-only file system" in ended.err
    assert (field.write / "a").exists() and not (inner / "a").exists()


# -- bombs -----------------------------------------------------------------------------------------------

FORKS = """
import os, sys
born = 0
try:
    while born < 200:
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        born += 1
except OSError:
    pass
print(born, flush=True)
os.killpg(0, 9) if born == 200 else None
"""
THREADS = """
import threading
held, born = threading.Event(), 0
try:
    while born < 200:
        threading.Thread(target=held.wait, daemon=True).start()
        born += 1
except RuntimeError:
    pass
print(born)
"""
SHARED = (
    "import mmap; m = mmap.mmap(-1, 400 << 20)\nfor p in range(0, 400 << 20, 4096): m[p] = 1\nprint('had it')"
)
OWN = "b = bytearray(400 << 20)\nfor p in range(0, 400 << 20, 4096): b[p] = 1\nprint('had it')"


@pytest.mark.parametrize("bomb", [FORKS, THREADS])
def test_a_fork_bomb_stays_within_its_number(bomb: str) -> None:
    ended = run_caged(Cage(processes=12), PYTHON, "-I", "-c", bomb)
    assert ended.out.split() == ["11"], ended.err  # itself counts


def test_the_same_threads_are_born_without_a_cage() -> None:
    assert run_free(PYTHON, "-I", "-c", THREADS).out.split() == ["200"]


@pytest.mark.parametrize("bomb", [OWN, SHARED])
def test_memory_is_bounded(bomb: str) -> None:
    ended = run_caged(Cage(memory_mb=100), PYTHON, "-I", "-c", bomb)
    bounded_together = "in all" in ended.words
    if bounded_together or bomb is OWN:
        assert ended.code != 0 and "had it" not in ended.out


def test_the_same_memory_is_there_without_a_cage() -> None:
    assert "had it" in run_free(PYTHON, "-I", "-c", OWN).out


def test_a_file_cannot_grow_beyond_its_size() -> None:
    code = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "open('/tmp/x', 'wb').write(bytes({} << 20)); print('done')"
    )
    assert "File too large" in run_caged(Cage(file_mb=1), PYTHON, "-I", "-c", code.format(2)).err
    assert run_caged(Cage(file_mb=3), PYTHON, "-I", "-c", code.format(2)).out == "done\n"


def test_processor_time_ends() -> None:
    ended = run_caged(Cage(cpu_s=1), PYTHON, "-I", "-c", "while True: pass")
    assert ended.code in (128 + 9, 128 + 24)


def test_the_scratch_folder_is_private_and_gone_afterwards() -> None:
    code = "import os; print(os.listdir('/tmp')); open('/tmp/left', 'w').close(); open('/dev/shm/left', 'w').close()"
    for _ in range(2):
        assert run_caged(Cage(), PYTHON, "-I", "-c", code).out == "[]\n"
    assert not Path("/tmp/left").exists()


def test_threads_of_the_node_may_start_cages() -> None:
    """Whoever starts it may end: a cage dies with its node, not with a thread that lent a hand."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_caged(Cage(), "/bin/true").code))
    thread.start()
    thread.join(60)
    assert codes == [0]
