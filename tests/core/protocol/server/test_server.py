"""Our MCP server in front of a real node, spoken to by the SDK's own client in both eras."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ElicitResult
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    ElicitRequestParams,
    InputRequiredResult,
    TextContent,
)

from mcp_core import Node, Portal, Settings, open_seal
from mcp_core.protocol.server.server import make_server
from mcp_interface.access import CreateKey, ListKeys, Publish, RevokeKey
from mcp_interface.client import Client as NodeClient
from mcp_interface.client import ClientInfo, Welcome
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.commands import (
    AddServer,
    CheckLogin,
    GrantCapability,
    ListServers,
    ListSessions,
    RevokeCapability,
    Wish,
)
from mcp_interface.execution import ListExecutions
from mcp_interface.key import Publication
from mcp_interface.server import ServerSpec

START_S = 100.0
FIXTURES = Path(__file__).parents[3] / "conformance" / "fixtures_server.py"
RUN_ALL = Wish(resource_uri="mcp://tool/execute/fx/**")
READ_ALL = Wish(resource_uri="mcp://tool/read/fx/**")
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
ALL = Publication(name="all", tools=["fx/*"], resources=["fx/*"], prompts=["fx/*"], bare_names=True)


class Desk:
    """A node with the fixtures server, and MCP clients of as many principals as wanted."""

    def __init__(self, node: Node, owner: NodeClient, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.node = node
        self.owner = owner
        self._seal = open_seal(folder, SystemEntropy())
        self._loop = loop
        self._made = 0

    def run(self, work: Callable[["Desk"], Coroutine[Any, Any, None]]) -> None:
        """Run a test on the node's event loop."""

        async def bounded() -> None:
            async with asyncio.timeout(START_S):
                await work(self)

        asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    async def key(self, name: str, *wishes: Wish) -> str:
        """A key of a new principal."""
        self._made += 1
        return (await self.owner.request(CreateKey(name=f"{name} {self._made}", grants=list(wishes)))).secret

    @asynccontextmanager
    async def client(
        self, token: str, mode: str = "auto", publication: str | None = None, name: str = "test", **asked: Any
    ) -> AsyncIterator[Client]:
        async def connect() -> tuple[NodeClient, Welcome]:
            client = self.node.client()
            return client, await client.connect(ClientInfo(name="mcp", token=token))

        portal = Portal(connect, name, publication, SystemClock())
        try:
            async with Client(
                make_server(lambda _: portal, self._seal),
                mode=mode,  # type: ignore[arg-type]
                cache=None,
                **asked,
            ) as client:
                yield client
        finally:
            await portal.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One node for all tests here, on an event loop of its own."""
    loop, started = asyncio.new_event_loop(), Future[Desk]()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="node of the tests")
    over = asyncio.Event()

    async def serve() -> None:
        folder = tmp_path_factory.mktemp("node")
        try:
            async with Node(Settings(data_dir=folder)) as node:
                owner = node.client()
                await owner.connect(ClientInfo(name="test", token=node.owner_token))
                spec = ServerSpec(command=sys.executable, args=[str(FIXTURES)])
                await owner.request(AddServer(name="fx", spec=spec), timeout=START_S)
                await ready(owner)
                await owner.request(Publish(publication=ALL))
                started.set_result(Desk(node, owner, folder, loop))
                await over.wait()
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    thread.start()
    yield started.result(START_S)
    loop.call_soon_threadsafe(over.set)
    thread.join(START_S)
    loop.close()


async def ready(owner: NodeClient) -> None:
    """Wait until the fixtures server is there; on a busy machine that may take a while."""
    async with asyncio.timeout(START_S):
        while "fx" not in {s.name for s in (await owner.request(ListServers())).items if s.state == "ready"}:
            await asyncio.sleep(0.05)


def text_of(result: CallToolResult | InputRequiredResult) -> str:
    assert isinstance(result, CallToolResult)
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


@ERAS
def test_a_client_sees_what_its_principal_holds_and_calls_it(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        read = Wish(resource_uri="mcp://fs/read/etc/**")
        one = Wish(resource_uri="mcp://tool/execute/fx/test_simple_text")
        key = await desk.key("laptop", read, one)
        async with desk.client(key, mode, name="laptop") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert "fx__test_simple_text" in names and "fs__read_file" in names
            assert "fx__test_image_content" not in names and not [n for n in names if n.startswith("shell")]
            assert "simple text" in text_of(await client.call_tool("fx__test_simple_text", {}))
            result = await client.call_tool("fs__read_file", {"path": "/etc/hostname"})
            assert not result.is_error and text_of(result)
            denied = await client.call_tool("fs__read_file", {"path": "/var/x"})
            assert denied.is_error and "umbrella grant" in text_of(denied)
            wrong = await client.call_tool("fs__read_file", {"nothing": 1})
            assert wrong.is_error and "nothing" in text_of(wrong)
            for hidden in ("fx__test_image_content", "shell__run", "fx__absent"):
                with pytest.raises(MCPError) as caught:
                    await client.call_tool(hidden, {})
                assert caught.value.error.code == INVALID_PARAMS
        sessions = [each.title for each in (await desk.owner.request(ListSessions())).items]
        assert "mcp: laptop" not in sessions, "it is the session of the key's principal"

    desk.run(work)


def test_each_keys_calls_are_recorded_in_a_session_of_its_own(desk: Desk) -> None:
    async def work(desk: Desk) -> None:
        for name in ("a", "b", "a"):
            async with desk.client(desk.node.owner_token, publication=None, name=name) as client:
                await client.call_tool("fx__test_simple_text", {})
        titles = [each.title for each in (await desk.owner.request(ListSessions())).items]
        assert sorted(titles)[:2] == ["mcp: a", "mcp: b"] and titles.count("mcp: a") == 1

    desk.run(work)


@ERAS
def test_resources_prompts_and_completions_pass_through(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        async with desk.client(desk.node.owner_token, mode, "all") as client:
            uris = [each.uri for each in (await client.list_resources()).resources]
            assert "test://static-text" in uris
            (content,) = (await client.read_resource("test://static-text")).contents
            assert content.text.startswith("This is the content")  # type: ignore[union-attr]
            (binary,) = (await client.read_resource("test://static-binary")).contents
            assert binary.blob  # type: ignore[union-attr]
            (made,) = (await client.read_resource("test://template/7/data")).contents
            assert '"7"' in made.text  # type: ignore[union-attr]
            with pytest.raises(MCPError) as caught:
                await client.read_resource("test://absent")
            assert caught.value.error.data == {"uri": "test://absent"}
            templates = (await client.list_resource_templates()).resource_templates
            assert [each.uri_template for each in templates] == ["test://template/{id}/data"]
            prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
            assert "arg1='a'" in prompt.messages[0].content.text  # type: ignore[union-attr]
            with pytest.raises(MCPError):
                await client.get_prompt("absent")
        stranger = await desk.key("stranger", RUN_ALL)
        async with desk.client(stranger, mode, "all") as client:
            assert not (await client.list_resources()).resources
            assert not (await client.list_prompts()).prompts
            with pytest.raises(MCPError):
                await client.read_resource("test://static-text")
            with pytest.raises(MCPError):
                await client.get_prompt("test_simple_prompt")

    desk.run(work)


@ERAS
def test_what_a_tool_wants_to_know_reaches_the_client_and_the_answer_the_tool(desk: Desk, mode: str) -> None:
    asked: list[str] = []

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ann"})

    async def work(desk: Desk) -> None:
        token = desk.node.owner_token
        async with desk.client(token, mode, elicitation_callback=answer) as client:
            result = await client.call_tool("fx__test_input_required_result_elicitation", {})
            assert text_of(result) == "Hello, Ann!"
        assert asked == ["What is your name?"]
        async with desk.client(token, mode) as client:
            with pytest.raises(MCPError) as caught:
                await client.call_tool("fx__test_missing_capability", {})
            assert caught.value.error.data == {"requiredCapabilities": {"sampling": {}}}

    desk.run(work)


def test_a_state_is_good_for_its_principal_and_tool_only_and_on_any_server(desk: Desk) -> None:
    tool = "fx__test_input_required_result_elicitation"
    answers: Any = {"user_name": ElicitResult(action="accept", content={"name": "Bob"})}

    async def never(context: Any, params: Any) -> ElicitResult:
        raise AssertionError("the raw result is wanted")

    async def work(desk: Desk) -> None:
        mine, others = await desk.key("mine", RUN_ALL), await desk.key("others", RUN_ALL)
        asked = {"elicitation_callback": never}
        async with desk.client(mine, **asked) as client:
            first = await client.session.call_tool(tool, {}, allow_input_required=True)
            assert isinstance(first, InputRequiredResult) and first.request_state
        async with desk.client(others, **asked) as client:
            await _refused(client, tool, answers, first.request_state)
        async with desk.client(
            mine, **asked
        ) as client:  # another connection, as after a restart of the server
            await _refused(client, tool, answers, first.request_state + "x")
            await _refused(client, "fx__test_streaming_elicitation", answers, first.request_state)
            last = await client.session.call_tool(
                tool, {}, input_responses=answers, request_state=first.request_state
            )
            assert text_of(last) == "Hello, Bob!"

    desk.run(work)


def test_a_state_is_taken_up_by_another_key_of_the_same_principal(desk: Desk) -> None:
    tool = "fx__test_input_required_result_elicitation"
    answers: Any = {"user_name": ElicitResult(action="accept", content={"name": "Bob"})}

    async def never(context: Any, params: Any) -> ElicitResult:
        raise AssertionError("the raw result is wanted")

    async def work(desk: Desk) -> None:
        old = await desk.key("old", RUN_ALL)
        principal = (await desk.owner.request(CheckLogin(key=old))).principal_id
        new = (await desk.owner.request(CreateKey(name="new", principal_id=principal))).secret
        async with desk.client(old, name="old", elicitation_callback=never) as client:
            first = await client.session.call_tool(tool, {}, allow_input_required=True)
            assert isinstance(first, InputRequiredResult)
        async with asyncio.timeout(20), desk.client(new, name="new", elicitation_callback=never) as client:
            last = await client.session.call_tool(
                tool, {}, input_responses=answers, request_state=first.request_state
            )
            assert text_of(last) == "Hello, Bob!"

    desk.run(work)


async def _refused(client: Client, tool: str, answers: Any, state: str) -> None:
    with pytest.raises(MCPError) as caught:
        await client.session.call_tool(tool, {}, input_responses=answers, request_state=state)
    assert caught.value.error.code == INVALID_PARAMS


@ERAS
def test_progress_comes_in_order_and_before_the_end(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        shares: list[float] = []

        async def report(progress: float, total: float | None, message: str | None) -> None:
            assert total == 100
            shares.append(progress)

        async with desk.client(desk.node.owner_token, mode) as client:
            await client.call_tool("fx__test_tool_with_progress", {}, progress_callback=report)
        assert shares == [0, 50, 100]

    desk.run(work)


@ERAS
def test_who_gives_a_call_up_has_it_cancelled(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        key, begun = await desk.key("impatient", RUN_ALL), asyncio.Event()
        watching = desk.node.client()
        await watching.connect(ClientInfo(name="x", token=key))

        async def report(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async with desk.client(key, mode) as client:
            call = asyncio.create_task(client.call_tool("fx__slow", {}, progress_callback=report))
            await begun.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            async with asyncio.timeout(10):
                while (await _statuses(watching)) != ["CANCELLED"]:
                    await asyncio.sleep(0.05)

    desk.run(work)


async def _statuses(client: NodeClient) -> list[str]:
    return [each.status for each in (await client.request(ListExecutions())).items]


@ERAS
def test_a_change_of_the_tools_is_told(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        heard = asyncio.Event()

        async def hear(message: Any) -> None:
            if "ToolListChanged" in type(message).__name__:
                heard.set()

        async with desk.client(desk.node.owner_token, mode, message_handler=hear) as client:
            before = {tool.name for tool in (await client.list_tools()).tools}
            async with asyncio.timeout(20):
                if mode == "legacy":
                    await client.call_tool("fx__test_trigger_tool_change", {})
                    await heard.wait()
                else:
                    async with client.listen(tools_list_changed=True) as events:
                        await client.call_tool("fx__test_trigger_tool_change", {})
                        await anext(aiter(events))
            after = {tool.name for tool in (await client.list_tools()).tools}
            assert {name[:21] for name in after - before} == {"fx__test_dynamic_tool"}

    desk.run(work)


@ERAS
def test_a_client_is_told_when_its_rights_have_changed(desk: Desk, mode: str) -> None:
    async def work(desk: Desk) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def hear(message: Any) -> None:
            if "ToolListChanged" in type(message).__name__:
                heard.put_nowait("tools")

        token = await desk.key(f"widened {mode}")
        owner = desk.owner
        async with desk.client(token, mode, message_handler=hear) as client, AsyncExitStack() as stack:

            async def told() -> None:
                async with asyncio.timeout(20):
                    await (heard.get() if events is None else anext(events))

            async def shown() -> int:
                return len(
                    [tool for tool in (await client.list_tools()).tools if tool.name.startswith("fx__")]
                )

            events = None
            if mode != "legacy":
                listening = await stack.enter_async_context(client.listen(tools_list_changed=True))
                events = aiter(listening)
            assert await shown() == 0
            (key,) = [
                each for each in (await owner.request(ListKeys())).items if f"widened {mode}" in each.name
            ]
            granted = await owner.request(
                GrantCapability(agent=key.principal_id, resource_uri=RUN_ALL.resource_uri)
            )
            await told()
            assert await shown() > 0
            await owner.request(RevokeCapability(capability_id=granted.id))
            await told()
            assert await shown() == 0

    desk.run(work)


def test_a_revoked_key_calls_nothing_more_on_a_new_connection(desk: Desk) -> None:
    async def work(desk: Desk) -> None:
        key = await desk.key("gone", RUN_ALL)
        (named,) = [each.name for each in (await desk.owner.request(ListKeys())).items if "gone" in each.name]
        await desk.owner.request(RevokeKey(key=named))
        with pytest.raises(BaseException, match=r"revoked|-32603|unhandled"):
            async with desk.client(key) as client:
                await client.list_tools()

    desk.run(work)
