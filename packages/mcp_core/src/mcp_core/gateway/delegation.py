"""Handing on rights out of what somebody holds, without saying which of their capabilities it comes from."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from mcp_interface.address import Resource, resource
from mcp_interface.approval import HANDING_ON
from mcp_interface.capability import (
    DEFAULT_DEPTH,
    Ask,
    Capability,
    Grant,
    GrantOptions,
    Sealed,
    SecurityKernel,
    Verdict,
)
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, is_id

NAMED: Final = "named by its holder"
"""Under `by` in the metadata of a root that a person named for one act; nothing else is derived from it."""

_PERHAPS = frozenset({"allowed", "constraint_violated"})
"""What a judgement of a whole pattern says of a capability that covers it: limits are no obstacle to handing on."""
_NONE = Sealed(b"")
"""Presented when nothing that is held fits, so that the kernel refuses and puts the refusal on record."""


async def delegate_from_holdings(
    kernel: SecurityKernel,
    holder: PrincipalId,
    to: PrincipalId,
    needed: Resource,
    options: GrantOptions,
    *,
    in_person: bool = False,
) -> Grant:
    """Delegate a right out of whichever of the holder's capabilities allows it.

    Raises:
        NotPermitted: None of them does; names the nearest.
        InvalidRecord: A limit that is asked for is not one.
    """
    asks = [Ask(resource=needed, options=options)]
    return (await bundle_from_holdings(kernel, holder, to, asks, in_person=in_person))[0]


async def bundle_from_holdings(
    kernel: SecurityKernel,
    holder: PrincipalId,
    to: PrincipalId,
    asks: Sequence[Ask],
    *,
    in_person: bool = False,
) -> Sequence[Grant]:
    """Delegate several rights out of what the holder has, all or none.

    Args:
        kernel: Mints.
        holder: Out of whose rights.
        to: Who receives.
        asks: Each with a resource, without a handle.
        in_person: Whether the holder says so themselves, and so may name what no wildcard reaches (`designate`).

    Raises:
        NotPermitted: One of them is refused; names it, the reason, and the nearest that the holder has.
        InvalidRecord: A limit that is asked for is not one.
    """
    named: list[CapabilityId] = []
    try:
        sources = []
        for ask in asks:
            root = await designate(kernel, holder, _wanted(ask), _root_of(ask.options)) if in_person else None
            if root is not None:
                named.append(root.capability.id)
            sources.append([root.handle] if root is not None else _sources(kernel, holder, _wanted(ask)))
        return await _delegate_first_that_fits(kernel, holder, to, asks, sources)
    except BaseException:
        await asyncio.shield(_end_all(kernel, named))
        raise


async def designate(
    kernel: SecurityKernel, person: PrincipalId, wanted: Resource, options: GrantOptions
) -> Grant | None:
    """Give a person the root of a right that no wildcard of theirs reaches, because they name it themselves.

    Such are hosts near this machine: a wildcard never covers them, lest whoever holds one talks to what listens
    here. For one act of the person, who holds the root of the whole operation: what is named ends no later than
    that, goes no further, and is used by nothing but its handle. Who calls this ends it when the act fails.

    Args:
        kernel: Mints.
        person: Who names it; nothing happens for an agent.
        wanted: What is named.
        options: End, limits, and how often at most it is handed on; 0 is for the person's own use.

    Returns:
        None where what is held will do, or where the person does not hold the whole of the operation.
    """
    if wanted.type != "api" or is_id("agent", person) or "*" in "".join(wanted.segments[:2]):
        return None
    depth = DEFAULT_DEPTH if options.delegation_depth is None else options.delegation_depth
    wide = _whole(kernel, person, wanted, least=min(depth, 1))
    if wide is None or _sources(kernel, person, wanted):
        return None
    ends = [instant for instant in (options.expires_at, wide.expires_at) if instant is not None]
    limited = msgspec.structs.replace(
        options,
        expires_at=min(ends, default=None),
        delegation_depth=min(depth, wide.delegation_depth),
        metadata={"by": NAMED},
    )
    return await kernel.request(person, wanted, limited)


def held_to_hand_on(
    kernel: SecurityKernel, holder: PrincipalId, wanted: Resource, depth: int, given: Grant | None = None
) -> Verdict | None:
    """An allow out of what somebody holds and may hand on so many times; None: there is nothing. Records nothing.

    A right that is to be handed on once is one only for the call that it was `given` for.
    """
    own = None if given is None else given.capability.id
    for capability in kernel.held_by(holder):
        if capability.delegation_depth < depth or _is_named(capability):
            continue
        if is_to_hand_on_once(capability) and capability.id != own:
            continue
        try:
            handle = kernel.handle_of(capability.id, holder)
        except NotFound:
            continue  # it ended in between
        verdict = kernel.validate(handle, holder, wanted)
        if verdict.reason in _PERHAPS:
            return msgspec.structs.replace(
                verdict, allowed=True, reason="allowed", capability_id=capability.id, needed=None
            )
    return None


def is_to_hand_on_once(capability: Capability) -> bool:
    """Whether a right was given to be handed on by one call."""
    said = capability.metadata
    return said.get("for") == HANDING_ON and said.get("remember") == "once"


def without_heirs(kernel: SecurityKernel, grants: Sequence[Grant]) -> list[Grant]:
    """Those of which nobody holds anything that was handed on out of them."""
    above = {capability.parent_capability_id for capability in kernel.capabilities()} if grants else set()
    return [grant for grant in grants if grant.capability.id not in above]


async def withdraw(kernel: SecurityKernel, grants: Sequence[Grant]) -> None:
    """End what an act has named or handed on that failed afterwards or is over, with the roots named for it."""
    if not grants:
        return
    named = {capability.id for capability in kernel.capabilities() if _is_named(capability)}
    ended = [grant.capability.id for grant in grants]
    ended += [
        parent for grant in grants if (parent := grant.capability.parent_capability_id) and parent in named
    ]
    await asyncio.shield(_end_all(kernel, ended))


async def _end_all(kernel: SecurityKernel, rights: Sequence[CapabilityId]) -> None:
    live = {capability.id for capability in kernel.capabilities()}
    ending = [kernel.revoke(each, SYSTEM, "what it was for is over") for each in rights if each in live]
    await asyncio.gather(*ending)


def _whole(kernel: SecurityKernel, person: PrincipalId, wanted: Resource, least: int) -> Capability | None:
    """The person's root of the whole operation if it stops at what is wanted.

    Only a root: what is named is no child of it, and would outlive what somebody handed on and took back.
    """
    whole = resource(wanted.type, wanted.operation, "**").uri
    for one in kernel.held_by(person):
        fits = one.resource_uri == whole and not one.constraints and one.parent_capability_id is None
        if fits and one.delegation_depth >= least:
            try:
                handle = kernel.handle_of(one.id, person)
            except NotFound:
                continue  # it ended in between
            if kernel.validate(handle, person, wanted).reason == "path_not_allowed":
                return one
    return None


def _root_of(options: GrantOptions) -> GrantOptions:
    """The terms of a root out of which a right with these terms, and nothing more, is handed on."""
    depth = options.delegation_depth
    return GrantOptions(
        expires_in=options.expires_in,
        expires_at=options.expires_at,
        delegation_depth=None if depth is None else depth + 1,
    )


def _is_named(capability: Capability) -> bool:
    return capability.metadata.get("by") == NAMED


async def _delegate_first_that_fits(
    kernel: SecurityKernel,
    holder: PrincipalId,
    to: PrincipalId,
    asks: Sequence[Ask],
    sources: Sequence[Sequence[Sealed]],
) -> Sequence[Grant]:
    at = [0] * len(asks)
    while True:
        chosen = [
            msgspec.structs.replace(ask, handle=(source or [_NONE])[place])
            for ask, source, place in zip(asks, sources, at, strict=True)
        ]
        try:
            return await kernel.delegate_all(holder, to, chosen)
        except NotPermitted as error:
            failed = _failed(error, sources)
            if failed is None:
                raise
            at[failed] += 1
            if at[failed] >= len(sources[failed]):
                raise _refusal(kernel, holder, _wanted(asks[failed]), error) from error


def _sources(kernel: SecurityKernel, holder: PrincipalId, wanted: Resource) -> list[Sealed]:
    """Handles of the holder's capabilities that cover what is asked for and may be handed on, likeliest first.

    The fewer limits, the less there is that what is asked for could exceed: each refusal is a durable record.
    """
    found: list[tuple[bool, int, int, Sealed]] = []
    for capability in kernel.held_by(holder):
        if _is_named(capability):
            continue  # for another act
        try:
            handle = kernel.handle_of(capability.id, holder)
        except NotFound:
            continue  # it ended in between
        verdict = kernel.validate(handle, holder, wanted)
        if verdict.reason in _PERHAPS and capability.delegation_depth > 0:
            limits, depth = len(capability.constraints), capability.delegation_depth
            found.append((not verdict.allowed, limits, -depth, handle))
    return [handle for *_, handle in sorted(found, key=lambda item: item[:3])]


def _failed(error: NotPermitted, sources: Sequence[Sequence[Sealed]]) -> int | None:
    """Which right of a bundle was refused."""
    if len(sources) == 1:
        return 0
    hopeless = next((place for place, source in enumerate(sources) if not source), None)
    index = error.details.get("index", hopeless)
    return index if isinstance(index, int) and 0 <= index < len(sources) else None


def _refusal(
    kernel: SecurityKernel, holder: PrincipalId, wanted: Resource, cause: NotPermitted
) -> NotPermitted:
    explained = kernel.explain(holder, wanted)
    nearest = explained.considered[0] if explained.considered else None
    why, reason = cause.message, str(cause.details.get("reason", "denied"))
    if reason == "unknown_capability":  # nothing that is held could be presented
        if nearest is None:
            why, reason = f"it holds nothing for {wanted.type}", "no_capability"
        elif _is_named(nearest):
            why, reason = f"{nearest.id} was named for something else", "path_not_allowed"
        elif explained.verdict.allowed:
            why, reason = f"{nearest.id} cannot be handed on any further", "delegation_depth_exhausted"
        else:
            why, reason = explained.verdict.message, explained.verdict.reason
    near = f"; the nearest that it holds is {describe(nearest)}" if nearest is not None else ""
    return NotPermitted(
        f"{holder} cannot hand on {wanted.uri}: {why}{near}",
        "hand on only what is held, or grant it to the holder first",
        {
            "reason": reason,
            "principal_id": holder,
            "resource_uri": wanted.uri,
            "nearest": None if nearest is None else nearest.resource_uri,
        },
    )


def describe(capability: Capability) -> str:
    """Say what a capability is for and how it is limited, on one line."""
    limits = [f"{name} {value}" for name, value in capability.constraints.items()]
    if capability.expires_at is not None:
        limits.append(f"until {capability.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    return capability.resource_uri + (f" ({'; '.join(limits)})" if limits else "")


def _wanted(ask: Ask) -> Resource:
    if ask.resource is None:
        raise CallerMistaken("a right without a resource cannot be handed on", "name the resource")
    return ask.resource
