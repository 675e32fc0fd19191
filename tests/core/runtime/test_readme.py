"""What the README shows of the runtime is what it does."""

import re
from pathlib import Path

import pytest

import mcp_core

README = Path(mcp_core.__file__).parents[2] / "README.md"


def test_the_example_of_the_runtime_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text(encoding="utf-8")
    example = text[text.index("## The runtime alone") :].split("```python\n")[1].split("```")[0]
    exec(compile(example, str(README), "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == re.findall(r"\)  # ([\d ]+)$", example, re.MULTILINE)
