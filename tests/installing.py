"""Programs that we did not write, for the tests: installed once into the user's cache, then run for real.

Where a package registry cannot be reached the tests that need it are skipped with the reason; under CI=1 they
fail instead.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest


def installed(wanted: str, install: Callable[[Path], None]) -> Path:
    """Install into the cache once, also when several test runs begin together."""
    cache = Path(platformdirs.user_cache_dir("umbrella-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{wanted} {sys.version_info[:2]} {cache}".encode()).hexdigest()[:16]
    folder, done = cache / key, cache / f"{key}.done"
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                install(folder)
            except (OSError, subprocess.SubprocessError) as error:
                absent(f"{wanted} cannot be installed: {error}")
            done.touch()
    return folder


def python_environment(folder: Path, requirement: str) -> None:
    """Make a virtual environment with one package in it."""
    uv = shutil.which("uv")
    if uv is not None:
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), requirement])
    else:
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement])


def run(command: list[str]) -> None:
    """Run to the end, or say with its last words why it failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise subprocess.SubprocessError(f"{command[0]}: {done.stderr.strip()[-500:]}")


def absent(reason: str) -> str:
    """Skip the test, or fail it where nothing may be missing."""
    if os.environ.get("CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
