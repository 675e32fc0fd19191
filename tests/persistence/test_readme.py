"""The example in the README does what the README says."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "packages" / "mcp_persistence" / "README.md"


def test_the_example_prints_what_the_readme_says(tmp_path):
    text = README.read_text()
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    said = re.findall(r"`([^`]+)`", re.search(r"^It prints (.*)$", text, re.MULTILINE)[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == said, done.stderr
