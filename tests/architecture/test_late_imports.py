"""Starting up stays quick: what is heavy is loaded when it is used, and not before."""

import subprocess
import sys

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

REPORT = f"print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"

HELP = (
    "import sys\n"
    "from importlib.metadata import entry_points\n"
    "[umbrella] = entry_points(group='console_scripts', name='umbrella')\n"
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
