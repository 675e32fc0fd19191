"""Both adapters over a real socket, with the real SDKs, against the scripted model."""

import asyncio
import gc
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from typing import Any

import pytest

from mcp_core.providers import choose, make_provider
from mcp_core.providers.attempts import BACKOFF
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
    Usage,
)
from scripted_model import KEY, MODEL, ScriptedModel, scripted_model

TOOLS = [
    ToolSchema(name=name, description=name, parameters={"type": "object", "properties": {}})
    for name in ("fs__read_file", "git__git_log")
]
HI = Completion(model="", messages=[ChatMessage(role="user", text="Hi")], tools=TOOLS)


@pytest.fixture(params=["openai", "anthropic"])
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Bench:
    """One scripted model, and the adapter under test in front of it."""

    def __init__(self, vendor: str, clock: Any, stack: ExitStack) -> None:
        self.vendor = vendor
        self.clock = clock
        self.model: ScriptedModel
        self._stack = stack

    def script(self, *steps: dict[str, Any], **more: Any) -> None:
        self.model = self._stack.enter_context(scripted_model({"steps": list(steps), **more}))

    def provider(self, **environ: str) -> Any:
        return make_provider(choose(self.model.environ(self.vendor) | environ, ""), self.clock)

    def ask(self, completion: Completion = HI, **environ: str) -> list[Chunk]:
        async def collect() -> list[Chunk]:
            async with asyncio.timeout(90):  # the SDK is loaded here, beside whatever else runs
                return [chunk async for chunk in self.provider(**environ).stream(completion)]

        return asyncio.run(collect())

    def refused(self, **environ: str) -> ModelUnavailable:
        with pytest.raises(ModelUnavailable) as caught:
            self.ask(**environ)
        return caught.value


@pytest.fixture
def bench(vendor: str, clock: Any) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(vendor, clock, stack)
    gc.collect()  # what a stream leaves behind would warn here, and a warning fails


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def test_text_streams_in_pieces_and_ends_with_usage(bench: Bench) -> None:
    bench.script({"text": ["Hel", "lo"], "usage": [11, 5]})
    assert bench.ask() == [
        TextChunk("Hel"),
        TextChunk("lo"),
        Finished(stop_reason="end", model=MODEL, usage=Usage(input_tokens=11, output_tokens=5)),
    ]


def test_input_from_the_cache_and_into_it_is_told_apart_and_part_of_all_input(bench: Bench) -> None:
    bench.script({"text": "Hi", "usage": [1000, 5, 700, 200]})
    end = bench.ask()[-1]
    assert isinstance(end, Finished)
    assert end.usage == Usage(input_tokens=1000, output_tokens=5, cached_tokens=700, cache_written_tokens=200)


def test_what_an_endpoint_says_of_its_models_is_listed(bench: Bench) -> None:
    fields = {"openai": {"max_model_len": 4096}, "anthropic": {"max_input_tokens": 4096, "max_tokens": 512}}
    bench.script(
        models=[{"id": "told", **fields[bench.vendor]}, {"id": "odd", "max_model_len": "many"}, "bare"]
    )
    listed = asyncio.run(bench.provider(**{f"{bench.vendor.upper()}_MODEL": ""}).listed())
    assert [(info.name, info.context_tokens, info.default) for info in listed] == [
        ("told", 4096, True),
        ("odd", None, False),
        ("bare", None, False),
    ]


def test_parallel_tool_calls_come_whole(bench: Bench) -> None:
    calls = [
        {"name_contains": "read", "arguments": {"path": "/a ü"}, "id": "one"},
        {"name": "git__git_log", "arguments": {"n": 3}, "id": "two"},
    ]
    bench.script({"text": "Looking.", "tool_calls": calls})
    chunks = bench.ask()
    assert text_of(chunks) == "Looking."
    assert [chunk.tool_use for chunk in chunks if isinstance(chunk, ToolUseChunk)] == [
        ToolUse(id="one", name="fs__read_file", arguments={"path": "/a ü"}),
        ToolUse(id="two", name="git__git_log", arguments={"n": 3}),
    ]
    assert isinstance(chunks[-1], Finished)
    assert chunks[-1].stop_reason == "tool_use"


def test_a_tool_result_reaches_the_model(bench: Bench) -> None:
    bench.script({"tool_call": {"name_contains": "read"}}, {"text": "It says: {tool_output}"})
    first = bench.ask()[0]
    assert isinstance(first, ToolUseChunk)
    said = [
        *HI.messages,
        ChatMessage(role="assistant", tool_uses=[first.tool_use]),
        ChatMessage(role="tool", tool_outputs=[ToolOutput(tool_use_id=first.tool_use.id, text="42")]),
    ]
    assert text_of(bench.ask(Completion(model="", messages=said, tools=TOOLS))) == "It says: 42"


def test_arguments_that_are_not_json_become_a_problem_and_not_an_error(bench: Bench) -> None:
    bench.script({"tool_call": {"name": "fs__read_file", "raw_arguments": '{"path": '}})
    first = bench.ask()[0]
    assert isinstance(first, ToolUseChunk)
    assert "not JSON" in first.tool_use.problem


@pytest.mark.parametrize("stop", ["length", "refused"])
def test_the_reason_for_stopping_is_told(bench: Bench, stop: str) -> None:
    bench.script({"text": "Well", "stop": stop})
    end = bench.ask()[-1]
    assert isinstance(end, Finished)
    assert end.stop_reason == stop


def test_the_first_model_on_offer_is_the_default(bench: Bench) -> None:
    bench.script({"text": "A"}, {"text": "B"}, models=["first", "second"])
    variable = f"{bench.vendor.upper()}_MODEL"
    bench.ask(**{variable: ""})
    bench.ask(**{variable: "second"})
    assert [entry["model"] for entry in bench.model.requests()] == ["first", "second"]
    assert asyncio.run(bench.provider(**{variable: "second"}).models()) == ["second", "first"]
    assert asyncio.run(bench.provider(**{variable: ""}).models()) == ["first", "second"]


def test_an_endpoint_without_models_says_which_variable_to_set(bench: Bench) -> None:
    bench.script(models=[])
    assert f"{bench.vendor.upper()}_MODEL" in bench.refused(**{f"{bench.vendor.upper()}_MODEL": ""}).remedy


def test_models_that_cannot_be_listed_say_why(bench: Bench) -> None:
    bench.script()
    prefix = bench.vendor.upper()
    error = bench.refused(**{f"{prefix}_MODEL": "", f"{prefix}_BASE_URL": f"{bench.model.url}/elsewhere"})
    assert error.details["status"] == 404
    assert "/v1" in error.remedy


def test_a_local_server_needs_no_key(bench: Bench) -> None:
    bench.script({"text": "Hello"})
    assert text_of(bench.ask(**{f"{bench.vendor.upper()}_API_KEY": ""})) == "Hello"


# -- what only one vendor does, or only a compatible server ------------------------------------------------


@pytest.fixture
def only(request: pytest.FixtureRequest, clock: Any) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(request.param, clock, stack)


def openai_event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "1", "model": MODEL, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize("only", ["openai"], indirect=True)
def test_a_refusal_in_words_is_text_and_runs_no_tool(only: Bench) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "fs__read_file", "arguments": "{}"}}
    only.script(
        {
            "events": [
                openai_event({"refusal": "I cannot."}),
                openai_event({"tool_calls": [call]}),
                openai_event({}, "stop"),
            ]
        }
    )
    assert only.ask() == [TextChunk("I cannot."), Finished(stop_reason="refused", model=MODEL)]


@pytest.mark.parametrize("only", ["openai"], indirect=True)
def test_an_answer_of_another_shape_is_garbled(only: Bench) -> None:
    only.script({"events": [{"choices": ["text"]}]})
    assert only.refused().details["kind"] == "garbled"


@pytest.mark.parametrize("only", ["openai"], indirect=True)
def test_an_answer_without_its_end_was_cut(only: Bench) -> None:
    only.script({"events": [openai_event({"content": "Half an"})]})
    assert only.refused().details["kind"] == "cut"


@pytest.mark.parametrize("only", ["anthropic"], indirect=True)
def test_arguments_that_come_whole_are_read_and_cached_input_counts(only: Bench) -> None:
    usage = {
        "input_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "output_tokens": 1,
    }
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "usage": usage,
    }
    block = {"type": "tool_use", "id": "a", "name": "fs__read_file", "input": {"path": "/a"}}
    only.script(
        {
            "events": [
                {"type": "message_start", "message": message},
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "text", "text": "So: "},
                },
                {"type": "content_block_start", "index": 1, "content_block": block},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 7},
                },
            ]
        }
    )
    assert only.ask() == [
        TextChunk("So: "),
        ToolUseChunk(ToolUse(id="a", name="fs__read_file", arguments={"path": "/a"})),
        Finished(
            stop_reason="tool_use",
            model=MODEL,
            usage=Usage(input_tokens=321, output_tokens=7, cached_tokens=20, cache_written_tokens=300),
        ),
    ]


def test_openai_itself_gives_no_default_and_gets_the_new_token_limit(clock: Any) -> None:
    from mcp_core.providers.openai import OpenAICompatible

    official, local = (
        OpenAICompatible(clock=clock),
        OpenAICompatible(base_url="http://localhost:1/v1", clock=clock),
    )
    assert (official.pick(["whisper-1"]), local.pick(["llama"])) == ("", "llama")
    assert "max_completion_tokens" in official.write(HI, "gpt")
    assert "max_tokens" in local.write(HI, "llama")


# -- trouble -----------------------------------------------------------------------------------------------


def test_a_refused_connection_is_tried_again_and_then_named(bench: Bench) -> None:
    bench.script()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: it stays refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        error = bench.refused(**{f"{bench.vendor.upper()}_BASE_URL": url})
    assert f"nothing answers at {url}" in error.message
    assert bench.clock.slept == list(BACKOFF)


@pytest.mark.parametrize(
    ("status", "says", "attempts"),
    [(400, "does not accept", 1), (401, "refused the key", 1), (404, "knows no model", 1), (500, "order", 4)],
)
def test_a_refusal_is_explained(bench: Bench, status: int, says: str, attempts: int) -> None:
    bench.script(*[{"status": status, "error": f"because \x1b[2J {KEY}"}] * 5)
    error = bench.refused()
    assert says in error.message
    assert "because" in error.message
    assert "\x1b" not in error.message
    assert error.details["status"] == status
    assert len(bench.model.requests()) == attempts


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 400, "code": "context_length_exceeded"},
        {"status": 400, "error": "prompt is too long: 210000 tokens > 200000 maximum"},
        {"status": 413, "code": "request_too_large"},
        {"text": "", "error_after": 0, "code": "context_length_exceeded"},
    ],
)
def test_what_is_too_long_for_the_model_is_told_apart_and_not_tried_again(
    bench: Bench, refusal: dict[str, Any]
) -> None:
    bench.script({"text": "x", **refusal})
    error = bench.refused()
    assert error.details["kind"] == "too_long"
    assert "compact" in error.remedy
    assert bench.clock.slept == []
    assert len(bench.model.requests()) == 1


def test_too_many_requests_wait_as_asked_and_then_succeed(bench: Bench) -> None:
    bench.script({"status": 429, "retry_after": 7}, {"status": 503}, {"text": "Now."})
    assert text_of(bench.ask()) == "Now."
    assert bench.clock.slept == [7.0, BACKOFF[1]]


def test_a_stream_cut_before_it_said_anything_is_tried_again(bench: Bench) -> None:
    bench.script({"text": "lost", "cut_after": 0}, {"text": "Here."})
    assert text_of(bench.ask()) == "Here."


@pytest.mark.parametrize("broken", [{"cut_after": 1}, {"error_after": 1, "code": "overloaded_error"}])
def test_a_stream_that_breaks_in_the_middle_is_never_begun_anew(bench: Bench, broken: dict[str, Any]) -> None:
    bench.script({"text": ["one ", "two"], **broken}, {"text": "other"})
    seen: list[Chunk] = []

    async def collect() -> None:
        async for chunk in bench.provider().stream(HI):
            seen.append(chunk)

    with pytest.raises(ModelUnavailable):
        asyncio.run(collect())
    assert seen == [TextChunk("one ")]
    assert len(bench.model.requests()) == 1
    assert bench.clock.slept == []


def test_a_stream_that_is_not_json_is_garbled(bench: Bench) -> None:
    bench.script({"garbage": True})
    assert bench.refused().details["kind"] == "garbled"


def test_a_base_url_with_the_wrong_path_says_how_it_ends(bench: Bench) -> None:
    bench.script({"text": "never"})
    wrong = bench.model.url if bench.vendor == "openai" else f"{bench.model.url}/v1"
    assert "/v1" in bench.refused(**{f"{bench.vendor.upper()}_BASE_URL": wrong}).remedy


# -- leaving, proxies and secrets --------------------------------------------------------------------------


async def until_left(model: ScriptedModel) -> None:
    async with asyncio.timeout(5):
        while (await asyncio.to_thread(model.requests))[0]["ended"] == "running":
            await asyncio.sleep(0.01)


def test_closing_the_iterator_closes_the_stream(bench: Bench) -> None:
    bench.script({"text": ["one", "two"], "chunk_delay": 0.3, "delay": 0.0})

    async def leave() -> None:
        async with aclosing(bench.provider().stream(HI)) as chunks:
            assert await anext(chunks) == TextChunk("one")
        await until_left(bench.model)

    asyncio.run(leave())
    assert bench.model.requests()[0]["ended"] == "disconnected"


def test_cancelling_while_waiting_closes_the_stream(bench: Bench) -> None:
    bench.script({"text": "late", "delay": 60})

    async def leave() -> None:
        task = asyncio.create_task(anext(bench.provider().stream(HI)))
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(bench.model.requests):
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_left(bench.model)

    asyncio.run(leave())
    assert bench.model.requests()[0]["ended"] == "disconnected"


def test_a_proxy_of_the_environment_does_not_stand_before_loopback(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    bench.script({"text": "Direct."})
    assert text_of(bench.ask()) == "Direct."


@pytest.mark.parametrize(
    "step", [{"status": 401, "error": f"bad key {KEY}"}, {"garbage": True}, {"cut_after": 0}]
)
def test_the_key_is_sent_and_shown_nowhere(
    bench: Bench, step: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench.script(*[step] * 4)
    with caplog.at_level(logging.DEBUG):
        error = bench.refused()
    assert KEY in str(bench.model.requests()[0]["headers"])
    assert KEY not in caplog.text
    assert KEY not in repr(bench.provider())
    seen: BaseException | None = error
    while seen is not None:
        assert KEY not in f"{seen} {seen!r} {seen.args} {getattr(seen, 'details', '')}"
        seen = seen.__cause__ or seen.__context__
