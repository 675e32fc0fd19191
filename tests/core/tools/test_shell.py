"""The tool of the server `shell`, through the real gate and with real programs."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_core.tools.shell import MAX_INPUT, MAX_OUTPUT, shell_tools
from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import new_id
from mcp_interface.testing.exams.tool import check_tool
from mcp_interface.tool import Tool, ToolContext, ToolResult
from mcp_security.validators.shell import ShellGate

ECHO, CAT, SH = (os.path.realpath(f"/bin/{name}") for name in ("echo", "cat", "sh"))
(RUN,) = shell_tools(ShellGate(grace_s=0.2))


def use(args: dict[str, Any], *coverings: str, limits: dict[str, Any] | None = None) -> ToolResult:
    """Run the tool with an allow of each pattern."""
    verdicts = [
        Verdict(allowed=True, reason="allowed", message="", covering=covering, limits=limits or {})
        for covering in coverings or ("mcp://shell/execute/**",)
    ]
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=verdicts,
    )
    RUN.validate_args(args)
    result: ToolResult = asyncio.run(RUN.execute(args, context))
    return result


BAD: list[dict[str, Any]] = [
    {"line": "/usr/bin/echo a; /usr/bin/id"},
    {"line": "echo a"},
    {"line": ""},
    {"line": "/usr/bin/echo", "arguments": ["a"]},
    {"line": "/usr/bin/echo", "program": "/usr/bin/echo"},
    {},
    {"program": "echo"},
    {"program": "./echo"},
    {"program": ""},
    {"program": "/"},
    {"program": "/usr/bin/../bin/echo"},
    {"program": "/usr//bin/echo"},
    {"program": "/usr/bin/"},
    {"program": "/usr/bin/*"},
    {"program": "/usr/bin/**"},
    {"program": "/usr/bin/ec\0ho"},
    {"program": "/" + "a" * 5000},
    {"program": ["/usr/bin/echo"]},
    {"program": "/usr/bin/echo", "arguments": "a b"},
    {"program": "/usr/bin/echo", "arguments": [1]},
    {"program": "/usr/bin/echo", "arguments": ["a\0b"]},
    {"program": "/usr/bin/echo", "arguments": ["\ud800"]},
    {"program": "/usr/bin/echo", "arguments": ["a"] * 1001},
    {"program": "/usr/bin/echo", "cwd": "srv"},
    {"program": "/usr/bin/echo", "cwd": "/srv/../etc"},
    {"program": "/usr/bin/echo", "cwd": "/srv/*"},
    {"program": "/usr/bin/echo", "cwd": "/"},
    {"program": "/usr/bin/echo", "stdin": "\ud800"},
    {"program": "/usr/bin/echo", "stdin": "é" * (MAX_INPUT // 2 + 1)},
    {"program": "/usr/bin/echo", "stdin": b"x"},
    {"program": "/usr/bin/echo", "timeout_s": 0},
    {"program": "/usr/bin/echo", "timeout_s": 601},
    {"program": "/usr/bin/echo", "timeout_s": "9"},
    {"program": "/usr/bin/echo", "timeout_s": float("nan")},
    {"program": "/usr/bin/echo", "shell": True},
    {"program": "/usr/bin/echo", "environment": {"LD_PRELOAD": "/tmp/x.so"}},
]


def test_it_passes_the_exam(tmp_path: Path) -> None:
    @asynccontextmanager
    async def made() -> AsyncIterator[Tool]:
        yield RUN

    good = {
        "program": CAT,
        "arguments": ["-"],
        "stdin": "hello",
        "cwd": str(tmp_path.resolve()),
        "timeout_s": 60,
    }
    asyncio.run(check_tool(made, good=good, bad=[args for args in BAD if args]))
    asyncio.run(check_tool(made, good={"program": ECHO, "arguments": ["a", "$b"]}, bad=[{}]))


@pytest.mark.parametrize("args", BAD, ids=lambda args: ascii(args)[:60])
def test_wrong_arguments_are_refused_before_anything_is_asked(args: dict[str, Any]) -> None:
    with pytest.raises(CallerMistaken):
        RUN.validate_args(args)
    with pytest.raises(CallerMistaken):
        RUN.needs(args)


def test_it_needs_the_program_with_its_arguments_and_the_directory() -> None:
    args = {"program": "/usr/bin/git", "arguments": ["log", "-n", "3"], "stdin": "é"}
    program = Need(
        resource("shell", "execute", "/usr/bin/git"), Facts(argv=("log", "-n", "3"), arguments=args, size=2)
    )
    assert RUN.needs(args) == [program]
    args |= {"cwd": "/srv/app"}
    assert RUN.needs(args)[1:] == [Need(resource("fs", "list", "/srv/app"), Facts(arguments=args))]
    assert RUN.needs({"program": "/usr/bin/git"})[0].facts.argv == ()


def test_a_line_is_judged_as_the_words_it_says() -> None:
    needs = RUN.needs({"line": f"{ECHO} one 'two  three'"})
    assert needs[0].resource == resource("shell", "execute", ECHO)
    assert needs[0].facts.argv == ("one", "two  three")
    assert use({"line": f"{ECHO} one 'two  three'"}).structured["stdout"] == "one two  three\n"


def test_it_is_never_offered_as_harmless() -> None:
    info = RUN.info()
    assert (info.read_only, info.destructive, info.idempotent) == (False, True, False)


def test_the_result_tells_output_and_exit_code() -> None:
    result = use({"program": SH, "arguments": ["-c", "echo out; echo err >&2; exit 3"]})
    assert result.text == "out\n[stderr]\nerr\n[exit code 3]"
    assert result.is_error
    assert result.structured == {
        "exit_code": 3,
        "stdout": "out\n",
        "stderr": "err\n",
        "truncated": False,
        "timed_out": False,
    }
    result = use({"program": ECHO, "arguments": ["hi; id"]})
    assert (result.text, result.is_error) == ("hi; id\n[exit code 0]", False)


def test_a_long_output_is_cut_and_bytes_that_are_no_text_are_replaced() -> None:
    result = use({"program": SH, "arguments": ["-c", f"head -c {MAX_OUTPUT + 1} /dev/zero | tr '\\0' x"]})
    assert result.structured["truncated"] and len(result.structured["stdout"]) == MAX_OUTPUT
    assert "[cut: " in result.text and not result.is_error
    result = use({"program": SH, "arguments": ["-c", "printf '\\377'"]})
    assert result.structured["stdout"] == "\ufffd"


def test_a_stop_because_of_the_time_is_an_error_that_says_so() -> None:
    result = use({"program": SH, "arguments": ["-c", "exec sleep 60"], "timeout_s": 0.2})
    assert result.is_error and result.structured["timed_out"]
    assert "[stopped after 0.2 s]\n[ended by signal " in result.text


def test_it_reads_stdin_and_runs_in_the_directory_that_is_named(tmp_path: Path) -> None:
    folder = str(tmp_path.resolve())
    args = {"program": SH, "arguments": ["-c", "pwd; cat"], "stdin": "text", "cwd": folder}
    assert (
        use(args, "mcp://shell/execute/**", f"mcp://fs/list{folder}").structured["stdout"]
        == f"{folder}\ntext"
    )


def test_without_its_rights_it_does_not_start(tmp_path: Path) -> None:
    args = {"program": ECHO}
    there = {**args, "cwd": str(tmp_path.resolve())}
    for wrong, coverings in (
        (args, ["mcp://shell/execute/opt/**"]),
        (there, ["mcp://shell/execute/**"]),
        (there, ["mcp://shell/execute/**", "mcp://fs/list/elsewhere/**"]),
    ):
        with pytest.raises(NotPermitted):
            use(wrong, *coverings)
    denied = Verdict(allowed=False, reason="no_capability", message="")
    context = ToolContext(
        execution_id=new_id("exec", SystemEntropy()),
        principal_id=new_id("agent", SystemEntropy()),
        verdicts=[denied],
    )
    with pytest.raises(NotPermitted):
        asyncio.run(RUN.execute(args, context))


def test_the_limits_of_the_right_reach_the_gate() -> None:
    limits = {"commands": {"echo": [{"operands": {"max": 1}}]}, "max_bytes": 2}
    assert use({"program": ECHO, "arguments": ["hello"]}, limits=limits).structured["stdout"] == "he"
    with pytest.raises(NotPermitted):
        use({"program": ECHO, "arguments": ["a", "b"]}, limits=limits)
    with pytest.raises(NotFound):
        use({"program": "/nowhere/echo"})
