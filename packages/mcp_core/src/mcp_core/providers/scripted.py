"""A model that plays answers from a file, so that anybody can try everything else without a key: `scripted:PATH`.

The file is JSON and its name ends in `.script.json`:

    {"answers": [{"text": "Hello. You said: {user}"},
                 {"text": "Let me look.", "calls": [{"tool": "fs__read_file", "arguments": {"path": "/etc/hostname"}}]},
                 {"text": "It says: {tool_output}"}],
     "again": true, "pause_s": 0.03}

Which answer comes is decided by how often the model has spoken in the conversation, so a script goes on where it was
after a restart. When it is over it begins anew if `again` says so. `{user}` becomes what the person said last,
`{tool_output}` the newest result of a tool; a `tool` is an offered name, or a part of one. Only a file of the user who
runs the node is read, and only one of that name: whoever may choose a session's model learns of no other file.
"""

import asyncio
import logging
import os
import re
import stat
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from mcp_interface.clock import Clock
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import (
    Chunk,
    Completion,
    Finished,
    ModelInfo,
    TextChunk,
    ToolSchema,
    ToolUse,
    ToolUseChunk,
    Usage,
)

log = logging.getLogger(__name__)

ENDING: Final = ".script.json"
MAX_BYTES: Final = 1024 * 1024
MAX_ANSWER: Final = 1_000_000
"""Characters of an answer, with all that is put in."""
OVER: Final = "The script is over."
_BLANK: Final = re.compile(r"\{user\}|\{tool_output\}")
_SHAPE: Final = 'write {"answers": [{"text": "Hello"}]}; see the page of mcp_core on models'


class ScriptedCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool that an answer wants to run."""

    tool: Annotated[str, Meta(min_length=1, max_length=200)]
    arguments: dict[str, Any] = {}


class ScriptedAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model says at one step."""

    text: str = ""
    calls: Annotated[list[ScriptedCall], Meta(max_length=100)] = []


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file."""

    answers: Annotated[list[ScriptedAnswer], Meta(min_length=1, max_length=10_000)]
    again: bool = False
    """Begin anew at the end."""
    pause_s: Annotated[float, Meta(ge=0, le=10)] = 0.02
    """Seconds between two words."""


class ScriptedFile:
    """A `Provider` over a script; the file is read for each answer, so it can be changed meanwhile.

    Args:
        path: Absolute, or beginning with `~`.
        clock: Waits between words.
    """

    name = "scripted"

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    async def stream(self, completion: Completion) -> AsyncGenerator[Chunk, None]:
        """Play the answer whose turn it is, as `Provider.stream` says; its tokens are its words."""
        script = await self._read()
        answer = _turn_of(script, completion)
        text = _put_in(answer.text, completion)
        words = text.replace(" ", " \0").split("\0") if text else []
        for number, word in enumerate(words):
            if number:
                await self._clock.sleep(script.pause_s)
            yield TextChunk(word)
        uses = [
            ToolUse(
                id=f"call_{len(completion.messages)}_{number}",
                name=_tool_named(call.tool, completion.tools),
                arguments=call.arguments,
            )
            for number, call in enumerate(answer.calls)
        ]
        for use in uses:
            yield ToolUseChunk(use)
        read = sum(len(message.text.split()) for message in completion.messages)
        yield Finished(
            stop_reason="tool_use" if uses else "end",
            model=Path(self._path).name,
            usage=Usage(input_tokens=read, output_tokens=len(words)),
        )

    async def models(self) -> list[str]:
        """The path, if it leads to a script."""
        return [await self.default()]

    async def listed(self) -> list[ModelInfo]:
        """As `models`."""
        return [ModelInfo(name=await self.default(), default=True)]

    async def default(self) -> str:
        """As `models`."""
        await self._read()
        return self._path

    async def _read(self) -> Script:
        return await asyncio.to_thread(read_script, self._path)


def read_script(path: str) -> Script:
    """Read a script.

    Raises:
        ModelUnavailable: There is none, or it is not what it should be; never says what is in the file. Whether
            there is a file that cannot be read is told by the log alone: whoever chooses a model may be a stranger.
    """
    shown = path[:300]
    place = Path(path).expanduser() if path.startswith("~/") else Path(path)
    if not place.is_absolute() or not place.name.endswith(ENDING):
        raise _refused(
            f"{shown!r} is no script for a model",
            f"name it by its absolute path, which ends in {ENDING}: scripted:/home/me/demo{ENDING}",
        )
    try:
        # Without waiting: a pipe of that name would keep us for good.
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
                raise ValueError("it is no regular file of the user who runs the node")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)  # here: a folder never becomes a file object that would close it
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        log.warning("the script %r cannot be read: %s", shown, why)
        raise _refused(
            f"the script {shown!r} cannot be read",
            "check its path; it must be a plain file of the user who runs the node, whose log says more",
        ) from None
    if len(data) > MAX_BYTES:
        raise _refused(f"the script {shown!r} is longer than {MAX_BYTES} bytes", "make it shorter")
    try:
        return msgspec.json.decode(data, type=Script)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _refused(f"the script {shown!r}: {error}", _SHAPE) from None


def _turn_of(script: Script, completion: Completion) -> ScriptedAnswer:
    spoken = sum(message.role == "assistant" for message in completion.messages)
    if script.again:
        spoken %= len(script.answers)
    return script.answers[spoken] if spoken < len(script.answers) else ScriptedAnswer(text=OVER)


def _put_in(text: str, completion: Completion) -> str:
    user = next(
        (said.text for said in reversed(completion.messages) if said.role == "user" and said.text), ""
    )
    outputs = [output.text for said in completion.messages for output in said.tool_outputs]
    told = {"{user}": user, "{tool_output}": outputs[-1] if outputs else ""}
    # Reckoned before anything is made: a small script could ask for more than there is memory.
    size = len(text) + sum(text.count(blank) * (len(put) - len(blank)) for blank, put in told.items())
    if size > MAX_ANSWER:
        raise _refused(
            f"the script's answer would have {size} characters, and {MAX_ANSWER} is the most",
            "write {user} and {tool_output} less often in it",
        )
    # In one pass: what was put in is no part of the script, and nothing is put into it.
    return _BLANK.sub(lambda found: told[found.group()], text)


def _tool_named(wanted: str, tools: Sequence[ToolSchema]) -> str:
    names = [tool.name for tool in tools]
    return wanted if wanted in names else next((name for name in names if wanted in name), wanted)


def _refused(message: str, remedy: str) -> ModelUnavailable:
    return ModelUnavailable(message, remedy, {"vendor": "scripted", "kind": "not_configured"})
