"""A language model that follows a script: a real HTTP server for tests and demos, without a model or a network.

It speaks the streaming protocols of both vendors on one port, so that the real SDKs talk to it over a real
socket. Standard library only; run it as a process of its own:

    python tests/scripted_model.py --port 0 --script FILE     prints the port on its first line

or from a test (pytest puts `tests` on the path), which starts that same process:

    from scripted_model import scripted_model

    with scripted_model([{"text": "Hello"}]) as model:
        environ = model.environ("openai")        # OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL
        ...
        assert model.requests()[0]["user"] == "Hi"

A script is a JSON list of steps, or an object `{"steps": [...], "then": STEP, "models": [NAME, ...]}`, where a name
may also be an object of its `id` and whatever else the endpoint says of it. Every
request for an answer uses up one step: the first unused one whose `when` fits. When none is left, `then` answers
(by default a sentence saying that the script is over). Everything in a step is optional:

    "text"         a string (sent word by word) or a list of the pieces to send; `{tool_output}` in it becomes the
                   newest tool result, `{user}` what the person said last
    "tool_call"    {"name" | "name_contains": ..., "arguments": {...}}: calls the offered tool of that name, or the
                   first whose name contains it; "raw_arguments": "{broken" sends that text instead; "id": its id
    "tool_calls"   a list of these: parallel calls
    "delay"        seconds before the answer begins
    "chunk_delay"  seconds before each further piece
    "status"       an HTTP error instead of an answer; with "error": its message, "code": the vendor's code,
                   "retry_after": seconds for the header of that name
    "error_after"  a number of pieces of text after which the stream goes on with the vendor's error event
    "cut_after"    a number of pieces of text after which the connection is dropped; 0 drops it right after the head
    "garbage"      true: a stream whose events are not JSON
    "events"       a list of the vendor's own events, sent as they are instead of an answer
    "stop"         "length" | "refused" | "end" | "tool_use" instead of the stop reason that follows from the step
    "usage"        [input tokens, output tokens], or with how many of the input were read from the vendor's cache and
                   written to it: [input, output, read, written]; counted in words when absent
    "when"         a text that the request's newest message must contain, for agents that run side by side

Beside the vendors' paths: `GET /log` lists the requests for answers so far (step, vendor, model, user, tools,
headers, body, and how each ended: "answered", "error", "cut", "disconnected" when the client left, "running");
`POST /steps` with a JSON list adds steps while it runs.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

Step = dict[str, Any]

KEY = "sk-scripted-0123456789"
"""The key that `ScriptedModel.environ` hands out; any key is accepted."""
MODEL = "scripted-1"
THEN: Step = {"text": "The script is over."}

_STOPS = {
    "openai": {"end": "stop", "tool_use": "tool_calls", "length": "length", "refused": "content_filter"},
    "anthropic": {"end": "end_turn", "tool_use": "tool_use", "length": "max_tokens", "refused": "refusal"},
}
_PATHS = {
    "/v1/chat/completions": "openai",
    "/v1/messages": "anthropic",
}
_START_SECONDS = 20.0
_MAX_BODY = 16 * 1024 * 1024


# -- what a request says, whichever vendor's it is ---------------------------------------------------------


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text_of(block.get("text") or block.get("content") or "") for block in content)
    return content if isinstance(content, str) else ""


def _newest(body: dict[str, Any]) -> tuple[str, str]:
    """Return what the person said last and the newest tool output; empty when there is none."""
    user = output = ""
    for message in body.get("messages", []):
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for block in blocks:
            if message["role"] == "tool" or block.get("type") == "tool_result":
                output = _text_of(block.get("content") or block.get("text"))
            elif message["role"] == "user":
                user = _text_of(block.get("text"))
    return user, output


def _newest_message(body: dict[str, Any]) -> str:
    return json.dumps(body["messages"][-1], ensure_ascii=False) if body.get("messages") else ""


def _tool_names(body: dict[str, Any]) -> list[str]:
    return [
        tool["function"]["name"] if "function" in tool else tool["name"] for tool in body.get("tools", [])
    ]


class BadScript(Exception):
    """A step does not fit the request; answered as HTTP 400, so that the test sees why."""


def _calls(step: Step, names: list[str], used: int) -> list[dict[str, str]]:
    """Resolve a step's tool calls: id, name and the arguments' text."""
    wanted = [*step.get("tool_calls", []), *([step["tool_call"]] if "tool_call" in step else [])]
    calls = []
    for number, call in enumerate(wanted):
        fitting = [
            name
            for name in names
            if name == call.get("name") or ("name_contains" in call and call["name_contains"] in name)
        ]
        if not fitting and "name" not in call:
            raise BadScript(f"no offered tool contains {call.get('name_contains')!r}; offered: {names}")
        calls.append(
            {
                "id": call.get("id", f"call_{used}_{number}"),
                "name": fitting[0] if fitting else call["name"],
                "arguments": call.get("raw_arguments", json.dumps(call.get("arguments", {}))),
            }
        )
    return calls


def _pieces(step: Step, body: dict[str, Any]) -> list[str]:
    text = step.get("text", "")
    pieces = text if isinstance(text, list) else text.replace(" ", " \0").split("\0") if text else []
    user, output = _newest(body)
    return [piece.replace("{tool_output}", output).replace("{user}", user) for piece in pieces]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


# -- the two protocols: events, each as its bytes --------------------------------------------------------------


class Words(bytes):
    """An event that carries a piece of the text."""


class Answer:
    """One scripted answer, ready to be written in either protocol."""

    def __init__(self, step: Step, body: dict[str, Any], used: int) -> None:
        self.model = body.get("model", MODEL)
        self.pieces = _pieces(step, body)
        self.calls = _calls(step, _tool_names(body), used)
        self.stop = step.get("stop", "tool_use" if self.calls else "end")
        counted = [len(json.dumps(body).split()), len(self.pieces) + 4 * len(self.calls)]
        usage = [*step.get("usage", counted), 0, 0]
        self.input_tokens, self.output_tokens, self.cached, self.written = usage[:4]

    def openai(self) -> Iterator[bytes]:
        """Chat completion chunks."""
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in self.pieces:
            yield Words(self._chunk({"content": piece}))
        # Parallel calls interleave, as their indexes allow.
        for index, call in enumerate(self.calls):
            function = {"name": call["name"], "arguments": ""}
            yield self._chunk(
                {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]}
            )
        for half in (0, 1):
            for index, call in enumerate(self.calls):
                part = {"index": index, "function": {"arguments": _halves(call["arguments"])[half]}}
                yield self._chunk({"tool_calls": [part]})
        yield self._chunk({}, _STOPS["openai"][self.stop])
        usage: dict[str, Any] = {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }
        if self.cached or self.written:
            usage["prompt_tokens_details"] = {
                "cached_tokens": self.cached,
                "cache_write_tokens": self.written,
            }
        yield _data({**self._base(), "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _base(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _data({**self._base(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def anthropic(self) -> Iterator[bytes]:
        """Message stream events."""
        fresh = self.input_tokens - self.cached - self.written
        usage = {"input_tokens": fresh, "output_tokens": 1}
        if self.cached or self.written:
            usage |= {
                "cache_read_input_tokens": self.cached,
                "cache_creation_input_tokens": self.written,
            }
        start = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": []}
        yield _event(
            "message_start", message={**start, "stop_reason": None, "stop_sequence": None, "usage": usage}
        )
        yield _event("ping")
        index = 0
        if self.pieces:
            yield _event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for piece in self.pieces:
                delta = {"type": "text_delta", "text": piece}
                yield Words(_event("content_block_delta", index=index, delta=delta))
            yield _event("content_block_stop", index=index)
            index += 1
        for number, call in enumerate(self.calls, start=index):
            block = {"type": "tool_use", "id": call["id"], "name": call["name"], "input": {}}
            yield _event("content_block_start", index=number, content_block=block)
            for half in _halves(call["arguments"]):
                delta = {"type": "input_json_delta", "partial_json": half}
                yield _event("content_block_delta", index=number, delta=delta)
            yield _event("content_block_stop", index=number)
        stop = {"stop_reason": _STOPS["anthropic"][self.stop], "stop_sequence": None}
        yield _event("message_delta", delta=stop, usage={"output_tokens": self.output_tokens})
        yield _event("message_stop")


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + _data({**fields, "type": kind})


def _error_body(vendor: str, step: Step) -> dict[str, Any]:
    words = step.get("error", "the script says so")
    kind = step.get("code", "scripted_error")
    if vendor == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": words}}
    return {"error": {"message": words, "type": kind, "code": kind}}


def _error_event(vendor: str, step: Step) -> bytes:
    body = _error_body(vendor, step)
    return b"event: error\n" + _data(body) if vendor == "anthropic" else _data(body)


# -- the server --------------------------------------------------------------------------------------------


class Server:
    """Reads requests, uses up steps and writes answers."""

    def __init__(self, script: list[Step] | dict[str, Any]) -> None:
        whole = script if isinstance(script, dict) else {"steps": script}
        self.steps: list[Step] = list(whole.get("steps", []))
        self.then: Step = whole.get("then", THEN)
        self.models: list[dict[str, Any]] = [
            model if isinstance(model, dict) else {"id": model} for model in whole.get("models", [MODEL])
        ]
        self.listings = 0
        self.used: set[int] = set()
        self.log: list[dict[str, Any]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which carries one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            method, path, headers, body = await _read_request(reader)
            await self._route(method, path.partition("?")[0], headers, body, reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def _route(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if method == "POST" and path in _PATHS:
            await self._answer(_PATHS[path], headers, json.loads(body), reader, writer)
        elif method == "GET" and path == "/v1/models":
            listed = [
                {"object": "model", "type": "model", "created": 1, "owned_by": "script",
                 "display_name": model["id"], "created_at": "2026-01-01T00:00:00Z", **model}
                for model in self.models
            ]  # fmt: skip
            self.listings += 1
            page = {"has_more": False, "first_id": None, "last_id": None}
            await _respond(writer, 200, {"object": "list", "data": listed, **page})
        elif method == "GET" and path == "/log":
            left = len(self.steps) - len(self.used)
            await _respond(writer, 200, {"requests": self.log, "left": left, "listings": self.listings})
        elif method == "POST" and path == "/steps":
            self.steps.extend(json.loads(body))
            await _respond(writer, 200, {"left": len(self.steps) - len(self.used)})
        else:
            await _respond(
                writer, 404, {"error": {"message": f"no {method} {path}", "type": "not_found_error"}}
            )

    def _next(self, body: dict[str, Any]) -> tuple[int | None, Step]:
        newest = _newest_message(body)
        for number, step in enumerate(self.steps):
            if number not in self.used and step.get("when", "") in newest:
                self.used.add(number)
                return number, step
        return None, self.then

    async def _answer(
        self,
        vendor: str,
        headers: dict[str, str],
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        number, step = self._next(body)
        entry: dict[str, Any] = {
            "step": number,
            "vendor": vendor,
            "model": body.get("model"),
            "user": _newest(body)[0],
            "tools": _tool_names(body),
            "headers": headers,
            "body": body,
            "ended": "running",
        }
        self.log.append(entry)
        telling = asyncio.create_task(self._tell(vendor, step, body, writer))
        # The client sends nothing more: whatever can be read now is its end of the connection closing.
        leaving = asyncio.create_task(reader.read(1))
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        gone = not telling.done()
        telling.cancel()
        leaving.cancel()
        told, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        entry["ended"] = told if isinstance(told, str) and not gone else "disconnected"

    async def _tell(self, vendor: str, step: Step, body: dict[str, Any], writer: asyncio.StreamWriter) -> str:
        await asyncio.sleep(step.get("delay", 0))
        if "status" in step:
            extra = {"retry-after": str(step["retry_after"])} if "retry_after" in step else {}
            await _respond(writer, step["status"], _error_body(vendor, step), extra)
            return "error"
        try:
            if body.get("stream") is not True:
                raise BadScript("this model only streams")
            answer = Answer(step, body, len(self.log))
        except BadScript as problem:
            await _respond(writer, 400, _error_body(vendor, {"error": str(problem), "code": "bad_script"}))
            return "error"
        writer.write(_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        await writer.drain()
        said = 0
        async for event in _paced(_events(vendor, answer, step), step.get("chunk_delay", 0)):
            if said == step.get("cut_after"):
                # Without the closing chunk, so that the client knows that something is missing.
                return "cut"
            if said == step.get("error_after"):
                await _write_chunk(writer, _error_event(vendor, step))
                return "error"
            await _write_chunk(writer, event)
            said += isinstance(event, Words)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return "answered"


async def _write_chunk(writer: asyncio.StreamWriter, event: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
    await writer.drain()


def _events(vendor: str, answer: Answer, step: Step) -> Iterator[bytes]:
    if step.get("garbage"):
        return iter([b"event: message_start\ndata: {this is not json\n\n"])
    if "events" in step:
        return (
            _data(event)
            if vendor == "openai"
            else _event(event["type"], **{k: v for k, v in event.items() if k != "type"})
            for event in step["events"]
        )
    return answer.openai() if vendor == "openai" else answer.anthropic()


async def _paced(events: Iterator[bytes], delay: float) -> AsyncIterator[bytes]:
    for number, event in enumerate(events):
        if number:
            await asyncio.sleep(delay)
        yield event


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    pairs = (line.split(":", 1) for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    size = int(headers.get("content-length", "0"))
    if size > _MAX_BODY:
        raise ConnectionError("body too long")
    return method, path, headers, await reader.readexactly(size)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", "connection: close", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _respond(
    writer: asyncio.StreamWriter, status: int, value: Any, extra: dict[str, str] | None = None
) -> None:
    body = json.dumps(value).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(extra or {})}
    writer.write(_head(status, headers) + body)
    await writer.drain()


# -- from a test -------------------------------------------------------------------------------------------


class ScriptedModel:
    """A running scripted model, as a test sees it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def base_url(self, vendor: str) -> str:
        """The base URL as the vendor's SDK wants it."""
        return f"{self.url}/v1" if vendor == "openai" else self.url

    def environ(self, vendor: str = "openai") -> dict[str, str]:
        """Environment variables that make Umbrella use this model."""
        prefix = vendor.upper()
        return {
            f"{prefix}_BASE_URL": self.base_url(vendor),
            f"{prefix}_API_KEY": KEY,
            f"{prefix}_MODEL": MODEL,
        }

    def requests(self) -> list[dict[str, Any]]:
        """The requests for answers so far."""
        requests: list[dict[str, Any]] = self._ask("/log")["requests"]
        return requests

    def listings(self) -> int:
        """How often its models were asked for."""
        return int(self._ask("/log")["listings"])

    def add(self, *steps: Step) -> None:
        """Add steps to the end of the script."""
        self._ask("/steps", list(steps))

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data=data), timeout=10) as response:
            return json.loads(response.read())


@contextlib.contextmanager
def scripted_model(script: list[Step] | dict[str, Any]) -> Iterator[ScriptedModel]:
    """Run a scripted model in a process of its own; it ends with the block, or with this process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "script.json")
        file.write_text(json.dumps(script))
        command = [sys.executable, __file__, "--port", "0", "--script", str(file), "--until-stdin-closes"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                if not line.strip().isdigit():
                    raise RuntimeError("the scripted model did not start; see its error output above")
                yield ScriptedModel(int(line))
            finally:
                process.stdin.close()
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()


# -- as a process ------------------------------------------------------------------------------------------


async def _serve(port: int, script: list[Step] | dict[str, Any], until_stdin_closes: bool) -> None:
    server = await asyncio.start_server(Server(script).handle, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    if not until_stdin_closes:
        await server.serve_forever()
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    await over.wait()
    # Not closed politely: a client that still waits for an answer must not keep the process.
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="A language model that follows a script.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, required=True, help="a JSON file; see this file's beginning")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started it"
    )
    options = parser.parse_args()
    script = json.loads(options.script.read_text())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, script, options.until_stdin_closes))


if __name__ == "__main__":
    main()
