"""Handing on rights out of what somebody holds, without saying which of their capabilities it comes from."""

from collections.abc import Sequence

import msgspec

from mcp_interface.address import Resource, resource
from mcp_interface.capability import Ask, Capability, Grant, GrantOptions, Sealed, SecurityKernel
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import PrincipalId, is_id

_PERHAPS = frozenset({"allowed", "constraint_violated"})
"""What a judgement of a whole pattern says of a capability that covers it: limits are no obstacle to handing on."""
_NONE = Sealed(b"")
"""Presented when nothing that is held fits, so that the kernel refuses and puts the refusal on record."""


async def delegate_from_holdings(
    kernel: SecurityKernel, holder: PrincipalId, to: PrincipalId, needed: Resource, options: GrantOptions
) -> Grant:
    """Delegate a right out of whichever of the holder's capabilities allows it.

    Raises:
        NotPermitted: None of them does; names the nearest.
        InvalidRecord: A limit that is asked for is not one.
    """
    return (await bundle_from_holdings(kernel, holder, to, [Ask(resource=needed, options=options)]))[0]


async def bundle_from_holdings(
    kernel: SecurityKernel, holder: PrincipalId, to: PrincipalId, asks: Sequence[Ask]
) -> Sequence[Grant]:
    """Delegate several rights out of what the holder has, all or none.

    Args:
        kernel: Mints.
        holder: Out of whose rights.
        to: Who receives.
        asks: Each with a resource, without a handle.

    Raises:
        NotPermitted: One of them is refused; names it, the reason, and the nearest that the holder has.
        InvalidRecord: A limit that is asked for is not one.
    """
    sources = [_sources(kernel, holder, _wanted(ask)) for ask in asks]
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


async def designate(
    kernel: SecurityKernel, person: PrincipalId, wanted: Resource, options: GrantOptions = GrantOptions()
) -> None:
    """Give a person the root of a right that no wildcard of theirs reaches, because they name it themselves.

    Such are hosts near this machine: a wildcard never covers them, lest whoever holds one talks to what listens
    here. For a person's own act only. Nothing happens where what is held will do, or where the person does not
    hold the whole of the operation.
    """
    if wanted.type != "api" or is_id("agent", person) or "*" in "".join(wanted.segments[:2]):
        return
    held = kernel.held_by(person)
    whole = resource("api", wanted.operation, "**").uri
    roots = [one for one in held if one.resource_uri == whole and not one.constraints]
    if roots and not _sources(kernel, person, wanted):
        await kernel.request(person, wanted, options)


def _sources(kernel: SecurityKernel, holder: PrincipalId, wanted: Resource) -> list[Sealed]:
    """Handles of the holder's capabilities that cover what is asked for and may be handed on, likeliest first."""
    found: list[tuple[bool, int, Sealed]] = []
    for capability in kernel.held_by(holder):
        try:
            handle = kernel.handle_of(capability.id, holder)
        except NotFound:
            continue  # it ended in between
        verdict = kernel.validate(handle, holder, wanted)
        if verdict.reason in _PERHAPS and capability.delegation_depth > 0:
            found.append((not verdict.allowed, -capability.delegation_depth, handle))
    return [handle for *_, handle in sorted(found, key=lambda item: item[:2])]


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
