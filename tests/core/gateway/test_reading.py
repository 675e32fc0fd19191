"""Reading resources and prompts of connected servers: only with a right, and on record."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mcp_core.gateway.handlers.reading import ReadingCommands
from mcp_core.protocol import Host
from mcp_core.runtime.supervisor import Supervisor
from mcp_interface.address import resource
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.offers import CATALOG, Contents, PromptInfo, PromptResult, ResourceInfo, resource_right
from mcp_interface.question import Response
from mcp_interface.reading import (
    Complete,
    GetPrompt,
    ListPrompts,
    ListResources,
    ListTemplates,
    ReadResource,
    UnwatchResource,
    WatchResource,
)
from mcp_interface.server import ServerSpec
from mcp_interface.testing import FakeKernel, SeededEntropy

SCRIPT = Path(__file__).parents[1] / "protocol" / "servers" / "asking_server.py"
OWNER, GUEST = [PrincipalId(new_id("user", SeededEntropy(seed))) for seed in (1, 2)]


class Shelf:
    """A catalog with one resource and one prompt."""

    async def resources(self, who: PrincipalId) -> Sequence[ResourceInfo]:
        return [ResourceInfo(server=CATALOG, uri="note:mine", name="mine")]

    async def templates(self, who: PrincipalId) -> Sequence[Any]:
        return []

    async def prompts(self, who: PrincipalId) -> Sequence[PromptInfo]:
        return [PromptInfo(server=CATALOG, name="sum")]

    async def read(self, who: PrincipalId, uri: str) -> list[Contents]:
        return [Contents(uri=uri, text="kept here")]

    async def prompt(self, who: PrincipalId, name: str, arguments: Mapping[str, str]) -> PromptResult:
        return PromptResult(description=f"{name} {dict(arguments)}")


def with_server(tmp_path: Path, work: Callable[..., Any]) -> None:
    async def scenario() -> None:
        clock, entropy = SystemClock(), SystemEntropy()
        host = Host(clock, entropy, tmp_path, lambda status: None, Supervisor(clock, entropy))
        kernel = FakeKernel()
        await kernel.request(OWNER, resource("tool", "read", "**"))
        reading = ReadingCommands(host, kernel, OWNER, Shelf())

        async def ask(who: PrincipalId, command: Any) -> Any:
            return await reading.handlers()[type(command)](who, command)

        try:
            status = await host.add("ask", ServerSpec(command=sys.executable, args=[str(SCRIPT), "stdio"]))
            assert status.state == "ready", status.error
            await work(ask, kernel)
        finally:
            await host.close()

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def test_the_owner_reads_everything_and_each_reading_is_on_record(tmp_path: Path) -> None:
    async def work(ask: Any, kernel: FakeKernel) -> None:
        page = await ask(OWNER, ListResources(limit=2))
        assert [(one.server, one.uri) for one in page.items] == [
            ("catalog", "note:mine"),
            ("ask", "note://one"),
        ]
        rest = await ask(OWNER, ListResources(limit=2, cursor=page.cursor))
        assert [one.uri for one in rest.items] == ["note://bytes"]
        assert rest.cursor is None
        assert [one.uri_template for one in (await ask(OWNER, ListTemplates())).items] == ["note://by/{name}"]
        assert {one.name for one in (await ask(OWNER, ListPrompts())).items} == {"sum", "greet", "curious"}
        assert (await ask(OWNER, ReadResource(server=CATALOG, uri="note:mine")))[0].text == "kept here"
        assert (await ask(OWNER, ReadResource(server="ask", uri="note://by/me")))[0].text == "a note by me"
        recorded = kernel.audit[-1]
        assert (recorded.decision, recorded.principal_id) == ("allowed", OWNER)
        assert recorded.resource_uri == resource_right("ask", "note://by/me").uri
        result = await ask(OWNER, GetPrompt(server="ask", name="greet", arguments={"name": "Ada"}))
        assert result.messages[0].content["text"] == "Greet Ada, kind"
        wish = Complete(server="ask", kind="prompt", name="greet", argument="name", value="G")
        assert (await ask(OWNER, wish)).values == ["Grace"]
        await ask(OWNER, WatchResource(server="ask", uri="note://one"))
        await ask(OWNER, UnwatchResource(server="ask", uri="note://one"))
        with pytest.raises(NotFound, match="did you mean 'ask'"):
            await ask(OWNER, ListResources(server="asks"))

    with_server(tmp_path, work)


def test_a_guest_finds_what_they_hold_a_right_on_and_nothing_else(tmp_path: Path) -> None:
    async def work(ask: Any, kernel: FakeKernel) -> None:
        await kernel.request(GUEST, resource_right("ask", "note://one"))
        assert [one.uri for one in (await ask(GUEST, ListResources(server="ask"))).items] == ["note://one"]
        assert (await ask(GUEST, ListTemplates(server="ask"))).items == []
        assert (await ask(GUEST, ListPrompts(server="ask"))).items == []
        assert (await ask(GUEST, ListPrompts(server="nowhere"))).items == []
        assert (await ask(GUEST, ReadResource(server="ask", uri="note://one")))[0].text == "the first note"

        async def refusal(command: Any) -> tuple[str, str, dict[str, Any]]:
            with pytest.raises(NotFound) as caught:
                await ask(GUEST, command)
            return caught.value.message, caught.value.remedy, caught.value.details

        hidden = await refusal(ReadResource(server="ask", uri="note://bytes"))
        assert kernel.audit[-1].decision == "denied"
        assert hidden == (
            "'ask' has no 'note://bytes'",
            "list what there is",
            {"server": "ask"},
        )
        await kernel.request(GUEST, resource_right("ask", "note://gone"))  # allowed, but not there
        assert await refusal(ReadResource(server="ask", uri="note://gone")) == (
            "'ask' has no 'note://gone'",
            "list what there is",
            {"server": "ask"},
        )
        assert (await refusal(ReadResource(server="nowhere", uri="x:y")))[2] == {"server": "nowhere"}
        for command in (
            WatchResource(server="ask", uri="note://bytes"),
            GetPrompt(server="ask", name="greet"),
            Complete(server="ask", kind="prompt", name="greet", argument="name"),
            Complete(server="ask", kind="template", name="note://by/{name}", argument="name"),
        ):
            await refusal(command)

    with_server(tmp_path, work)


def test_the_owner_without_the_right_is_told_which_grant_helps(tmp_path: Path) -> None:
    async def work(ask: Any, kernel: FakeKernel) -> None:
        for held in kernel.held_by(OWNER):
            await kernel.revoke(held.id, OWNER)
        assert (await ask(OWNER, ListResources(server="ask"))).items == []
        with pytest.raises(NotPermitted) as caught:
            await ask(OWNER, ReadResource(server="ask", uri="note://one"))
        assert "umbrella grant" in caught.value.remedy

    with_server(tmp_path, work)


def test_what_a_prompt_wants_to_know_first_is_its_result_and_the_answers_come_with_the_next(
    tmp_path: Path,
) -> None:
    async def work(ask: Any, kernel: FakeKernel) -> None:
        command = GetPrompt(server="ask", name="curious", answers=["form"])
        wanted = await ask(OWNER, command)
        (inquiry,) = wanted.inquiries
        assert (inquiry.key, inquiry.kind, wanted.messages) == ("who", "form", [])
        answered = GetPrompt(
            server="ask",
            name="curious",
            answers=["form"],
            state=wanted.state,
            responses={"who": Response(action="accept", content={"name": "Ada"})},
        )
        for junk in (
            "junk",
            '"x"',
            "{}",
            '{"state":null}',
            '{"state":"s","task":"t","kinds":{"who":"form"}}',
        ):
            with pytest.raises(CallerMistaken, match="none that was handed out"):
                await ask(OWNER, msgspec.structs.replace(answered, state=junk))
        result = await ask(OWNER, answered)
        assert result.inquiries == []
        assert result.messages[0].content["text"] == "For Ada"
        told = await ask(OWNER, GetPrompt(server="ask", name="curious"))  # nobody can be asked
        assert told.messages[0].content["text"] == "For nobody"

    with_server(tmp_path, work)
