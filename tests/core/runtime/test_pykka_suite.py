"""pykka's own test suite, run against our two kinds of actors: the exam of `everything of pykka holds here`."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROUNDS = 50 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 3
LEAST = 400
"""Tests that the suite has for three kinds of actors, about."""

OURS = """
RUNTIMES |= {
    "loop": pytest.param(
        Runtime(
            name="loop",
            actor_class=mcp_core.runtime.Actor,
            event_class=threading.Event,
            future_class=mcp_core.runtime.Future,
            sleep_func=time.sleep,
        ),
        id="loop",
    ),
    "pool": pytest.param(
        Runtime(
            name="pool",
            actor_class=mcp_core.runtime.PoolActor,
            event_class=threading.Event,
            future_class=mcp_core.runtime.Future,
            sleep_func=time.sleep,
        ),
        id="pool",
    ),
}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests of the source distribution of the installed version, with our kinds beside pykka's."""
    folder = tmp_path_factory.mktemp("pykka")
    wanted = f"pykka=={importlib.metadata.version('pykka')}"
    download = ["download", "--quiet", "--no-deps", "--no-binary", "pykka", "--dest", str(folder), wanted]
    done = subprocess.run(
        [*_pip(folder), *download],
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
    archives = list(folder.glob("pykka-*.tar.gz"))
    if not archives:
        reason = f"the source of {wanted} cannot be downloaded: {done.stderr.strip()[-300:]}"
        if os.environ.get("CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("pykka-*/")
    shutil.move(unpacked / "tests", folder / "tests")
    conftest = folder / "tests" / "conftest.py"
    text, count = re.subn(r"(?ms)^RUNTIMES = \{.*?^\}\n", lambda found: found[0] + OURS, conftest.read_text())
    assert count == 1, "pykka names its kinds of actors in another way than before"
    text = text.replace("\nimport pytest\n", "\nimport pytest\n\nimport mcp_core.runtime\n", 1)
    conftest.write_text(text)
    return folder


def _pip(folder: Path) -> list[str]:
    uv = os.environ.get("UV") or shutil.which("uv")  # the first is set by `uv run`
    if uv is not None:
        return [uv, "tool", "run", "pip"]
    subprocess.run([sys.executable, "-m", "venv", str(folder / "pip")], timeout=100)
    return [str(folder / "pip" / "bin" / "python"), "-m", "pip"]


@pytest.mark.parametrize("round", range(ROUNDS))
def test_pykkas_own_tests_pass_on_both_kinds_of_actors(suite: Path, round: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(suite), "tests"],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    outcome = done.stdout.strip().splitlines()[-1]
    passed = re.search(r"(\d+) passed", outcome)
    assert passed is not None and int(passed[1]) > LEAST, outcome
    assert not re.search(r"\d+ (failed|error|skipped)", outcome), outcome
