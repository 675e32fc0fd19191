"""What a question shows beside itself, and what its answers turn into; over the real kernel, desk and gate."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_core.agents.tool_executor import ToolRequest
from mcp_core.gateway import showing
from mcp_core.gateway.showing import effect, eyes, widenings
from mcp_core.tools.filesystem import filesystem_tools
from mcp_interface.address import parse_resource, resource
from mcp_interface.approval import Answer, Approval
from mcp_interface.capability import Ask, Capability, Facts, GrantOptions, Need, Verdict
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_interface.events import ApprovalAsked, ExecutionChanged
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import CountWords, SeededEntropy
from mcp_interface.tool import Preview, ToolContext, ToolInfo, ToolResult, text_result
from mcp_security.decision import within
from mcp_security.validators.filesystem import FilesystemGate


class Editor(CountWords):
    """Needs two rights, and tells what it would do in the way a test wants."""

    def __init__(self) -> None:
        self.tell: Callable[[ToolContext], Any] = lambda context: Preview(summary="something")
        self.held = threading.Event()

    def info(self) -> ToolInfo:
        return ToolInfo(server="ed", name="edit", description="Edit", destructive=False)

    def validate_args(self, args: dict[str, Any]) -> None:
        pass

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        facts = Facts(arguments=args, size=0)
        return [Need(resource("fs", each, args["path"]), facts) for each in ("write", "read")]

    async def preview(self, args: dict[str, Any], context: ToolContext) -> Preview | None:
        found = self.tell(context)
        if asyncio.iscoroutine(found):
            found = await found
        kept: Preview | None = found
        return kept

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        return text_result("edited")


class Scene:
    """An agent's call in a session, and whoever answers it."""

    def __init__(self, house: Any, session: Any, agent: Any) -> None:
        self.house, self.session, self.agent = house, session, agent

    @classmethod
    async def of(cls, house: Any, **metadata: Any) -> "Scene":
        session = await house.sessions.create(house.owner, "", "ask", "", metadata)
        return cls(house, session, await house.directory.spawn("worker", "ann"))

    def call(self, path: str = "/proj/src/a.txt", server: str = "ed", tool: str = "edit", **more: Any) -> Any:
        request = ToolRequest(
            session_id=self.session.id,
            principal_id=PrincipalId(self.agent.id),
            server=server,
            tool=tool,
            arguments={"path": path, **more},
            timeout_s=5.0,
            may_ask=True,
        )
        return asyncio.ensure_future(self.house.caller.call(request))

    async def question(self, call: Any = None) -> Approval:
        async with asyncio.timeout(10):
            while True:
                for found in self.house.desk.pending():
                    if self.house.approving.is_durable(found.id):
                        approval: Approval = found
                        return approval
                if call is not None and call.done():
                    raise AssertionError(f"nobody was asked: {call}")
                await asyncio.sleep(0.005)

    async def says(self, *answers: Answer) -> list[Approval]:
        """Answer the next questions, one after the other."""
        asked = []
        for answer in answers:
            found = await self.question()
            await self.house.approving.answer(found.id, answer, self.house.owner)
            asked.append(found)
        return asked

    def rights(self) -> list[Capability]:
        held: list[Capability] = list(self.house.kernel.held_by(PrincipalId(self.agent.id)))
        return held


def played(
    open_house: Callable[..., Any], tool: Any, scenario: Callable[[Scene], Any], **metadata: Any
) -> None:
    async def play() -> None:
        async with open_house(tools=[tool]) as house:
            await scenario(await Scene.of(house, **metadata))

    asyncio.run(play())


YES = Answer(allow=True)
NO = Answer(allow=False)


def test_a_question_says_what_it_is_about(open_house: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        call = scene.call()
        first = await scene.question(call)
        assert (first.effect, first.agent_name) == ("writes", "ann")
        assert first.touches == ["mcp://fs/write/proj/src/a.txt", "mcp://fs/read/proj/src/a.txt"]
        assert first.preview == Preview(summary="something")
        assert first.precedent is None
        assert first.suggestions == [
            "mcp://fs/write/proj/src/a.txt",
            "mcp://fs/write/proj/src/**",
            "mcp://fs/write/proj/**",
        ]
        await scene.says(YES, NO)
        with pytest.raises(NotPermitted):
            await call
        call = scene.call("/proj/src/b.txt")
        (second,) = await scene.says(NO)
        assert second.precedent is not None
        assert (second.precedent.allow, second.precedent.arguments) == (False, {"path": "/proj/src/a.txt"})
        with pytest.raises(NotPermitted):
            await call
        events = [record.event for record in await scene.house.journal.read(f"session:{scene.session.id}")]
        asked = [each.approval for each in events if isinstance(each, ApprovalAsked)]
        assert first in asked and second in asked

    played(open_house, Editor(), scenario, cwd="/proj")


def test_the_preview_is_made_with_the_eyes_of_the_person_that_is_asked(
    open_house: Callable[..., Any],
) -> None:
    seen: list[ToolContext] = []
    tool = Editor()
    tool.tell = seen.append

    async def scenario(scene: Scene) -> None:
        call = scene.call()
        await scene.says(NO)
        with pytest.raises(NotPermitted):
            await call
        (context,) = seen
        assert context.principal_id == scene.house.owner
        assert (context.verdicts, context.ask, context.progress) == ([], None, None)

    played(open_house, tool, scenario)


def test_a_preview_that_fails_or_takes_too_long_is_left_out(
    open_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "PREVIEW_S", 0.02)
    tool = Editor()

    def fails(context: ToolContext) -> None:
        raise RuntimeError("kaboom")

    async def refused(context: ToolContext) -> None:
        raise NotPermitted("no", "", {})

    async def hangs(context: ToolContext) -> None:
        await asyncio.to_thread(tool.held.wait, 20)

    async def scenario(scene: Scene) -> None:
        for tell in (fails, refused, hangs, *[hangs] * showing.MOST_PREVIEWS):
            tool.tell = tell
            call = scene.call()
            (found,) = await scene.says(NO)
            assert found.preview is None
            with pytest.raises(NotPermitted):
                await call
        assert len(scene.house.showing._previews) == showing.MOST_PREVIEWS
        tool.tell = lambda context: Preview(summary="not while so many hang")
        call = scene.call()
        (found,) = await scene.says(NO)
        assert found.preview is None
        with pytest.raises(NotPermitted):
            await call
        tool.held.set()

    played(open_house, tool, scenario)


def test_a_diff_of_a_file_is_shown_to_its_person_and_never_to_the_agent(
    open_house: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path.resolve()
    (folder / "a.txt").write_text("the secret of the house\n")

    async def play() -> None:
        rooms: list[Any] = []

        def sees(who: PrincipalId, need: Need) -> Verdict:
            verdict: Verdict = rooms[0](who, need)
            return verdict

        tools = filesystem_tools(FilesystemGate(), sees)
        async with open_house(tools=tools) as house:
            rooms.append(eyes(house.kernel))
            scene = await Scene.of(house)
            uses = len(house.audit.entries)
            call = scene.call(f"{folder}/a.txt", "fs", "write_file", content="open\n")
            found = await scene.question(call)
            assert found.preview is not None and "-the secret of the house" in found.preview.diff
            looked = [each for each in house.audit.entries[uses:] if each.resource_uri != found.resource_uri]
            assert looked == []
            await scene.says(Answer(allow=False, reason="no"))
            with pytest.raises(NotPermitted) as denied:
                await call
            assert "secret" not in repr(denied.value.body())
            state = await house.sessions.state(scene.session.id)
            assert "secret" not in repr(state.window)
            # who may write, and no more, is shown nothing
            owner = PrincipalId(new_id("user", SeededEntropy(9)))
            await house.kernel.request_all(
                owner, [Ask(resource=resource("fs", "write", "**"), options=GrantOptions())]
            )
            scene.session = await house.sessions.create(owner, "", "ask", "", {})
            call = scene.call(f"{folder}/a.txt", "fs", "write_file", content="open\n")
            found = await scene.question(call)
            assert found.preview is None
            await scene.says(NO)
            with pytest.raises(NotPermitted):
                await call

    asyncio.run(play())


def test_a_yes_to_a_folder_is_one_to_what_lies_in_it_and_to_nothing_else(
    open_house: Callable[..., Any],
) -> None:
    async def scenario(scene: Scene) -> None:
        folder = Answer(allow=True, remember="session", resource_uri="mcp://fs/write/proj/src/**")
        call = scene.call()
        await scene.says(folder, YES)
        await call
        (kept,) = [each for each in scene.rights() if each.metadata["remember"] == "session"]
        assert kept.resource_uri == "mcp://fs/write/proj/src/**"
        assert (kept.delegation_depth, kept.constraints) == (0, {})
        call = scene.call("/proj/src/deep/b.txt")
        (asked,) = await scene.says(YES)
        assert asked.resource_uri == "mcp://fs/read/proj/src/deep/b.txt"
        await call
        call = scene.call("/proj/other.txt")
        (asked,) = await scene.says(NO)
        assert asked.resource_uri == "mcp://fs/write/proj/other.txt"
        with pytest.raises(NotPermitted):
            await call

    played(open_house, Editor(), scenario)


def test_a_pattern_that_was_not_offered_leaves_the_question_open(open_house: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        call = scene.call()
        found = await scene.question(call)
        for pattern in ("mcp://fs/write/**", "mcp://fs/read/proj/src/**", "nonsense"):
            with pytest.raises(CallerMistaken, match="offers"):
                wrong = Answer(allow=True, remember="session", resource_uri=pattern)
                await scene.house.approving.answer(found.id, wrong, scene.house.owner)
        with pytest.raises(CallerMistaken, match="once"):
            once = Answer(allow=True, resource_uri=found.suggestions[-1])
            await scene.house.approving.answer(found.id, once, scene.house.owner)
        assert scene.rights() == []
        await scene.says(NO)
        with pytest.raises(NotPermitted):
            await call

    played(open_house, Editor(), scenario)


def test_an_end_bounds_a_yes_that_is_remembered(open_house: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        before = scene.house.clock.now()
        call = scene.call()
        await scene.says(Answer(allow=True, remember="always", expires_in_s=600), YES)
        await call
        (kept,) = [each for each in scene.rights() if each.metadata["remember"] == "always"]
        assert kept.expires_at is not None
        assert before + timedelta(seconds=600) <= kept.expires_at
        assert kept.expires_at <= scene.house.clock.now() + timedelta(seconds=600)

    played(open_house, Editor(), scenario)


def test_the_start_names_the_right_that_came_of_the_yes(open_house: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        call = scene.call()
        first, _ = await scene.says(Answer(allow=True, remember="session"), YES)
        await call
        events = [record.event for record in await scene.house.journal.read(f"session:{scene.session.id}")]
        (started,) = [
            each for each in events if isinstance(each, ExecutionChanged) and each.status == "started"
        ]
        (kept,) = [each for each in scene.rights() if each.metadata["approval_id"] == first.id]
        assert first.resource_uri == first.touches[0]
        assert started.call is not None and started.call.capability_id == kept.id

    played(open_house, Editor(), scenario)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"read_only": True}, "reads"),
        ({"read_only": True, "destructive": False}, "reads"),
        ({"destructive": False}, "writes"),
        ({"destructive": True}, "destroys"),
        ({}, "destroys"),
    ],
)
def test_the_effect_is_the_worst_by_the_tools_own_words(said: dict[str, bool], expected: str) -> None:
    assert effect(ToolInfo(server="s", name="t", **said)) == expected


SEGMENTS = st.lists(st.sampled_from(["a", "b", "proj", "src"]), min_size=1, max_size=4)
TYPES = st.sampled_from(
    [("fs", "write"), ("fs", "list"), ("api", "get"), ("db", "read"), ("tool", "execute")]
)


@given(TYPES, SEGMENTS, SEGMENTS)
def test_each_suggestion_covers_the_thing_and_the_one_before_it(
    kind: tuple[str, str], path: list[str], cwd: list[str]
) -> None:
    needed = resource(*kind, "/".join(path))
    found = list(widenings(needed, "/" + "/".join(cwd)))
    assert found[0] == needed
    assert all(within(one, other) for one, other in pairwise(found))
    assert len(set(found)) == len(found)
    assert all(each.path != "**" for each in found)
    if kind[0] == "tool":
        assert found == [needed]


@given(st.sampled_from(["get", "post"]), SEGMENTS, SEGMENTS)
def test_no_suggestion_for_a_network_is_wider_than_one_host(
    operation: str, path: list[str], cwd: list[str]
) -> None:
    needed = resource("api", operation, "/".join(path))
    for found in widenings(needed, "/" + "/".join(cwd)):
        assert found.segments[:2] == needed.segments[:2]
        assert "*" not in "".join(found.segments[:2])


@pytest.mark.parametrize(
    ("needed", "wider"),
    [
        ("api/get/https/example.com", "api/get/https/example.com/**"),
        ("api/get/https/example.com/a", "api/get/https/example.com/**"),
        ("api/get/https/example.com/a/b", "api/get/https/example.com/a/**"),
        ("api/get/https", ""),
        ("db/read/shop", ""),
        ("db/read/shop/orders", "db/read/shop/**"),
        ("db/list/shop", "db/list/shop/**"),
    ],
)
def test_the_next_wider_thing_is_one_host_or_one_database_at_most(needed: str, wider: str) -> None:
    found = [each.uri for each in widenings(parse_resource(f"mcp://{needed}"), "")]
    assert found == [f"mcp://{each}" for each in (needed, wider) if each]


@pytest.mark.parametrize("cwd", ["/", "", "*", "/a/*", "../..", "/a/../b", "a"])
def test_an_odd_working_folder_is_no_trouble(cwd: str) -> None:
    needed = parse_resource("mcp://fs/write/a/b/c")
    found = [each.uri for each in widenings(needed, cwd)]
    assert found in (
        ["mcp://fs/write/a/b/c", "mcp://fs/write/a/b/**"],
        ["mcp://fs/write/a/b/c", "mcp://fs/write/a/b/**", "mcp://fs/write/a/**"],
    )


HELD = st.sets(
    st.sampled_from(["**", "proj/**", "proj/src/**", "proj/src/a.txt", "proj/*/a.txt", "other/**"]),
    max_size=3,
)
ENDS = st.sampled_from([None, 60.0, 10_000.0])


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture only makes houses
@given(HELD, ENDS, st.integers(0, 4), st.sampled_from(["once", "session", "always"]), ENDS, st.integers(0, 1))
def test_a_yes_never_gives_more_than_the_chosen_pattern_nor_more_than_the_person_holds(
    open_house: Callable[..., Any],
    held: set[str],
    until: float | None,
    choice: int,
    remember: Any,
    seconds: float | None,
    depth: int,
) -> None:
    async def play() -> None:
        async with open_house(tools=[Editor()]) as house:
            person = PrincipalId(new_id("user", SeededEntropy(9)))
            ends = None if until is None else timedelta(seconds=until)
            for path in sorted(held):
                options = GrantOptions(delegation_depth=depth, expires_in=ends)
                await house.kernel.request(person, resource("fs", "write", path), options)
            session = await house.sessions.create(person, "", "ask", "", {"cwd": "/proj"})
            scene = Scene(house, session, await house.directory.spawn("worker"))
            call = scene.call()
            found = await scene.question(call)
            offered = found.suggestions
            for pattern in offered:
                assert depth > 0
                assert any(within(parse_resource(pattern), resource("fs", "write", path)) for path in held)
            pattern = offered[choice % len(offered)] if offered and choice else ""
            answer = Answer(allow=True, remember=remember, resource_uri=pattern, expires_in_s=seconds)
            try:
                await house.approving.answer(found.id, answer, person)
            except CallerMistaken:
                assert remember == "once"
                await house.approving.answer(found.id, NO, person)
            # what it needs beside is nothing that this person holds
            reading = asyncio.ensure_future(scene.says(NO))
            with pytest.raises(NotPermitted):
                await call
            reading.cancel()
            chosen = parse_resource(pattern or found.resource_uri)
            now = house.clock.now()
            for right in scene.rights():
                assert parse_resource(right.resource_uri) == chosen
                assert right.delegation_depth == 0
                assert any(within(chosen, resource("fs", "write", path)) for path in held)
                for most in (until, seconds if remember != "once" else 600.0):
                    assert most is None or (
                        right.expires_at is not None and right.expires_at <= now + timedelta(seconds=most)
                    )
                handle = house.kernel.handle_of(right.id, PrincipalId(scene.agent.id))
                facts = Facts(arguments={"path": "/proj/src/a.txt"}, size=0)
                for path in ("proj/src/a.txt", "proj/src/b", "proj/b", "other/b", "x"):
                    wanted = resource("fs", "write", path)
                    verdict = house.kernel.validate(handle, PrincipalId(scene.agent.id), wanted, facts)
                    assert not verdict.allowed or within(wanted, chosen)
            if not held or not depth:
                assert scene.rights() == []

    asyncio.run(play())
