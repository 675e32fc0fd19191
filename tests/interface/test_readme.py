"""The examples of the package's README run and say what the README says they say."""

import re
from pathlib import Path

import pytest

import mcp_interface

README = Path(mcp_interface.__file__).parents[2] / "README.md"


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_example_prints_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    example = _examples()[0]
    exec(compile(example, "README.md", "exec"), {})
    assert re.findall(r"print\(error\)  # (.*)", example) == capsys.readouterr().out.splitlines()


def test_the_second_example_finds_the_broken_promise() -> None:
    example = _examples()[1]
    with pytest.raises(AssertionError) as caught:
        exec(compile(example, "README.md", "exec"), {})
    assert re.findall(r"# AssertionError: (.*)", example) == [str(caught.value)]


def test_every_module_is_on_the_map() -> None:
    rows = "\n".join(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    source = Path(mcp_interface.__file__).parent
    modules = {path.stem for path in source.iterdir() if path.stem not in {"__init__", "__pycache__", "py"}}
    assert {name for name in modules if f"`{name}`" not in rows} == set()
