"""The exam of an `Agent`: its callbacks, and a state that survives being exported."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from mcp_interface.address import parse_resource
from mcp_interface.agent import Agent, Ok, Reply
from mcp_interface.capability import Capability
from mcp_interface.codec import decode_json, encode_json
from mcp_interface.envelope import Envelope
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import CapabilityId, PrincipalId, new_id
from mcp_interface.testing.exams.asserting import refuses, within
from mcp_interface.testing.samples import an_agent, an_envelope
from mcp_interface.testing.time import START, SeededEntropy

S = TypeVar("S")
PAYLOADS: Final[tuple[Any, ...]] = ("hello", None, 0, False, "", [], {}, {"type": "unknown"}, "ü\u2028\n🎉")


async def check_agent(
    maker: Callable[[], AbstractAsyncContextManager[Agent[S]]],
    *,
    args: Mapping[str, Any] | None = None,
    envelopes: Sequence[Envelope] | None = None,
) -> None:
    """Examine an agent.

    Args:
        maker: Opens an agent, and a second one of the same kind when called again.
        args: What `init` needs; None is an empty mapping.
        envelopes: Messages that it must live through; None sends a few of every shape.

    Raises:
        AssertionError: Names the broken promise.
    """
    sent = envelopes
    if sent is None:
        sent = [an_envelope(payload, number) for number, payload in enumerate(PAYLOADS)]
    async with maker() as agent, maker() as other:
        await within(_lives(agent, other, args or {}, sent), "check_agent.lives")
        _check_skills(agent)


async def _begin(agent: Agent[S], args: Mapping[str, Any]) -> S:
    begun = await agent.init(args)
    assert isinstance(begun, Ok), f"init should begin with these arguments, got {begun!r}"
    return begun.state


async def _lives(
    agent: Agent[S], other: Agent[S], args: Mapping[str, Any], envelopes: Sequence[Envelope]
) -> None:
    state = await _begin(agent, args)
    exported = _export(agent, state)
    assert _export(other, await _begin(other, args)) == exported, "equal arguments make equal states"
    for envelope in envelopes:
        twin = other.import_state(_export(agent, state))
        assert _export(other, twin) == _export(agent, state), "an imported state exports as before"
        state = await _check_step(agent, state, other, twin, envelope)
    granted = await agent.handle_capability(_a_right(), state)
    assert isinstance(granted, Ok), f"a right is no reason to end: {granted!r}"
    _export(agent, granted.state)
    garbage = {key: object() for key in agent.export_state(granted.state)}
    if garbage:
        with refuses(InvalidRecord, what="importing what is not an exported state"):
            agent.import_state(garbage)
    await agent.terminate("normal", granted.state)


async def _check_step(agent: Agent[S], state: S, other: Agent[S], twin: S, envelope: Envelope) -> S:
    outcome = await agent.handle_message(envelope, state)
    assert isinstance(outcome, Ok | Reply), f"the message {envelope.payload!r} ended it: {outcome!r}"
    again = await other.handle_message(envelope, twin)
    assert type(again) is type(outcome), f"an imported state acts otherwise: {again!r}, not {outcome!r}"
    if isinstance(outcome, Reply) and isinstance(again, Reply):
        encode_json(outcome.value)
        assert again.value == outcome.value, "an imported state gives the same answer"
    assert isinstance(again, Ok | Reply), "the outcome carries a state"
    assert _export(other, again.state) == _export(agent, outcome.state), "both go on alike"
    return outcome.state


def _export(agent: Agent[S], state: S) -> dict[str, Any]:
    exported = dict(agent.export_state(state))
    read: dict[str, Any] = decode_json(encode_json(exported), dict[str, Any])
    assert read == exported, f"an exported state is JSON-compatible data: {exported!r}"
    return read


def _check_skills(agent: Agent[S]) -> None:
    skills = agent.skills()
    names = [skill.name for skill in skills]
    assert all(names) and len(set(names)) == len(names), f"skills have unique names: {names}"
    for skill in skills:
        parameters = [parameter.name for parameter in skill.parameters]
        assert len(set(parameters)) == len(parameters), f"{skill.name} has parameters twice: {parameters}"
        for permission in skill.required_permissions:
            parse_resource(permission)
    assert agent.skills() == skills, "an agent advertises the same all the time"


def _a_right() -> Capability:
    return Capability(
        id=CapabilityId(new_id("cap", SeededEntropy())),
        resource_uri="mcp://fs/read/data/**",
        principal_id=PrincipalId(an_agent()),
        granted_at=START,
    )
