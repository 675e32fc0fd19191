"""MCP clients that we did not write, at a real `umbrella serve` and at `umbrella mcp serve`, in both eras."""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from commanding import program, umbrella
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    PromptReference,
    TextContent,
    TextResourceContents,
)
from node_programs import npm_program
from serving import Running, running

from mcp_interface.access import CreateKey
from mcp_interface.cataloging import CreateItem, CreatePrompt
from mcp_interface.commands import AddServer, Wish
from mcp_interface.key import NewKey
from mcp_interface.offers import PromptArgument
from mcp_interface.server import ServerSpec

ERAS = ("legacy", "modern")
MODES = ("legacy", "2026-07-28")
DOCUMENT = "demo://resource/static/document/architecture.md"
BLOB_7 = "demo://resource/dynamic/blob/7"
ALL = ("mcp://tool/execute/everything/**", "mcp://tool/read/everything/**")
ECHO = "mcp://tool/execute/everything/echo"
SECONDS = 60.0
REFUSED, NO_SUCH_TOOL = 3, 5
"""Exit codes of the Inspector."""

pytestmark = [
    pytest.mark.node_server,
    # The SDK warns of what the newer era has left behind; servers of the older one still ask for it.
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, everything_stdio: ServerSpec) -> Iterator[Running]:
    """A node with server-everything behind it, and something of its own."""
    with running(tmp_path_factory.mktemp("node")) as server:
        status = server.ask(AddServer(name="everything", spec=everything_stdio))
        assert status.state == "ready", status
        server.ask(CreateItem(uri="note:own", kind="text", name="own", text="of the node itself"))
        server.ask(
            CreatePrompt(name="greet", template="Greet {{name}}", arguments=[PromptArgument(name="name")])
        )
        yield server


@pytest.fixture(scope="module")
def whole(served: Running) -> NewKey:
    """A key for everything that the server behind the node offers."""
    return key(served, "whole", *ALL)


def key(served: Running, name: str, *rights: str) -> NewKey:
    return served.ask(CreateKey(name=name, grants=[Wish(resource_uri=right) for right in rights]))


# -- the Inspector, over the TypeScript SDK --------------------------------------------------------------


class Inspector:
    """The Inspector's command line.

    Args:
        home: Where it may keep what it keeps.
        where: What it connects to.
    """

    def __init__(self, home: Path, *where: str) -> None:
        self._home = home
        self._where = where

    def __call__(self, method: str, *options: str, era: str = "modern", code: int = 0) -> Any:
        """Use one method; the result, or the error where there is to be one."""
        inspector = npm_program(
            "@modelcontextprotocol/inspector", "2.12.0", "clients/launcher/build/index.js"
        )
        quiet = ("--format", "json", "--quiet", "--stored-auth-only")
        done = subprocess.run(
            [
                *inspector.command("--cli", "--protocol-era", era, *quiet, "--method", method, *options),
                *self._where,
            ],
            env={"PATH": f"{inspector.node / 'bin'}:/usr/bin:/bin", "HOME": str(self._home)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, (method, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)["result"] if code == 0 else json.loads(done.stderr)["error"]

    def all(self, era: str, *methods: tuple[str, ...]) -> list[Any]:
        """Use several, two at a time: an Inspector takes a second to start."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda method: self(*method, era=era), methods))


def over_http(served: Running, home: Path, secret: str) -> Inspector:
    return Inspector(
        home,
        "--server-url",
        f"{served.url}mcp",
        "--transport",
        "http",
        "--header",
        f"Authorization: Bearer {secret}",
    )


def over_stdio(served: Running, home: Path, secret: str = "") -> Inspector:
    given = ["-e", f"UMBRELLA_KEY={secret}"] if secret else []
    acting = ["--key-env", "UMBRELLA_KEY"] if secret else []
    return Inspector(home, *given, "--", *program(served.folder), "mcp", "serve", *acting)


def names(result: Any, kind: str = "tools") -> set[str]:
    return {each["name"] for each in result[kind]}


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_uses_all_that_a_key_holds(
    served: Running, whole: NewKey, tmp_path: Path, era: str
) -> None:
    inspect = over_http(served, tmp_path, whole.secret)
    tools, added, resources, templates, document, blob, prompts, prompt = inspect.all(
        era,
        ("tools/list", "--strict"),
        ("tools/call", "--tool-name", "everything__get-sum", "--tool-args-json", '{"a": 1, "b": 2.5}'),
        ("resources/list",),
        ("resources/templates/list",),
        ("resources/read", "--uri", DOCUMENT),
        ("resources/read", "--uri", BLOB_7),
        ("prompts/list",),
        ("prompts/get", "--prompt-name", "everything__args-prompt", "--prompt-args", "city=Bern", "state=BE"),
    )
    assert {"everything__echo", "everything__get-sum"} <= names(tools)
    assert {name.partition("__")[0] for name in names(tools)} == {"everything"}
    assert "3.5" in added["content"][0]["text"]
    assert "architecture.md" in names(resources, "resources")
    assert len(templates["resourceTemplates"]) == 2
    (read,) = document["contents"]
    assert read["text"].startswith("# Everything Server") and read["mimeType"] == "text/markdown"
    (made,) = blob["contents"]
    assert base64.b64decode(made["blob"]).startswith(b"Resource 7")
    assert "everything__args-prompt" in names(prompts, "prompts")
    (message,) = prompt["messages"]
    assert message["content"]["text"] == "What's weather in Bern, BE?"


@pytest.mark.parametrize("era", ERAS)
def test_a_key_finds_only_what_it_holds(served: Running, tmp_path: Path, era: str) -> None:
    made = key(served, f"narrow {era}", ECHO)
    inspect = over_http(served, tmp_path, made.secret)
    tools, resources = inspect.all(era, ("tools/list",), ("resources/list",))
    assert names(tools) == {"everything__echo"} and resources["resources"] == []
    inspect("tools/call", "--tool-name", "everything__get-env", era=era, code=NO_SUCH_TOOL)
    hidden = inspect("resources/read", "--uri", DOCUMENT, era=era, code=1)
    assert hidden["message"] == "Resource not found"
    umbrella(served.folder, "key", "revoke", made.key.id)
    assert inspect("tools/list", era=era, code=REFUSED)["code"] == "auth_required"


def test_the_inspector_calls_ten_at_a_time(served: Running, whole: NewKey, tmp_path: Path) -> None:
    load = ("--load", "--load-requests", "100", "--load-concurrency", "10")
    call = ("--tool-name", "everything__echo", "--tool-arg", "message=hello")
    told = over_http(served, tmp_path, whole.secret)("tools/call", *call, *load)
    assert (told["ok"], told["toolErrors"], told["errors"]) == (100, 0, 0), told


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_starts_us_as_its_server(served: Running, tmp_path: Path, era: str) -> None:
    inspect = over_stdio(served, tmp_path)
    tools, resource, prompt = inspect.all(
        era,
        ("tools/list", "--strict"),
        ("resources/read", "--uri", "note:own"),
        ("prompts/get", "--prompt-name", "catalog__greet", "--prompt-args", "name=Ann"),
    )
    assert {"everything__echo", "fs__read_file", "fs__write_file"} <= names(tools), (
        "all that the owner may use"
    )
    assert resource["contents"][0]["text"] == "of the node itself"
    assert prompt["messages"][0]["content"]["text"] == "Greet Ann"


def test_over_stdio_a_key_holds_no_more_than_elsewhere(served: Running, tmp_path: Path) -> None:
    inspect = over_stdio(served, tmp_path, key(served, "stdio", ECHO).secret)
    call = ("tools/call", "--tool-name", "everything__echo", "--tool-arg", "message=hello")
    tools, echo = inspect.all("modern", ("tools/list",), call)
    assert names(tools) == {"everything__echo"} and echo["content"][0]["text"] == "Echo: hello"


# -- the bare Python SDK ---------------------------------------------------------------------------------


@asynccontextmanager
async def connected(
    served: Running, transport: str, mode: Any, secret: str, **asked: Any
) -> AsyncIterator[Client]:
    """A client over either transport."""
    if transport == "stdio":
        command, *words = [*program(served.folder), "mcp", "serve", "--key-env", "UMBRELLA_KEY"]
        spec = StdioServerParameters(command=command, args=words, env={"UMBRELLA_KEY": secret})
        async with Client(spec, mode=mode, cache=None, read_timeout_seconds=SECONDS, **asked) as client:
            yield client
        return
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=SECONDS) as http:
        link = streamable_http_client(f"{served.url}mcp", http_client=http)
        async with Client(link, mode=mode, cache=None, read_timeout_seconds=SECONDS, **asked) as client:
            yield client


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, SECONDS))


def said(result: Any) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


each_way = pytest.mark.parametrize("mode", MODES)
each_transport = pytest.mark.parametrize("transport", ["http", "stdio"])


@each_transport
@each_way
def test_a_client_answers_itself_what_a_server_of_the_older_era_asks(
    served: Running, whole: NewKey, transport: str, mode: str
) -> None:
    async def fill_in(context: Any, params: Any) -> ElicitResult:
        if params.mode == "url":
            return ElicitResult(action="decline")
        assert "name" in params.requested_schema["properties"]
        return ElicitResult(action="accept", content={"name": "Ann", "check": True})

    async def speak(context: Any, params: Any) -> CreateMessageResult:
        assert "context: hello" in params.messages[0].content.text
        words = TextContent(type="text", text="words of the client")
        return CreateMessageResult(role="assistant", content=words, model="none")

    async def scenario() -> None:
        answering: Any = {"elicitation_callback": fill_in, "sampling_callback": speak}
        async with connected(served, transport, mode, whole.secret, **answering) as client:
            form = await client.call_tool("everything__trigger-elicitation-request", {})
            assert "Name: Ann" in said(form) and not form.is_error
            page = await client.call_tool(
                "everything__trigger-url-elicitation", {"url": "https://example.org"}
            )
            assert "declined" in said(page)
            words = await client.call_tool("everything__trigger-sampling-request", {"prompt": "hello"})
            assert "words of the client" in said(words)

    run(scenario())


@each_transport
@each_way
def test_a_client_reads_completes_and_is_told_of_progress(
    served: Running, whole: NewKey, transport: str, mode: str
) -> None:
    async def scenario() -> None:
        steps: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            steps.append(done)

        async with connected(served, transport, mode, whole.secret) as client:
            assert "everything__echo" in {tool.name for tool in (await client.list_tools()).tools}
            weather = await client.call_tool("everything__get-structured-content", {"location": "Chicago"})
            assert weather.structured_content is not None and "humidity" in weather.structured_content
            wrong = await client.call_tool("everything__get-sum", {"a": 1})
            assert wrong.is_error and "'b'" in said(wrong)
            (document,) = (await client.read_resource(DOCUMENT)).contents
            assert isinstance(document, TextResourceContents) and document.text.startswith("# Everything")
            chosen = PromptReference(type="ref/prompt", name="everything__completable-prompt")
            found = await client.complete(chosen, {"name": "department", "value": "S"})
            assert found.completion.values == ["Sales", "Support"]
            call = {"duration": 0.4, "steps": 4}
            await client.call_tool(
                "everything__trigger-long-running-operation", call, progress_callback=progress
            )
            assert steps and steps == sorted(steps)

    run(scenario())


@each_way
def test_what_a_key_does_not_hold_looks_as_if_it_were_not_there(served: Running, mode: str) -> None:
    made = key(served, f"blind {mode}", ECHO)

    async def refusal(work: Any) -> tuple[int, str]:
        with pytest.raises(MCPError) as refused:
            await work
        return refused.value.error.code, refused.value.error.message

    async def scenario() -> None:
        async with connected(served, "http", mode, made.secret) as client:
            assert (await client.list_prompts()).prompts == []
            hidden, absent = [
                [
                    await refusal(client.read_resource(f"demo://resource/{name}")),
                    await refusal(client.get_prompt(f"everything__{prompt}")),
                    await refusal(client.call_tool(f"everything__{tool}", {})),
                ]
                for name, prompt, tool in (
                    ("dynamic/text/1", "simple-prompt", "get-env"),
                    ("dynamic/none/1", "absent-prompt", "get-nil"),
                )
            ]
            for ours, none in zip(hidden, absent, strict=True):
                assert ours[0] == none[0], (hidden, absent)
                assert ours[1] == none[1].replace("absent", "simple").replace("get-nil", "get-env")

    run(scenario())


@each_transport
@each_way
def test_a_revoked_key_is_out_at_once_also_of_what_it_had_opened(
    served: Running, transport: str, mode: str
) -> None:
    made = key(served, f"revoked {transport} {mode}", ECHO)
    echo = ("everything__echo", {"message": "hello"})

    async def scenario() -> None:
        bearer = {"authorization": f"Bearer {made.secret}"}
        assert httpx.get(f"{served.url}api/tools", headers=bearer).status_code == 200
        async with connected(served, transport, mode, made.secret) as client:
            assert said(await client.call_tool(*echo)) == "Echo: hello"
            await asyncio.to_thread(umbrella, served.folder, "key", "revoke", made.key.id)
            try:
                refused = await client.call_tool(*echo)
            except MCPError:
                pass
            else:
                assert refused.is_error and "Echo" not in said(refused)
        assert httpx.get(f"{served.url}api/tools", headers=bearer).status_code == 401

    run(scenario())
