import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "packages" / "mcp_security"


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    assert len(code) == 1
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[0]],
        capture_output=True,
        text=True,
        timeout=60,
        env={"TMPDIR": str(tmp_path)},
    )
    assert ran.stderr == ""
    allowed, refusal, revoked, sound = ran.stdout.splitlines()
    assert (allowed, revoked, sound) == ("True", "capability_revoked", "True")
    assert re.search(r"^mcp://fs/read/home/me/\.ssh/id$", refusal)


def test_every_test_that_threats_names_exists() -> None:
    named = re.findall(r"`([^`]*)`", (PACKAGE / "THREATS.md").read_text())
    tests = Path(__file__).parents[1]
    found, file = 0, ""
    for name in named:
        match = re.fullmatch(r"((?:\w+/)*test_\w+\.py)?(?:::(test_\w+))?", name)
        if match is None or not name:
            continue
        file = match[1] or file
        here = tests / "security" / file
        path = here if here.is_file() else tests / file
        assert path.is_file(), name
        if match[2]:
            assert f"def {match[2]}(" in path.read_text(), name
        found += 1
    assert found > 80
