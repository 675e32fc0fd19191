"""The part of the kernel exam about families: what is handed on, and what is taken back."""

from datetime import timedelta
from typing import Final

from mcp_interface.address import Resource, parse_resource, resource
from mcp_interface.capability import Grant, GrantOptions, Sealed
from mcp_interface.errors import CallerMistaken, NotFound, NotPermitted
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId, new_id
from mcp_interface.testing.exams.asserting import refuses
from mcp_interface.testing.exams.bench import READ, Bench
from mcp_interface.testing.time import SeededEntropy

PATTERNS: Final = (
    "a",
    "a/",
    "a/*",
    "a/**",
    "a/b",
    "a/b/",
    "a/b/*",
    "a/b/**",
    "a/b*",
    "*",
    "**",
    "*/b",
    "*/**",
    "a*",
    "*b",
    "a*/b",
    "ab/**",
)
THINGS: Final = ("a", "b", "ab", "ba", "a/b", "a/c", "a/bc", "ab/b", "b/b", "a/b/c", "a/b/c/d", "ab/c", "c/d")
COVERED: Final = (
    ("a", ("a",), ("ab", "a/b")),
    ("a/", ("a/b", "a/b/c"), ("ab", "ab/c", "b")),
    ("a/*", ("a/b", "a/c"), ("a", "a/b/c", "ab/c")),
    ("a/**", ("a/b", "a/b/c/d"), ("b", "ab", "ab/c")),
    ("a/b*", ("a/b", "a/bc"), ("a/c", "a/b/c")),
    ("*/b", ("a/b", "ab/b"), ("b", "a/c", "a/b/c")),
    ("**", ("a", "a/b/c/d"), ()),
    ("a*", ("a", "ab"), ("b", "a/b")),
)
NARROWER: Final = (
    ("a/**", "a/**"),
    ("a/**", "a/b"),
    ("a/**", "a/b/**"),
    ("a/", "a/b"),
    ("a/*", "a/b"),
    ("**", "a/**"),
    ("a*", "ab"),
)


async def _reads_patterns(bench: Bench) -> None:
    agent = bench.agents[0]
    for pattern, inside, outside in COVERED:
        handle = (await bench.root(agent, f"mcp://fs/read/{pattern}")).handle
        for path in inside:
            assert _allows(bench, handle, agent, path), f"{pattern} covers {path}"
        for path in outside:
            assert not _allows(bench, handle, agent, path), f"{pattern} does not cover {path}"


async def _never_widens(bench: Bench) -> None:
    giver, receiver = bench.agents[:2]
    for parent_path in PATTERNS:
        parent = await bench.root(giver, f"mcp://fs/read/{parent_path}")
        for child_path in PATTERNS:
            asked = resource("fs", "read", child_path)
            try:
                child = await bench.kernel.delegate(parent.handle, giver, receiver, asked)
            except NotPermitted:
                assert (parent_path, child_path) not in NARROWER, f"{child_path} lies within {parent_path}"
                continue
            for path in THINGS:
                too_much = _allows(bench, child.handle, receiver, path)
                too_much = too_much and not _allows(bench, parent.handle, giver, path)
                assert not too_much, f"{child_path} from {parent_path} allows {path}, its parent does not"
    whole = await bench.root(giver, "mcp://fs/read/**")
    for uri in ("mcp://fs/write/a", "mcp://shell/execute/a"):
        with refuses(NotPermitted, what=f"handing on {uri} from a right to read"):
            await bench.kernel.delegate(whole.handle, giver, receiver, parse_resource(uri))


async def _hands_on(bench: Bench) -> None:
    kernel, (giver, receiver, _) = bench.kernel, bench.agents
    root = await bench.root(giver, "mcp://fs/read/data/**")
    child = await kernel.delegate(root.handle, giver, receiver, options=GrantOptions(metadata={"why": ""}))
    right = child.capability
    right.validate()
    assert right.resource_uri == root.capability.resource_uri, "no resource keeps the parent's"
    assert right.principal_id == receiver, "the receiver holds it"
    assert right.parent_capability_id == root.capability.id, "a child knows its parent"
    assert right.delegation_depth == root.capability.delegation_depth - 1, "every step costs one depth"
    assert right.metadata == {"why": ""}, "metadata is kept"
    assert child.handle != root.handle, "a child has its own handle"
    assert list(kernel.held_by(receiver)) == [right], "the receiver holds it"
    verdict = await kernel.authorize(receiver, READ)
    assert verdict.capability_id == right.id, "the child's own right allows it"
    assert not kernel.validate(child.handle, giver, READ).allowed, "the giver does not hold the child"
    assert kernel.validate(root.handle, giver, READ).allowed, "the giver keeps the parent"


async def _refuses_to_hand_on(bench: Bench) -> None:
    kernel, (giver, receiver, third) = bench.kernel, bench.agents
    root = await bench.root(giver, READ.uri)
    for handle, holder, what in (
        (Sealed(b"made up"), giver, "delegating with a made-up handle"),
        (root.handle, receiver, "delegating what somebody else holds"),
    ):
        with refuses(NotPermitted, what=what):
            await kernel.delegate(handle, holder, third)
    with refuses(NotPermitted, CallerMistaken, what="delegating to a made-up principal"):
        await kernel.delegate(root.handle, giver, PrincipalId("nobody"))
    short = await kernel.request(giver, READ, GrantOptions(expires_in=timedelta(seconds=5)))
    dead = await bench.root(giver, READ.uri)
    await kernel.revoke(dead.capability.id, giver)
    bench.clock.advance(5)
    for grant, what in ((short, "delegating an expired right"), (dead, "delegating a revoked right")):
        with refuses(NotPermitted, what=what):
            await kernel.delegate(grant.handle, giver, receiver)
    assert list(kernel.held_by(receiver)) == [], "a refused delegation leaves no trace"


async def _limits_the_depth(bench: Bench) -> None:
    kernel, (giver, receiver, third) = bench.kernel, bench.agents
    root = await kernel.request(giver, READ, GrantOptions(delegation_depth=2))
    child = await kernel.delegate(root.handle, giver, receiver)
    last = await kernel.delegate(child.handle, receiver, third)
    assert last.capability.delegation_depth == 0, "2, then 1, then 0"
    with refuses(NotPermitted, what="delegating at depth zero"):
        await kernel.delegate(last.handle, third, giver)
    none = await kernel.delegate(root.handle, giver, receiver, options=GrantOptions(delegation_depth=0))
    assert none.capability.delegation_depth == 0, "depth zero is a value"
    with refuses(NotPermitted, what="delegating at depth zero"):
        await kernel.delegate(none.handle, receiver, third)
    try:
        deep = await kernel.delegate(root.handle, giver, receiver, options=GrantOptions(delegation_depth=9))
    except (NotPermitted, CallerMistaken):
        return
    assert deep.capability.delegation_depth <= 1, "a child cannot go deeper than its parent"


async def _narrows_limits(bench: Bench) -> None:
    kernel, (giver, receiver, third) = bench.kernel, bench.agents
    now = bench.clock.now()
    root = await kernel.request(
        giver, READ, GrantOptions(expires_in=timedelta(minutes=1), constraints={"max_uses": 2})
    )
    for options, expires, uses in (
        (GrantOptions(), 60, 2),
        (GrantOptions(expires_in=timedelta(hours=1), constraints={"max_uses": 9}), 60, 2),
        (GrantOptions(expires_in=timedelta(seconds=30), constraints={"max_uses": 1}), 30, 1),
    ):
        right = (await kernel.delegate(root.handle, giver, receiver, options=options)).capability
        assert right.expires_at == now + timedelta(seconds=expires), "expiry is the earlier of both"
        assert right.constraints.get("max_uses", 3) <= uses, f"{right.constraints} is more than {uses} uses"
    other = await kernel.request(giver, READ, GrantOptions(constraints={"max_uses": 1}))
    child = await kernel.delegate(other.handle, giver, third)
    assert (await kernel.authorize(giver, READ, handle=other.handle)).allowed, "one use is allowed"
    assert not (await kernel.authorize(giver, READ, handle=other.handle)).allowed, "a second one is not"
    spent = await kernel.authorize(third, READ, handle=child.handle)
    assert not spent.allowed, "a child cannot do what its parent can no longer do"


async def _family(bench: Bench) -> list[Grant]:
    """Make a root of the owner, a child, a grandchild, and a second child."""
    kernel, (first, second, third) = bench.kernel, bench.agents
    root = await bench.root(bench.owner, "mcp://fs/read/**")
    child = await kernel.delegate(root.handle, bench.owner, first)
    grandchild = await kernel.delegate(child.handle, first, second)
    sibling = await kernel.delegate(root.handle, bench.owner, third)
    return [root, child, grandchild, sibling]


async def _revokes_families(bench: Bench) -> None:
    kernel, (first, second, third) = bench.kernel, bench.agents
    root, child, grandchild, sibling = await _family(bench)
    ended = list(await kernel.revoke(child.capability.id, bench.owner, "no longer needed"))
    assert sorted(ended) == sorted([child.capability.id, grandchild.capability.id]), f"ended: {ended}"
    for grant, holder in ((child, first), (grandchild, second)):
        verdict = kernel.validate(grant.handle, holder, READ)
        assert verdict.reason == "capability_revoked", f"should be revoked: {verdict}"
        assert not (await kernel.authorize(holder, READ)).allowed, "a revoked right allows nothing"
        assert list(kernel.held_by(holder)) == [], "a revoked right is not held"
        with refuses(NotFound, what="the handle of a revoked right"):
            kernel.handle_of(grant.capability.id, holder)
    for grant, holder in ((root, bench.owner), (sibling, third)):
        assert kernel.validate(grant.handle, holder, READ).allowed, "others keep what they hold"
    live = [capability.id for capability in kernel.capabilities()]
    assert live == [root.capability.id, sibling.capability.id], "only the live are listed, oldest first"
    for capability in (child.capability.id, grandchild.capability.id):
        assert list(await kernel.revoke(capability, bench.owner)) == [], "revoking again is harmless"
    ended = list(await kernel.revoke(root.capability.id, bench.owner))
    assert sorted(ended) == sorted([root.capability.id, sibling.capability.id]), "only what ended now"


async def _asks_who_revokes(bench: Bench) -> None:
    kernel, (first, second, third) = bench.kernel, bench.agents
    _, child, grandchild, sibling = await _family(bench)
    for stranger in (third, second):
        with refuses(NotPermitted, what="revoking somebody else's right"):
            await kernel.revoke(child.capability.id, stranger)
    assert len(kernel.capabilities()) == 4, "a refused revocation ends nothing"
    with refuses(NotFound, what="revoking an unknown capability"):
        await kernel.revoke(CapabilityId(new_id("cap", SeededEntropy(404))), bench.owner)
    assert list(await kernel.revoke(grandchild.capability.id, second)) == [grandchild.capability.id], "own"
    again = await kernel.delegate(child.handle, first, second)
    assert list(await kernel.revoke(again.capability.id, first)) == [again.capability.id], "a child's"
    assert list(await kernel.revoke(sibling.capability.id, SYSTEM)) == [sibling.capability.id], "by system"


async def _revokes_all_of_a_principal(bench: Bench) -> None:
    kernel, (first, second, third) = bench.kernel, bench.agents
    root, child, grandchild, sibling = await _family(bench)
    second_right = await kernel.delegate(root.handle, bench.owner, first, READ)
    ended = list(await kernel.revoke_all(first, SYSTEM, "it died"))
    expected = [child.capability.id, grandchild.capability.id, second_right.capability.id]
    assert sorted(ended) == sorted(expected), f"everything it held and handed on ends: {ended}"
    assert list(kernel.held_by(first)) == list(kernel.held_by(second)) == [], "nothing is left"
    assert kernel.validate(sibling.handle, third, READ).allowed, "others keep what they hold"
    assert list(await kernel.revoke_all(first, SYSTEM)) == [], "revoking again is harmless"


def _allows(bench: Bench, handle: Sealed, principal: PrincipalId, path: str) -> bool:
    return bench.kernel.validate(handle, principal, Resource("fs", "read", path)).allowed


DELEGATION: Final = (
    _reads_patterns,
    _never_widens,
    _hands_on,
    _refuses_to_hand_on,
    _limits_the_depth,
    _narrows_limits,
    _revokes_families,
    _asks_who_revokes,
    _revokes_all_of_a_principal,
)
"""Every part; `check_kernel` runs them."""
