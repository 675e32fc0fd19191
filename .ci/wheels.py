"""Build all wheels, install each alone into an environment of its own, and import every module of it.

A workspace shares one environment and so hides a dependency that nobody stated. Here each wheel meets only what
it asks for. Modules behind an extra may fail to import for want of that extra's libraries, and of nothing else.
The kernel and its gates, and the journals, are not only imported but put to work, see `security_alone.py` and
`persistence_alone.py`. At last the root is run as somebody does who has nothing but the folder of wheels: by `uvx`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = "mcp-umbrella"
WHEELS = 7
AT_WORK = ("persistence", "security")
"""Packages for which there is a script `<package>_alone.py`."""

# Runs in the wheel's environment: imports everything, says what could not be found and which siblings came along.
PROBE = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
absent = {}
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        absent[module.name] = error.name.partition(".")[0]
siblings = {name for name in map(lambda name: name.partition(".")[0], sys.modules) if name.startswith("mcp_")}
print(json.dumps({"absent": absent, "siblings": sorted(siblings)}))
"""


def main() -> None:
    """Check all wheels; exits with the list of what is wrong."""
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".uv" / "bin")
    if uv is None:
        sys.exit("uv is missing: python3 -m venv .uv && .uv/bin/pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        wheels = build(uv, Path(folder))
        problems = [f"{len(wheels)} wheels instead of {WHEELS}"] if len(wheels) != WHEELS else []
        for wheel in wheels:
            began = time.monotonic()
            found = check(uv, wheel, Path(folder))
            print(f"{wheel.name}: {'; '.join(found) or 'ok'} ({time.monotonic() - began:.1f} s)", flush=True)
            problems += found
        problems += check_tool(uv, Path(folder))
    if problems:
        sys.exit("\n".join(problems))


def build(uv: str, folder: Path) -> list[Path]:
    """Build every member of the workspace into one folder."""
    run(uv, "build", "--all-packages", "--wheel", "--out-dir", str(folder))
    return sorted(folder.glob("*.whl"))


def check(uv: str, wheel: Path, folder: Path) -> list[str]:
    """Return what is wrong with one wheel."""
    metadata = read_metadata(wheel)
    name, version = metadata["Name"], metadata["Version"]
    environment = folder / f"env-{name}"
    run(uv, "venv", "--python", sys.executable, str(environment))
    python = environment / "bin" / "python"
    install(uv, python, folder, f"{name}=={version}")
    if name == OURS:
        return check_root(environment)
    package = name.removeprefix(f"{OURS}-")
    problems = check_imports(python, package, metadata)
    if package == "web":
        problems += check_dashboard(wheel)
    if package == "security":
        install(uv, python, folder, f"{name}[api,database]=={version}")
    if package in AT_WORK:
        problems += check_at_work(python, package)
    shutil.rmtree(environment)
    return problems


def check_root(environment: Path) -> list[str]:
    """The root brings all six, and the command."""
    done = subprocess.run(
        [environment / "bin" / "umbrella", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    return [] if done.returncode == 0 else [f"umbrella --help fails: {done.stderr.strip()[-500:]}"]


def check_tool(uv: str, folder: Path) -> list[str]:
    """`uvx mcp-umbrella` works with an index that is one folder: it starts a node, which outlives it."""
    began = time.monotonic()
    tool = [uv, "tool", "run", "--python", sys.executable, "--find-links", str(folder), OURS]
    data = folder / "data"
    problems = []
    for words in (["--help"], ["node", "start"], ["sessions", "list"], ["node", "stop"]):
        done = subprocess.run(
            [*tool, "--data-dir", str(data), *words],
            cwd=folder,  # of the checkout nothing may help
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            problems.append(f"uvx {OURS} {' '.join(words)} fails: {done.stderr.strip()[-500:]}")
    print(f"uvx {OURS}: {'; '.join(problems) or 'ok'} ({time.monotonic() - began:.1f} s)", flush=True)
    return problems


def check_imports(python: Path, package: str, metadata: Message) -> list[str]:
    """Import every module, and compare what is missing and what came along with what the wheel states."""
    # Isolated: neither this folder nor the caller's environment may lend a module.
    probe = [python, "-I", "-W", "error::SyntaxWarning", "-c", PROBE, f"mcp_{package}"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=180, check=False, cwd=python.parent)
    if done.returncode != 0:
        return [f"mcp_{package} cannot be imported alone: {done.stderr.strip()[-1500:]}"]
    told = json.loads(done.stdout.splitlines()[-1])
    stated = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    extras = {first_word(line) for line in metadata.get_all("Requires-Dist", []) if "extra ==" in line}
    allowed = {f"mcp_{package}", "mcp_types"} | {
        word.replace(f"{OURS}-", "mcp_")
        for line in stated
        if (word := first_word(line)).startswith(f"{OURS}-")
    }
    return [
        f"{module} needs {missing}, which mcp_{package} does not state"
        for module, missing in told["absent"].items()
        if missing not in extras
    ] + [f"mcp_{package} imports {name}, which it does not state" for name in set(told["siblings"]) - allowed]


def check_at_work(python: Path, package: str) -> list[str]:
    """What the package promises holds, with its wheel and nothing else."""
    script = [python, "-I", "-W", "error", str(ROOT / ".ci" / f"{package}_alone.py")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False, cwd=python.parent)
    return (
        [] if done.returncode == 0 else [f"mcp_{package} does not work alone: {done.stderr.strip()[-1500:]}"]
    )


def check_dashboard(wheel: Path) -> list[str]:
    """The web wheel carries the built pages."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return [] if "mcp_web/dashboard/index.html" in names else ["the mcp_web wheel carries no dashboard"]


def install(uv: str, python: Path, folder: Path, requirement: str) -> None:
    """Install from the folder of wheels, and what they need from wherever packages come from."""
    run(uv, "pip", "install", "--python", str(python), "--find-links", str(folder), requirement)


def read_metadata(wheel: Path) -> Message:
    """Return the wheel's own statement about itself."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        return HeaderParser().parsestr(archive.read(name).decode())


def first_word(requirement: str) -> str:
    """Return the name in a requirement."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def run(*command: str) -> None:
    """Run a command from the root of the checkout; what it says is shown only when it fails."""
    environ = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")


if __name__ == "__main__":
    main()
