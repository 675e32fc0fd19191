"""An exam that cannot fail proves nothing: every exam finds the fakes that were broken on purpose."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from mcp_interface.address import Resource, parse_resource
from mcp_interface.agent import Ok, Reply, Skill, Stop
from mcp_interface.capability import Grant, GrantOptions, Sealed, Verdict
from mcp_interface.client import ClientInfo, Notice, Welcome
from mcp_interface.clock import Clock, Entropy
from mcp_interface.commands import Command, GetHealth, ListSessions, Page, PostMessage
from mcp_interface.envelope import Envelope
from mcp_interface.errors import (
    CallerMistaken,
    InvalidRecord,
    NodeUnavailable,
    UmbrellaError,
    VersionConflict,
)
from mcp_interface.events import Event
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, SessionId, TraceId
from mcp_interface.provider import Chunk, Completion, Finished, TextChunk, ToolUse, ToolUseChunk
from mcp_interface.store import PAGE, Record, Snapshot, Transaction
from mcp_interface.testing import (
    CountWords,
    DictRegistry,
    EchoAgent,
    FakeClient,
    FakeKernel,
    FakeNode,
    MemoryStore,
    ScriptedProvider,
    check_agent,
    check_client,
    check_journal,
    check_kernel,
    check_provider,
    check_registry,
    check_snapshots,
    check_store,
    check_tool,
)
from mcp_interface.testing.agents import EchoState
from mcp_interface.testing.exams.asserting import within
from mcp_interface.tool import ToolContext, ToolInfo, ToolResult

Examine = Callable[..., Coroutine[Any, Any, None]]


def opening(make: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(*given: Any) -> AsyncIterator[Any]:
        yield make(*given)

    return opened


def assert_found(exam: Examine, make: Callable[..., Any], **options: Any) -> None:
    with pytest.raises(AssertionError) as found:
        asyncio.run(exam(opening(make), **options))
    assert str(found.value), "the exam says which promise is broken"


# -- stores ----------------------------------------------------------------------------------------------


class AcceptsStaleEpoch(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        return await super().append(stream, events, **{**options, "epoch": self._epoch})


class IgnoresExpected(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except VersionConflict as error:
            return await super().append(stream, events, **{**options, "expected": error.details["actual"]})


class ForgetsAnEvent(MemoryStore):
    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        found = await super().read(stream, after=after, limit=limit)
        return [record for record in found if record.version != 3]


class Reorders(MemoryStore):
    async def read_all(self, *, after: int = 0, limit: int = PAGE, streams: str = "*") -> list[Record]:
        found = await super().read_all(after=after, limit=limit, streams=streams)
        return sorted(found, key=lambda record: (record.stream, record.version))


class WritesHalfABatch(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        written: list[Record] = []
        for event in events or [None]:
            step = {**options, "expected": options["expected"] + len(written)}
            written += await super().append(stream, [event] if event else [], **step)
        return written


class ReadsWithoutBound(MemoryStore):
    async def read(self, stream: str, *, after: int = 0, limit: int = PAGE) -> list[Record]:
        found: list[Record] = []
        while page := await super().read(stream, after=after + len(found), limit=limit - len(found)):
            found += page
        return found


class SkipsBadEvents(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except InvalidRecord:
            return []


class LosesTheTrace(MemoryStore):
    async def append(
        self, stream: str, events: Sequence[Event], *, trace_id: TraceId | None = None, **options: Any
    ) -> list[Record]:
        return await super().append(stream, events, **options)


class ReusesPositions(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        await super().delete_stream(stream)
        self._head = max(self._records, default=0)


class DeletesNothing(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        return None


class ForgetsWhereItIs(MemoryStore):
    async def append(self, stream: str, events: Sequence[Event], **options: Any) -> list[Record]:
        try:
            return await super().append(stream, events, **options)
        except VersionConflict as error:
            raise VersionConflict(error.message) from error


class ListsOutOfOrder(MemoryStore):
    async def streams(self, *given: Any, **options: Any) -> list[Any]:
        return (await super().streams(*given, **options))[::-1]


class RaisesItsOwnErrors(MemoryStore):
    async def stream_info(self, stream: str) -> Any:
        if stream not in self._streams:
            raise KeyError(stream)
        return await super().stream_info(stream)


@pytest.mark.parametrize(
    "store",
    [
        AcceptsStaleEpoch,
        IgnoresExpected,
        ForgetsAnEvent,
        Reorders,
        WritesHalfABatch,
        ReadsWithoutBound,
        SkipsBadEvents,
        LosesTheTrace,
        ReusesPositions,
        DeletesNothing,
        ForgetsWhereItIs,
        ListsOutOfOrder,
        RaisesItsOwnErrors,
    ],
)
def test_check_journal_finds(store: type[MemoryStore]) -> None:
    assert_found(check_journal, store)


def test_check_journal_finds_a_store_that_forgets_with_its_process() -> None:
    assert_found(check_journal, MemoryStore, reopen=opening(lambda old: MemoryStore()))


class KeepsTheLastSaved(MemoryStore):
    async def load_snapshot(self, stream: str) -> Snapshot | None:
        return getattr(self, "last", None)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await super().save_snapshot(snapshot)
        self.last = snapshot


class TrustsTheFuture(MemoryStore):
    async def save_snapshot(self, snapshot: Snapshot) -> None:
        try:
            await super().save_snapshot(snapshot)
        except UmbrellaError:
            self._streams.clear()


class KeepsSnapshotsOfTheDead(MemoryStore):
    async def delete_stream(self, stream: str) -> None:
        snapshots = self._streams[stream].snapshots
        await super().delete_stream(stream)
        self._kept = snapshots

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        found = await super().load_snapshot(stream)
        kept = getattr(self, "_kept", {})
        return found or (msgspec.msgpack.decode(kept[2], type=Snapshot) if kept else None)


@pytest.mark.parametrize("store", [KeepsTheLastSaved, TrustsTheFuture, KeepsSnapshotsOfTheDead])
def test_check_snapshots_finds(store: type[MemoryStore]) -> None:
    assert_found(check_snapshots, store)


def test_check_snapshots_finds_lost_and_damaged_ones() -> None:
    async def damage(store: MemoryStore, stream: str) -> None:
        snapshots = store._streams[stream].snapshots
        snapshots[2] = snapshots[2].replace(b"state 2", b"state X")

    assert_found(check_snapshots, MemoryStore, damage=damage)
    assert_found(check_snapshots, MemoryStore, reopen=opening(lambda old: MemoryStore()))


class TakesFalsyForMissing(MemoryStore):
    async def get(self, key: str) -> Any:
        return await super().get(key) or None


class NeverRollsBack(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        drafts: list[Any] = []

        def remember(draft: Any) -> Any:
            drafts.append(draft)
            return work(draft)

        try:
            return await super().transaction(remember)
        finally:
            self._values = drafts[0].values


class SwallowsErrors(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        try:
            return await super().transaction(work)
        except ZeroDivisionError:
            raise
        except Exception:
            return None


class LosesUpdates(MemoryStore):
    async def transaction(self, work: Callable[[Transaction], Any]) -> Any:
        before = dict(self._values)
        await asyncio.sleep(0)
        self._values = before
        return await super().transaction(work)


class SharesItsValues(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, Any] = {}

    async def put(self, key: str, value: Any) -> None:
        await super().put(key, value)
        self.shared[key] = value

    async def get(self, key: str) -> Any:
        await super().get(key)
        return self.shared.get(key)


class ListsWithoutBound(MemoryStore):
    async def list_keys(self, pattern: str = "*", *, after: str = "", limit: int = PAGE) -> list[str]:
        found: list[str] = []
        while page := await super().list_keys(pattern, after=found[-1] if found else after):
            found += page
        return found[:limit]


class ReadsWhenClosed(MemoryStore):
    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    "store",
    [
        TakesFalsyForMissing,
        NeverRollsBack,
        SwallowsErrors,
        LosesUpdates,
        SharesItsValues,
        ListsWithoutBound,
        ReadsWhenClosed,
    ],
)
def test_check_store_finds(store: type[MemoryStore]) -> None:
    assert_found(check_store, store)


def test_check_store_finds_a_store_that_forgets_with_its_process() -> None:
    assert_found(check_store, MemoryStore, reopen=opening(lambda old: MemoryStore()))


# -- kernels ---------------------------------------------------------------------------------------------


class LetsAChildExceed(FakeKernel):
    async def delegate(
        self,
        handle: Sealed,
        holder: PrincipalId,
        to: PrincipalId,
        resource: Resource | None = None,
        options: GrantOptions = GrantOptions(),
    ) -> Grant:
        grant = await super().delegate(handle, holder, to, None, options)
        if resource is None:
            return grant
        wider = msgspec.structs.replace(grant.capability, resource_uri=resource.uri)
        self._held[wider.id].capability = wider
        return Grant(wider, grant.handle)


class AllowsByDefault(FakeKernel):
    async def authorize(self, principal: PrincipalId, resource: Resource, *given: Any, **o: Any) -> Verdict:
        verdict = await super().authorize(principal, resource, *given, **o)
        return msgspec.structs.replace(verdict, allowed=True, reason="allowed")


class ComparesText(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        verdict = super().validate(handle, principal, resource)
        held = self._by_handle.get(handle)
        prefix = held.capability.resource_uri.rstrip("*/") if held else "nothing"
        if verdict.reason == "path_not_allowed" and resource.uri.startswith(prefix):
            return msgspec.structs.replace(
                verdict, allowed=True, reason="allowed", covering=prefix, needed=None
            )
        return verdict


class AsksNobodysName(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        held = self._by_handle.get(handle)
        return super().validate(handle, held.capability.principal_id if held else principal, resource)


class NeverExpires(FakeKernel):
    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        return await super().request(
            principal, resource, msgspec.structs.replace(options, expires_in=None, expires_at=None)
        )


class ExpiresLate(FakeKernel):
    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        class Late:
            def __getattr__(self, name: str) -> Any:
                return getattr(clock, name)

            def now(self) -> Any:
                return clock.now() - timedelta(microseconds=1)

        super().__init__(Late(), entropy)


class CountsNothing(FakeKernel):
    async def authorize(self, *given: Any, **options: Any) -> Verdict:
        verdict = await super().authorize(*given, **options)
        for held in self._held.values():
            held.uses = 0
        return verdict


class CountsLooks(FakeKernel):
    def validate(self, handle: Sealed, principal: PrincipalId, resource: Resource) -> Verdict:
        verdict = super().validate(handle, principal, resource)
        if verdict.allowed:
            self._by_handle[handle].uses += 1
        return verdict


class IgnoresUnknownLimits(FakeKernel):
    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        known = {name: value for name, value in options.constraints.items() if name == "max_uses"}
        return await super().request(principal, resource, msgspec.structs.replace(options, constraints=known))


class SparesTheChildren(FakeKernel):
    def _end(self, targets: Any, by: PrincipalId, reason: str) -> list[CapabilityId]:
        for held in self._held.values():
            held.parent = None
        return super()._end(targets, by, reason)


class ListensToStrangers(FakeKernel):
    async def revoke(
        self, capability: CapabilityId, by: PrincipalId, reason: str = ""
    ) -> Sequence[CapabilityId]:
        return await super().revoke(capability, SYSTEM, reason)


class RefillsChildren(FakeKernel):
    async def delegate(self, *given: Any, **options: Any) -> Grant:
        grant = await super().delegate(*given, **options)
        self._held[grant.capability.id].parent = None
        return grant


class HandsOnForEver(FakeKernel):
    async def delegate(self, handle: Sealed, *given: Any, **options: Any) -> Grant:
        held = self._by_handle.get(handle)
        if held is not None:
            held.capability = msgspec.structs.replace(held.capability, delegation_depth=5)
        return await super().delegate(handle, *given, **options)


class RecordsNothing(FakeKernel):
    async def authorize(self, *given: Any, **options: Any) -> Verdict:
        return msgspec.structs.replace(await super().authorize(*given, **options), audit_seq=None)


@pytest.mark.parametrize(
    "kernel",
    [
        LetsAChildExceed,
        AllowsByDefault,
        ComparesText,
        AsksNobodysName,
        NeverExpires,
        ExpiresLate,
        CountsNothing,
        CountsLooks,
        IgnoresUnknownLimits,
        SparesTheChildren,
        ListensToStrangers,
        RefillsChildren,
        HandsOnForEver,
        RecordsNothing,
    ],
)
def test_check_kernel_finds(kernel: type[FakeKernel]) -> None:
    assert_found(check_kernel, kernel)


class AuditsTwice(FakeKernel):
    def explain(self, principal: PrincipalId, resource: Resource) -> Any:
        self._record("explained", principal, "noted")
        return super().explain(principal, resource)


def test_check_kernel_finds_what_is_kept_badly() -> None:
    async def nothing(kernel: FakeKernel) -> list[Any]:
        return []

    async def entries(kernel: FakeKernel) -> list[Any]:
        return list(kernel.audit)

    assert_found(check_kernel, FakeKernel, entries=nothing)
    assert_found(check_kernel, AuditsTwice, entries=entries)
    assert_found(check_kernel, FakeKernel, break_records=lambda kernel: None)
    assert_found(check_kernel, FakeKernel, reopen=opening(lambda old: FakeKernel()))


class DecidesOtherwise(FakeKernel):
    """Not broken: what cannot be judged may be refused at once, and a depth beyond the parent's cut down."""

    async def request(
        self, principal: PrincipalId, resource: Resource, options: GrantOptions = GrantOptions()
    ) -> Grant:
        if options.constraints.keys() - {"max_uses"}:
            raise CallerMistaken("unknown constraint")
        return await super().request(principal, resource, options)

    async def delegate(self, *given: Any, options: GrantOptions = GrantOptions()) -> Grant:
        if options.delegation_depth == 9:
            options = msgspec.structs.replace(options, delegation_depth=None)
        return await super().delegate(*given, options=options)


def test_check_kernel_leaves_open_what_the_contract_leaves_open() -> None:
    asyncio.run(check_kernel(opening(DecidesOtherwise)))


# -- agents, registries, tools, providers ----------------------------------------------------------------


class Declines(EchoAgent):
    async def init(self, args: Mapping[str, Any]) -> Stop[EchoState]:
        return Stop("no")


class ExportsObjects(EchoAgent):
    def export_state(self, state: EchoState) -> Mapping[str, Any]:
        return {**super().export_state(state), "when": (1, 2)}


class ForgetsItsCount(EchoAgent):
    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        return super().import_state({**data, "handled": 0})


class AcceptsGarbage(EchoAgent):
    def import_state(self, data: Mapping[str, Any]) -> EchoState:
        try:
            return super().import_state(data)
        except UmbrellaError:
            return EchoState(greeting="", handled=0, rights=[])


class HasTwins(EchoAgent):
    def skills(self) -> list[Skill]:
        return super().skills() * 2


class RemembersOutsideItsState(EchoAgent):
    count = 0

    async def handle_message(self, envelope: Envelope, state: EchoState) -> Reply[EchoState]:
        RemembersOutsideItsState.count += 1
        return Reply(RemembersOutsideItsState.count, state)


class StopsAtNothing(EchoAgent):
    async def handle_message(self, envelope: Envelope, state: EchoState) -> Any:
        return Ok(state) if envelope.payload else Stop("nothing to say", state)


@pytest.mark.parametrize(
    "agent",
    [
        Declines,
        ExportsObjects,
        ForgetsItsCount,
        AcceptsGarbage,
        HasTwins,
        RemembersOutsideItsState,
        StopsAtNothing,
    ],
)
def test_check_agent_finds(agent: type[EchoAgent]) -> None:
    assert_found(check_agent, agent)


class OverwritesNames(DictRegistry[Any]):
    def register(self, name: str, ref: Any, metadata: Mapping[str, Any]) -> None:
        self.unregister(name)
        super().register(name, ref, metadata)


class MissesFalsyRefs(DictRegistry[Any]):
    def lookup(self, name: str) -> Any:
        found = super().lookup(name)
        return found if found and found.ref else None


class ListsByName(DictRegistry[Any]):
    def list_by_type(self, type: str) -> Sequence[Any]:
        return sorted(super().list_by_type(type), key=lambda entry: entry.name)


class ForgetsToForget(DictRegistry[Any]):
    def unregister(self, name: str) -> None:
        self._by_name.pop(name, None)


@pytest.mark.parametrize("registry", [OverwritesNames, MissesFalsyRefs, ListsByName, ForgetsToForget])
def test_check_registry_finds(registry: type[DictRegistry[Any]]) -> None:
    assert_found(check_registry, registry)


class AcceptsAnything(CountWords):
    def validate_args(self, args: dict[str, Any]) -> None:
        return None


class NeedsNothing(CountWords):
    def needs(self, args: dict[str, Any]) -> Sequence[Resource]:
        return []


class NeedsTooMuch(CountWords):
    def needs(self, args: dict[str, Any]) -> Sequence[Resource]:
        return [parse_resource("mcp://tool/execute/**")]


class EatsItsArguments(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        result = await super().execute(args, context)
        args.clear()
        return result


class OverdoesIt(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        if context.progress is not None:
            await context.progress(250.0, "more than done")
        return await super().execute(args, context)


class LooksHarmless(CountWords):
    def info(self) -> ToolInfo:
        return msgspec.structs.replace(super().info(), destructive=True)


class ReturnsPythonObjects(CountWords):
    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(content=[{"type": "text", "text": "2"}], structured=(2,))


@pytest.mark.parametrize(
    "tool",
    [
        AcceptsAnything,
        NeedsNothing,
        NeedsTooMuch,
        EatsItsArguments,
        OverdoesIt,
        LooksHarmless,
        ReturnsPythonObjects,
    ],
)
def test_check_tool_finds(tool: type[CountWords]) -> None:
    assert_found(check_tool, tool, good={"text": "two words"}, bad=[{}])


END = Finished(stop_reason="end")
CALL = ToolUseChunk(ToolUse(id="1", name="count", arguments={}))


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [TextChunk("no end")],
        [END, END],
        [END, TextChunk("too late")],
        [TextChunk(""), END],
        [CALL, END],
        [CALL, CALL, Finished(stop_reason="tool_use")],
        [TextChunk("no call"), Finished(stop_reason="tool_use")],
    ],
)
def test_check_provider_finds_bad_answers(answer: list[Chunk]) -> None:
    assert_found(check_provider, lambda: ScriptedProvider([answer] * 6))


class OffersNothing(ScriptedProvider):
    async def models(self) -> list[str]:
        return []


class CannotBeLeft(ScriptedProvider):
    def stream(self, completion: Completion) -> Any:
        inner = super().stream(completion)

        class Endless:
            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> Chunk:
                return await anext(inner)

        return Endless()


@pytest.mark.parametrize("provider", [OffersNothing, CannotBeLeft])
def test_check_provider_finds(provider: type[ScriptedProvider]) -> None:
    assert_found(check_provider, lambda: provider([[TextChunk("hi"), END]] * 6))


def test_check_provider_finds_an_endpoint_that_is_not_broken() -> None:
    def fine() -> ScriptedProvider:
        return ScriptedProvider([[TextChunk("hi"), END]] * 6)

    assert_found(check_provider, fine, broken=opening(fine))


# -- clients ---------------------------------------------------------------------------------------------


class RepeatsARecord(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, after):
            yield notice
            if isinstance(notice, Record) and notice.version == 3:
                yield notice


class SkipsARecord(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, after):
            if not (isinstance(notice, Record) and notice.version == 3):
                yield notice


class StartsFromNow(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(session_id, max(after, await self._node._store.head() - 3)):
            yield notice


class FollowsEverything(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        async for notice in super().follow(None, after):
            yield notice


class FlattensErrors(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        try:
            return await super().request(command, timeout)
        except UmbrellaError as error:
            raise UmbrellaError(error.message) from error


class RaisesTimeouts(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        async with asyncio.timeout(timeout):
            return await super().request(command, None)


class AcceptsAnyToken(FakeClient):
    async def connect(self, info: ClientInfo) -> Welcome:
        return await super().connect(msgspec.structs.replace(info, token=self._node.owner_token))


class WorksUnconnected(FakeClient):
    async def disconnect(self, reason: str = "") -> None:
        return None


class SaysEverythingTwice(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        if isinstance(command, PostMessage):
            await super().request(command, timeout)
        return await super().request(command, timeout)


class ForgetsTheCursor(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        answer = await super().request(command, timeout)
        return Page(items=answer.items) if isinstance(command, ListSessions) else answer


class LeavesWaitersHanging(FakeClient):
    async def request(self, command: Command[Any], timeout: float | None = 60.0) -> Any:
        try:
            return await super().request(command, timeout)
        except NodeUnavailable:
            if isinstance(command, GetHealth):
                return []
            raise


class EndsByItself(FakeClient):
    async def follow(self, session_id: SessionId | None = None, after: int = 0) -> AsyncIterator[Notice]:
        for _ in range(3):
            async for notice in super().follow(session_id, after):
                yield notice
                break


@pytest.mark.parametrize(
    "client",
    [
        EndsByItself,
        RepeatsARecord,
        SkipsARecord,
        StartsFromNow,
        FollowsEverything,
        FlattensErrors,
        RaisesTimeouts,
        AcceptsAnyToken,
        WorksUnconnected,
        SaysEverythingTwice,
        ForgetsTheCursor,
        LeavesWaitersHanging,
    ],
)
def test_check_client_finds(client: type[FakeClient]) -> None:
    class BrokenNode(FakeNode):
        def client(self) -> FakeClient:
            return client(self)

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeNode]:
        async with BrokenNode(stalled=(GetHealth,)) as node:
            yield node

    with pytest.raises(AssertionError):
        asyncio.run(check_client(opened, stalled=GetHealth()))


def test_an_exam_does_not_wait_for_ever() -> None:
    with pytest.raises(AssertionError, match=r"a client: still not done after 0\.01 s"):
        asyncio.run(within(asyncio.sleep(60), "a client", 0.01))
