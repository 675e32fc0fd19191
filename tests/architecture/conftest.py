"""What the tests of the house look at: its files."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files(root: Path) -> list[Path]:
    """Every file that is, or would be, in the repository; relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        timeout=30,
    )
    names = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    return [name for name in names if (root / name).is_file()]


@pytest.fixture(scope="session")
def modules(files: list[Path]) -> list[Path]:
    """Every Python file of the six packages."""
    return [
        name for name in files if name.suffix == ".py" and name.parts[0] == "packages" and "src" in name.parts
    ]
