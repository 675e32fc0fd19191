"""Goes step by step through what it takes to start a server, and says which step fails and what would help.

Beside the live connection and without touching it: a short-lived process or connection of its own, whose stderr goes
into a file of its own. Every step has a deadline; the first that fails is the last. Knows nothing of rights.
"""

import asyncio
import importlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from mcp_core.protocol.configuration import check_name
from mcp_core.protocol.doors import Doors
from mcp_core.protocol.expansion import Expanded, resolve
from mcp_core.protocol.offered import Offered
from mcp_core.protocol.reach import first_reason
from mcp_core.protocol.server_log import last_lines
from mcp_core.protocol.watch import Watch
from mcp_core.protocol.web_steps import web_steps
from mcp_interface.clock import Entropy
from mcp_interface.errors import UmbrellaError
from mcp_interface.server import Diagnosis, ServerSpec

if TYPE_CHECKING:
    from mcp_core.protocol.link import Link

CONNECT_SECONDS: Final = 60.0
"""For the process to start and answer; a first start may have to install the server."""
ALIVE_SECONDS: Final = 2.0
"""So long a process has to live."""
_SHOWN_LINES: Final = 8
_LOST: Final = "Connection closed"
"""How the SDK begins the error of a request whose connection ended."""
_GRACE: Final = 12.0
"""For everything to be gone afterwards."""
_RUNNERS: Final = {
    "npx": "install Node.js, which brings npx",
    "node": "install Node.js",
    "uvx": "install uv, which brings uvx",
    "uv": "install uv",
    "docker": "install Docker",
    "python": "name python3, or the whole path of a Python",
}


class _Seen(msgspec.Struct, frozen=True):
    """What a server said while it was connected."""

    protocol: str
    offered: Offered


class Doctor:
    """Examines servers of one host.

    Args:
        environment: Where `${VAR}` looks.
        doors: As the connections of the host have them.
        entropy: For marks of its own connections.
    """

    def __init__(self, environment: Mapping[str, str], doors: Doors, entropy: Entropy) -> None:
        self._environment = environment
        self._doors = doors
        self._entropy = entropy

    async def examine(self, name: str, spec: ServerSpec) -> list[Diagnosis]:
        """Every step up to the first that fails; of all things that are wrong with a step, each is named.

        Bounded in time, and leaves nothing behind.
        """
        found: list[Diagnosis] = []
        async for step in self._steps(name, spec):
            found.append(step)
            if not step.ok:
                break
        return found

    async def _steps(self, name: str, spec: ServerSpec) -> AsyncGenerator[Diagnosis]:
        yield _configuration(name, spec)
        step, expanded = await self._references(spec)
        yield step
        if expanded is None:
            return
        if expanded.spec.transport != "stdio":
            async for step in web_steps(expanded.spec):
                yield _redacted(step, expanded)
        elif expanded.spec.cage is None:
            yield _redacted(_command(expanded.spec), expanded)
        else:
            yield _redacted(await self._cage(expanded.spec), expanded)
        for step in await self._connection(name, expanded):
            yield _redacted(step, expanded)

    async def _references(self, spec: ServerSpec) -> tuple[Diagnosis, Expanded | None]:
        title = "variables and secrets"
        missing: list[UmbrellaError] = []
        for part in _parts(spec):
            try:
                await resolve(part, self._environment, self._doors.vault)
            except UmbrellaError as error:
                missing.append(error)
        if missing:
            reasons = dict.fromkeys(error.message for error in missing)
            remedies = dict.fromkeys(error.remedy for error in missing)
            return Diagnosis(
                step=title, ok=False, detail="; ".join(reasons), remedy="; ".join(remedies)
            ), None
        expanded = await resolve(spec, self._environment, self._doors.vault)
        detail = f"{len(expanded.hidden)} put in" if expanded.hidden else "none are needed"
        return Diagnosis(step=title, ok=True, detail=detail), expanded

    async def _cage(self, spec: ServerSpec) -> Diagnosis:
        """Make the very cage, around a program that does nothing."""
        from mcp_core.protocol.cage import find_bubblewrap, start_caged, take_order

        theirs, ours = os.pipe()
        try:
            await find_bubblewrap()
            take_order(spec, self._doors.closed, os.environ)
            empty = msgspec.structs.replace(spec, command="/bin/true", args=[])
            with tempfile.TemporaryFile("w+") as errlog:
                caged = await start_caged(empty, errlog, (theirs, ours), self._doors.closed)
                await asyncio.wait_for(caged.process.wait(), _GRACE)
                caged.release()
        except (UmbrellaError, OSError, TimeoutError) as error:
            return _failed("cage", error, "see the reason")
        finally:
            os.close(theirs)
            os.close(ours)
        return Diagnosis(step="cage", ok=True, detail=caged.words)

    async def _connection(self, name: str, expanded: Expanded) -> list[Diagnosis]:
        """Connect for a moment, and say how far it came."""
        watch = Watch(self._entropy.token(8).hex())
        is_process = expanded.spec.transport == "stdio"
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errlog:
            stack = AsyncExitStack()
            seen: _Seen | None = None
            trouble: BaseException | None = None
            began = asyncio.get_running_loop().time()
            # In a task of its own: what the SDK cancels when a server dies is the task that entered it.
            attempt = asyncio.create_task(
                self._attempt(stack, name, expanded, errlog if is_process else None, watch, began)
            )
            try:
                done, _ = await asyncio.wait({attempt}, timeout=CONNECT_SECONDS)
            finally:
                if not attempt.done():
                    attempt.cancel()
                    await asyncio.wait({attempt}, timeout=_GRACE)
            if not done:
                trouble = TimeoutError()
            elif attempt.cancelled():
                trouble = ConnectionError(watch.broken or "the connection was closed")
            else:
                seen, trouble = attempt.result()
            said = last_lines(errlog, _SHOWN_LINES, expanded.redact) if is_process else ""
        return [
            *_process(watch, trouble, said, is_process),
            *_answer(name, watch, trouble, said, seen),
        ]

    async def _attempt(
        self,
        stack: AsyncExitStack,
        name: str,
        expanded: Expanded,
        errlog: TextIO | None,
        watch: Watch,
        began: float,
    ) -> "tuple[_Seen | None, BaseException | None]":
        module = await asyncio.to_thread(importlib.import_module, "mcp_core.protocol.link")
        seen: _Seen | None = None
        try:
            async with stack:
                link: Link = await module.open_link(stack, name, expanded, errlog, watch, self._doors)
                seen = _Seen(link.protocol, link.offered)
                if errlog is not None:
                    left = began + ALIVE_SECONDS - asyncio.get_running_loop().time()
                    while left > 0 and not watch.broken:
                        await asyncio.sleep(min(0.05, left))
                        left = began + ALIVE_SECONDS - asyncio.get_running_loop().time()
                    if watch.broken:
                        return seen, ConnectionError(watch.broken)
        except Exception as error:
            return seen, error
        return seen, None


def _configuration(name: str, spec: ServerSpec) -> Diagnosis:
    try:
        check_name(name)
        spec.validate()
    except UmbrellaError as error:
        return _failed("configuration", error, "")
    off = "; it is disabled, and starts only for this examination" if spec.disabled else ""
    lazy = "; it starts when it is first needed" if spec.lazy else ""
    return Diagnosis(step="configuration", ok=True, detail=f"a {spec.transport} server{off}{lazy}")


def _parts(spec: ServerSpec) -> list[ServerSpec]:
    """The specification cut up, so that every reference which is missing is found and not only the first."""
    words = [spec.command, *spec.args, spec.cwd]
    kept = [*spec.env.values(), spec.url, *spec.headers.values()]
    return [
        *(ServerSpec(command=text) for text in words if text is not None),
        *(ServerSpec(url=text) for text in kept if text is not None),
    ]


def _command(spec: ServerSpec) -> Diagnosis:
    from mcp_core.protocol.process import environment_of

    command = spec.command or ""
    search = environment_of(spec).get("PATH", os.defpath)
    if spec.cwd is not None and not os.path.isdir(spec.cwd):  # noqa: PTH112 (the text as it is given to the system)
        return Diagnosis(
            step="command",
            ok=False,
            detail=f"its working folder {spec.cwd!r} is not there",
            remedy="make it, or name another",
        )
    there = os.path.join(spec.cwd or "", command) if "/" in command else command  # noqa: PTH118
    found = shutil.which(there, path=search)
    if found is not None:
        return Diagnosis(step="command", ok=True, detail=found)
    if "/" in command and os.path.exists(there):  # noqa: PTH110
        return Diagnosis(
            step="command",
            ok=False,
            detail=f"{command!r} cannot be executed",
            remedy=f"chmod +x {there}, if it is a program",
        )
    remedy = _RUNNERS.get(command, "install it, or write its whole path")
    where = "" if "/" in command else f" in {search}"
    return Diagnosis(step="command", ok=False, detail=f"{command!r} was not found{where}", remedy=remedy)


def _process(watch: Watch, trouble: BaseException | None, said: str, is_process: bool) -> list[Diagnosis]:
    if not is_process:
        return []
    words = f"; its last words: {said}" if said else ""
    if _died(trouble) and watch.broken:
        return [
            Diagnosis(
                step="process",
                ok=False,
                detail=f"{watch.broken}{words}",
                remedy="run the command by hand in a terminal",
            )
        ]
    if isinstance(trouble, OSError | UmbrellaError) and not isinstance(trouble, TimeoutError):
        return [_failed("process", trouble, "run the command by hand in a terminal")]
    return [Diagnosis(step="process", ok=True, detail=f"it starts and lives {ALIVE_SECONDS:g} s")]


def _died(trouble: BaseException | None) -> bool:
    """Whether the connection was lost by itself; afterwards it is gone in any case, because we have ended it."""
    return isinstance(trouble, ConnectionError) or (trouble is not None and _LOST in first_reason(trouble))


def _answer(
    name: str, watch: Watch, trouble: BaseException | None, said: str, seen: "_Seen | None"
) -> list[Diagnosis]:
    if watch.login:
        return [
            Diagnosis(step="login", ok=False, detail=watch.login, remedy=f"log in: umbrella mcp login {name}")
        ]
    if seen is None or trouble is not None:
        reason = first_reason(trouble) if trouble is not None else "it did not answer"
        noise = f"; it printed what is not MCP: {watch.noise}" if watch.noise else ""
        words = f"; its last words: {said}" if said else ""
        return [
            Diagnosis(
                step="answer",
                ok=False,
                detail=f"{reason}{noise}{words}",
                remedy="it must speak MCP on its standard output, and print nothing else there"
                if noise
                else "check that it is an MCP server of this transport",
            )
        ]
    offered = seen.offered
    detail = f"{len(offered.tools)} tools, {len(offered.resources)} resources, {len(offered.prompts)} prompts"
    return [
        Diagnosis(step="answer", ok=True, detail="it answers the first request"),
        Diagnosis(step="protocol", ok=True, detail=f"version {seen.protocol}"),
        Diagnosis(step="login", ok=True, detail="none is missing"),
        Diagnosis(
            step="lists",
            ok=not offered.trouble,
            detail="; ".join(filter(None, (detail, offered.remarks))),
            remedy="ask whoever wrote the server" if offered.trouble else "",
        ),
    ]


def _failed(step: str, error: BaseException, remedy: str) -> Diagnosis:
    if isinstance(error, UmbrellaError):
        return Diagnosis(step=step, ok=False, detail=error.message, remedy=error.remedy or remedy)
    return Diagnosis(step=step, ok=False, detail=first_reason(error), remedy=remedy)


def _redacted(step: Diagnosis, expanded: Expanded) -> Diagnosis:
    return msgspec.structs.replace(
        step, detail=expanded.redact(step.detail), remedy=expanded.redact(step.remedy)
    )
