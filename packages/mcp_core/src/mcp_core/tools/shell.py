"""The built-in server `shell`: run one program with its arguments. No shell is involved, in spite of the name.

It needs the right to the program by its absolute path, judged together with the arguments, and the right to list
the working directory where one is named. It reaches the program only through the gate, which is given the
patterns and limits of the rights that allowed it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from mcp_interface.address import Resource, resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult, text_result

SERVER: Final = "shell"
MAX_ARGUMENTS: Final = 1_000
MAX_OUTPUT: Final = 128 * 1024
"""Bytes of each output that are returned."""
MAX_INPUT: Final = 4 * 1024 * 1024
MAX_SECONDS: Final = 600.0

_Path = Annotated[str, Meta(min_length=2, max_length=4000)]


class OutcomeLike(Protocol):
    """How a program ended."""

    @property
    def exit_code(self) -> int:
        """Negative for the signal that ended it."""
        ...

    @property
    def stdout(self) -> bytes:
        """What was kept of its output."""
        ...

    @property
    def stderr(self) -> bytes:
        """What was kept of its complaints."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether there was more of either."""
        ...

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because its time was over."""
        ...


class CommandGate(Protocol):
    """Runs what a right covers and nothing else; the real one is `mcp_security`'s `ShellGate`."""

    def words(self, line: str) -> tuple[str, ...]:
        """Split a typed line; refuses what a shell would do more with."""
        ...

    async def run(
        self,
        covering: str,
        limits: Mapping[str, Any],
        program: str,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        cwd_covering: str | None = None,
        stdin: bytes | None = None,
        timeout_s: float = 60.0,
        max_bytes: int = MAX_OUTPUT,
    ) -> OutcomeLike:
        """Run a program and wait for its end; nothing of it is left then."""
        ...


class _Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    program: Annotated[
        _Path | None, Meta(description="Absolute and real path of the program, beginning with /.")
    ] = None
    arguments: Annotated[
        list[str],
        Meta(
            max_length=MAX_ARGUMENTS,
            description="Its arguments, one by one and as they are: nothing is expanded or split.",
        ),
    ] = []
    line: Annotated[
        str | None,
        Meta(
            description="Instead of both: program and arguments as one line, with quotes where a word has spaces."
        ),
    ] = None
    cwd: Annotated[
        _Path | None,
        Meta(description="Absolute path of the working directory; by default an empty one that is removed."),
    ] = None
    stdin: Annotated[str | None, Meta(description="Text that the program can read; by default nothing.")] = (
        None
    )
    timeout_s: Annotated[
        float, Meta(gt=0, le=MAX_SECONDS, description="Seconds until the program is stopped.")
    ] = 60.0


class Run:
    """Runs one program by its absolute path.

    Args:
        gate: The only way to a program.
    """

    def __init__(self, gate: CommandGate) -> None:
        self._gate = gate

    def info(self) -> ToolInfo:
        """Describe the tool; whatever runs may change anything, so it is never read-only."""
        return ToolInfo(
            server=SERVER,
            name="run",
            title="Run command",
            description=(
                "Run one program with arguments and return its output and exit code. There is no shell: no pipes, "
                "no variables, no wildcards."
            ),
            parameters=_schema(),
            required_capabilities=["mcp://shell/execute/**", "mcp://fs/list/**"],
            read_only=False,
            destructive=True,
            idempotent=False,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types and limits, that paths are absolute and canonical, and that texts can be handed over.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        _rights(self._read(args))

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to the program with these arguments, and to list the working directory if one is named."""
        given = self._read(args)
        program, *folder = _rights(given)
        size = len(_bytes("stdin", given.stdin or ""))
        facts = Facts(argv=tuple(given.arguments), arguments=args, size=size)
        return [Need(program, facts), *(Need(each, Facts(arguments=args)) for each in folder)]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run it; an exit code other than zero, or a stop because of the time, is a result with `is_error`.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        _rights(given)
        verdict = _verdict(context, 0)
        outcome = await self._gate.run(
            str(verdict.covering),
            verdict.limits,
            given.program,
            given.arguments,
            cwd=given.cwd,
            cwd_covering=None if given.cwd is None else _verdict(context, 1).covering,
            stdin=None if given.stdin is None else _bytes("stdin", given.stdin),
            timeout_s=given.timeout_s,
            max_bytes=MAX_OUTPUT,
        )
        return _result(outcome, given.timeout_s)

    def _read(self, args: dict[str, Any]) -> "_Call":
        given = _read(args)
        if (given.line is None) == (given.program is None) or (given.line is not None and given.arguments):
            raise CallerMistaken(
                "shell/run takes either 'program' with 'arguments', or 'line'", "give one of the two"
            )
        words = (
            [given.program or "", *given.arguments] if given.line is None else self._gate.words(given.line)
        )
        for word in words:
            if b"\0" in _bytes("arguments", word):
                raise CallerMistaken(f"argument {word[:100]!r} holds a NUL", "leave it out")
        return _Call(words[0], list(words[1:]), given.cwd, given.stdin, given.timeout_s)


class _Call(msgspec.Struct, frozen=True):
    """What is to be run, however it was written."""

    program: str
    arguments: list[str]
    cwd: str | None
    stdin: str | None
    timeout_s: float


def shell_tools(gate: CommandGate) -> list[Tool]:
    """All tools of the server `shell`."""
    return [Run(gate)]


def _read(args: dict[str, Any]) -> _Args:
    try:
        given = msgspec.convert(args, _Args)
    except msgspec.ValidationError as error:
        raise CallerMistaken(f"arguments of shell/run: {error}", "see its parameters") from error
    if len(_bytes("stdin", given.stdin or "")) > MAX_INPUT:
        raise CallerMistaken(f"argument 'stdin' exceeds {MAX_INPUT} bytes", "hand over less")
    return given


def _rights(given: _Call) -> list[Resource]:
    program = _resource("shell", "execute", "program", given.program)
    return [program] if given.cwd is None else [program, _resource("fs", "list", "cwd", given.cwd)]


def _resource(type: str, operation: str, name: str, path: str) -> Resource:
    if not path.startswith("/"):
        raise CallerMistaken(f"{name} {path[:200]!r} is relative", "write it from the root, beginning with /")
    if path.endswith("/") or "*" in path:
        raise CallerMistaken(
            f"{name} {path[:200]!r} names more than one thing", "leave out '*' and the last slash"
        )
    return resource(type, operation, path)


def _verdict(context: ToolContext, number: int) -> Verdict:
    verdict = context.verdicts[number] if number < len(context.verdicts) else None
    if verdict is None or not verdict.allowed or verdict.covering is None:
        raise NotPermitted("shell/run was started without the right it needs", "call it through the node")
    return verdict


def _result(outcome: OutcomeLike, timeout_s: float) -> ToolResult:
    stdout, stderr = (data.decode("utf-8", "replace") for data in (outcome.stdout, outcome.stderr))
    parts = [stdout.removesuffix("\n")] if stdout else []
    if stderr:
        parts += ["[stderr]", stderr.removesuffix("\n")]
    if outcome.truncated:
        parts.append(f"[cut: at most {MAX_OUTPUT} bytes of each output are shown]")
    if outcome.timed_out:
        parts.append(f"[stopped after {timeout_s:g} s]")
    code = outcome.exit_code
    parts.append(f"[exit code {code}]" if code >= 0 else f"[ended by signal {-code}]")
    return msgspec.structs.replace(
        text_result("\n".join(parts), is_error=code != 0 or outcome.timed_out),
        structured={
            "exit_code": code,
            "stdout": stdout,
            "stderr": stderr,
            "truncated": outcome.truncated,
            "timed_out": outcome.timed_out,
        },
    )


def _bytes(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CallerMistaken(
            f"argument '{name}' holds half a surrogate pair", "send valid Unicode"
        ) from error


def _schema() -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([_Args])
    found = dict(parts[_Args.__name__])
    found.pop("title", None)
    return found
