"""What the rigs need, or the reason why they cannot run here.

Under CI=1 a missing tool is a failure; what no installation would mend, such as not being root, is not.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from persistence.crash.disks import Refused, probe
from persistence.engines import ENGINES

SOURCE = Path(__file__).with_name("faults.c")


def absent(reason: str) -> None:
    if os.environ.get("CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=ENGINES)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def faults(tmp_path_factory) -> Path:
    """The interposing library, freshly compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        absent("there is no C compiler to make failing system calls with: install gcc and libc6-dev")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    strict = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *strict, "-o", library, SOURCE], check=True, timeout=60)
    return library


@pytest.fixture(scope="session")
def disks(tmp_path_factory) -> None:
    """Asks for the right and the tools to mount disks of our own."""
    if os.geteuid() != 0:  # nothing that could be installed would help: skipped under CI=1, too
        pytest.skip("mounting a disk of our own needs root")
    for tool in ("mount", "umount", "mkfs.ext4"):
        if shutil.which(tool) is None:
            absent(f"there is no {tool}: install mount and e2fsprogs")
    try:
        probe(tmp_path_factory.mktemp("probe"))
    except Refused as refusal:
        pytest.skip(str(refusal))  # also under CI=1: nothing that could be installed would help
    except OSError as error:
        absent(f"no disk can be mounted here: {error}")


@pytest.fixture(scope="session")
def recorder(disks) -> None:
    """Asks for the tool that records what reaches a disk."""
    if shutil.which("qemu-storage-daemon") is None:
        absent("there is no qemu-storage-daemon: install qemu-system-common (Debian) or qemu-utils")
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse, through which qemu-storage-daemon shows its disk")
