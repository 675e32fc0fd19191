"""A script in a file: what is played, and what is refused."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mcp_core.providers.scripted import MAX_ANSWER, MAX_BYTES, OVER, ScriptedFile, read_script
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import (
    ChatMessage,
    Chunk,
    Completion,
    Finished,
    TextChunk,
    ToolOutput,
    ToolSchema,
    ToolUse,
    ToolUseChunk,
)

READ = ToolSchema(name="fs__read_file", description="", parameters={})


def write(folder: Path, script: Any, name: str = "demo.script.json") -> str:
    file = folder / name
    file.write_text(script if isinstance(script, str) else json.dumps(script))
    return str(file)


def played(path: str, clock: Any, *messages: ChatMessage) -> list[Chunk]:
    async def collect() -> list[Chunk]:
        stream = ScriptedFile(path, clock).stream(Completion(model="", messages=messages, tools=[READ]))
        return [chunk async for chunk in stream]

    return asyncio.run(collect())


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def test_a_script_goes_on_where_the_conversation_is(tmp_path: Path, clock: Any) -> None:
    answers = [
        {"text": "You said: {user}"},
        {"text": "Looking.", "calls": [{"tool": "read", "arguments": {"path": "/a"}}]},
        {"text": "It says {tool_output}"},
    ]
    path = write(tmp_path, {"answers": answers, "pause_s": 0.5})
    hi = ChatMessage(role="user", text="hello there")
    first = played(path, clock, hi)
    assert text_of(first) == "You said: hello there"
    assert clock.slept == [0.5] * 3, "word by word"
    said = ChatMessage(role="assistant", text="You said: hello there")
    *_, call, end = played(path, clock, hi, said, hi)
    assert isinstance(call, ToolUseChunk) and isinstance(end, Finished)
    assert (call.tool_use.name, call.tool_use.arguments) == ("fs__read_file", {"path": "/a"})
    assert end.stop_reason == "tool_use"
    use = ToolUse(id=call.tool_use.id, name="fs__read_file", arguments={})
    told = [
        ChatMessage(role="assistant", tool_uses=[use]),
        ChatMessage(role="tool", tool_outputs=[ToolOutput(tool_use_id=use.id, text="42")]),
    ]
    assert text_of(played(path, clock, hi, said, hi, *told)) == "It says 42"
    assert text_of(played(path, clock, hi, said, hi, *told, said)) == OVER


def test_a_script_may_begin_anew(tmp_path: Path, clock: Any) -> None:
    path = write(tmp_path, {"answers": [{"text": "one"}, {"text": "two"}], "again": True})
    said = ChatMessage(role="assistant", text="x")
    assert [text_of(played(path, clock, *[said] * count)) for count in range(4)] == ["one", "two"] * 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("not json", "script"),
        ("[" * 100_000, "script"),
        ('{"answers": []}', "length >= 1"),
        ('{"answers": [{"text": 1}]}', r"\$.answers\[0\].text"),
        ('{"answers": [{"text": "a", "tone": "kind"}]}', "tone"),
        ('{"answers": [{"text": "a"}], "pause_s": 3600}', "pause_s"),
    ],
)
def test_a_file_that_is_no_script_is_refused_by_the_rule_it_breaks(
    tmp_path: Path, script: str, says: str
) -> None:
    with pytest.raises(ModelUnavailable, match=says) as caught:
        read_script(write(tmp_path, script))
    assert caught.value.remedy


def test_only_a_file_of_that_name_is_looked_at_and_none_says_what_is_in_it(tmp_path: Path) -> None:
    for name in (
        "/etc/passwd",
        "demo.script.json",
        "",
        "~root",
        write(tmp_path, "{}", "other.json"),
        "/a\0b.json",
    ):
        with pytest.raises(ModelUnavailable, match=r"is no script for a model.*\.script\.json"):
            read_script(name)
    with pytest.raises(ModelUnavailable) as caught:
        read_script(write(tmp_path, '{"answers": [{"text": "x", "password": "hunter2"}]}'))
    assert "hunter2" not in str(caught.value)


def test_a_pipe_a_link_a_folder_and_a_file_that_is_too_long_are_refused_at_once(tmp_path: Path) -> None:
    pipe, link, folder, missing = (tmp_path / f"{name}.script.json" for name in ("p", "l", "f", "m"))
    os.mkfifo(pipe)
    link.symlink_to(write(tmp_path, {"answers": [{}]}))
    folder.mkdir()
    long = write(tmp_path, " " * (MAX_BYTES + 1), "long.script.json")
    for path in (pipe, link, folder, missing, long, "/a\0.script.json"):
        with pytest.raises(ModelUnavailable) as caught:
            read_script(str(path))
        assert caught.value.remedy, path


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"answers": [{"text": "theirs"}]})
    os.chown(path, 12345, 12345)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_script(path)


def test_what_cannot_be_read_looks_the_same_whatever_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing, folder, link, loop = (tmp_path / f"{name}.script.json" for name in ("m", "f", "l", "o"))
    folder.mkdir()
    link.symlink_to(folder)
    loop.symlink_to(loop)
    before, told = len(os.listdir("/dev/fd")), set()
    for path in (missing, folder, link, loop, folder / "x.script.json", f"{tmp_path}/\0.script.json"):
        with pytest.raises(ModelUnavailable) as caught:
            read_script(str(path))
        told.add((caught.value.message.replace(repr(str(path)), ""), caught.value.remedy))
    assert len(told) == 1
    assert "No such file" in caplog.text and "no regular file" in caplog.text
    assert len(os.listdir("/dev/fd")) == before


def test_an_answer_that_would_be_too_long_is_refused_before_it_is_made(tmp_path: Path, clock: Any) -> None:
    path = write(tmp_path, {"answers": [{"text": "{user}" * 100_000}], "pause_s": 0})
    most = ChatMessage(role="user", text="x" * (MAX_ANSWER // 100_000))
    assert len(text_of(played(path, clock, most))) == MAX_ANSWER
    with pytest.raises(ModelUnavailable, match=str(MAX_ANSWER)):
        played(path, clock, ChatMessage(role="user", text=most.text + "x"))
    path = write(tmp_path, {"answers": [{"text": "{tool_output}" * 50_000}]})
    with pytest.raises(ModelUnavailable, match=str(MAX_ANSWER)):
        output = ToolOutput(tool_use_id="1", text="x" * 1_000_000)
        played(path, clock, ChatMessage(role="tool", tool_outputs=[output]))


def test_nothing_is_put_into_what_was_put_in(tmp_path: Path, clock: Any) -> None:
    path = write(tmp_path, {"answers": [{"text": "{user}/{tool_output}"}]})
    output = ChatMessage(role="tool", tool_outputs=[ToolOutput(tool_use_id="1", text="{user}")])
    said = ChatMessage(role="user", text="{tool_output}" * 2)
    assert text_of(played(path, clock, said, output)) == "{tool_output}{tool_output}/{user}"
