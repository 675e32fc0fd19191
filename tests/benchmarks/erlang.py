"""Erlang's side of `bench_runtime`: compiles `runtime_peer.erl` into a temporary folder and runs it on one scheduler.

One scheduler (`+S 1:1`), because one Python process runs on one core.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from turns import Figures

SOURCE = Path(__file__).with_name("runtime_peer.erl")
PRESENT = shutil.which("erl") is not None and shutil.which("erlc") is not None


def erlang(part: str, count: int) -> Figures:
    """One turn of one part."""
    with TemporaryDirectory() as folder:
        subprocess.run(["erlc", "-o", folder, str(SOURCE)], check=True, capture_output=True)
        work = f"runtime_peer:run({part}, {count}), halt(0)."
        command = ["erl", "+S", "1:1", "+P", "4000000", "-noshell", "-pa", folder, "-eval", work]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    pairs = (line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    return {name: float(value) for name, value in pairs}
