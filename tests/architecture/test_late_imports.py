"""Starting up stays quick: what is heavy is loaded when it is used, and not before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "aiosqlite",
    "ada_url",
    "anthropic",
    "cryptography",
    "httpx",
    "httpx2",
    "jsonschema",
    "litestar",
    "opentelemetry",
    "prometheus_client",
    "mcp",
    "mcp_types",
    "openai",
    "psycopg",
    "pydantic",
    "sqlglot",
    "sqlite3",
    "starlette",
    "textual",
    "uvicorn",
    "websockets",
)

LATER = ("markdown_it", "mcp_persistence", "mcp_security", "pygments", "rich.markdown", "rich.syntax")
"""What the screen needs when there is something to draw, and what only a node needs."""

FIRST_FRAME = """
import asyncio, sys
from pathlib import Path
from mcp_cli import configuring
from mcp_cli.commands import chat
from mcp_cli.history import InputHistory
from mcp_cli.invocation import Invocation
from mcp_cli.tui.app import UmbrellaApp

class Nobody:
    async def open(self, start):
        await asyncio.Event().wait()
    async def crashed(self):
        return False

async def main():
    configuring.load()
    app = UmbrellaApp(Invocation(), Nobody(), InputHistory(Path(sys.argv[1])))
    async with app.run_test(size=(100, 30)):
        assert app.screen.is_mounted
        print("loaded:", *sorted(set(%r) & set(sys.modules)))

asyncio.run(main())
"""

REPORT = f"print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"

HELP = (
    "import sys\n"
    "from importlib.metadata import entry_points\n"
    "umbrella, *_ = entry_points(group='console_scripts', name='umbrella')\n"  # also the root's, where it is installed
    "sys.argv = ['umbrella', *{arguments!r}]\n"
    "try:\n"
    "    umbrella.load()()\n"
    "except SystemExit as end:\n"
    "    assert not end.code, end.code\n" + REPORT
)


def last_line(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "package",
    [
        "mcp_interface",
        "mcp_interface.testing",
        "mcp_security",
        "mcp_persistence",
        "mcp_core",
        "mcp_core.providers",
        "mcp_web",
        "mcp_cli",
    ],
)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert last_line(f"import sys, {package}\n{REPORT}").strip() == "loaded:"


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["serve", "--help"]])
def test_the_command_loads_nothing_heavy_for_a_word_of_help(arguments: list[str]) -> None:
    assert last_line(HELP.format(arguments=arguments)).strip() == "loaded:"


def test_the_first_frame_of_the_repl_loads_nothing_but_its_screen(tmp_path: Path) -> None:
    not_yet = (*(name for name in HEAVY if name != "textual"), *LATER)
    code = [sys.executable, "-c", FIRST_FRAME % (not_yet,), str(tmp_path / "history")]
    done = subprocess.run(
        code, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"
