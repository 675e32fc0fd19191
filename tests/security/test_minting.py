from datetime import timedelta
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Capability, GrantOptions
from mcp_interface.errors import InvalidRecord, NotPermitted, OurBug
from mcp_interface.ids import CapabilityId, PrincipalId
from mcp_interface.testing import START
from mcp_security import Right, minting
from mcp_security.derivation import Derivation, Node

OWNER = PrincipalId("user_" + "0" * 32)
AGENT = PrincipalId("agent_" + "a" * 32)
ROOT = CapabilityId("cap_" + "1" * 32)
CHILD = CapabilityId("cap_" + "2" * 32)
DATA = parse_resource("mcp://fs/read/data/**")


def parent(**fields: Any) -> Node:
    capability = Capability(
        id=ROOT,
        resource_uri=DATA.uri,
        principal_id=OWNER,
        granted_at=START,
        **{"delegation_depth": 3, **fields},
    )
    return Node(Right.of(capability), b"secret", None, Derivation(lambda: b""))


def child(above: Node, wanted: str | None = None, **options: Any) -> Capability:
    resource = None if wanted is None else parse_resource(wanted)
    return minting.child(CHILD, above, OWNER, AGENT, resource, GrantOptions(**options), START)


def refusal(above: Node, wanted: str | None = None, **options: Any) -> dict[str, Any]:
    with pytest.raises(NotPermitted) as caught:
        child(above, wanted, **options)
    return dict(caught.value.details)


def test_an_agent_that_asks_is_told_what_it_lacks() -> None:
    with pytest.raises(NotPermitted) as caught:
        minting.root(ROOT, AGENT, DATA, GrantOptions(), START)
    assert caught.value.details == {"reason": "no_capability", "grant": DATA.uri}


def test_nothing_is_derived_from_what_was_taken_back_or_is_used_up() -> None:
    above = parent()
    above.take_back()
    assert refusal(above)["reason"] == "capability_revoked"
    spent = parent(constraints={"max_uses": 1})
    spent.uses = 1
    assert refusal(spent)["reason"] == "uses_exhausted"


def test_a_refusal_names_the_grant_that_would_help() -> None:
    details = refusal(parent(), "mcp://fs/read/etc")
    assert details == {"reason": "path_not_allowed", "grant": "mcp://fs/read/etc"}


@pytest.mark.parametrize(
    ("left", "limits", "asked", "given"),
    [
        (3, {}, None, 2),
        (3, {}, 2, 2),
        (3, {}, 3, None),
        (3, {}, 0, 0),
        (1, {}, None, 0),
        (0, {}, None, None),
        (0, {}, 0, None),
        (3, {"max_delegation_depth": 1}, None, 1),
        (3, {"max_delegation_depth": 1}, 0, 0),
        (3, {"max_delegation_depth": 9}, None, 2),
    ],
)
def test_depth_shrinks_with_every_step(left: int, limits: Any, asked: int | None, given: int | None) -> None:
    above = parent(delegation_depth=left)
    if given is None:
        assert refusal(above, delegation_depth=asked)["reason"] == "delegation_depth_exhausted"
    else:
        assert child(above, delegation_depth=asked, constraints=limits).delegation_depth == given


@pytest.mark.parametrize(
    ("limits", "asked", "given"),
    [({"max_delegation_depth": 1}, 5, 1), ({"max_delegation_depth": 9}, 5, 5), ({}, 5, 5)],
)
def test_the_depth_of_a_root_keeps_its_own_limit(limits: Any, asked: int, given: int) -> None:
    options = GrantOptions(delegation_depth=asked, constraints=limits)
    assert minting.root(ROOT, OWNER, DATA, options, START).delegation_depth == given


def test_the_earliest_of_three_ends_counts() -> None:
    hour = timedelta(hours=1)
    above = parent(expires_at=START + 2 * hour)
    assert child(above).expires_at == START + 2 * hour
    assert child(above, expires_in=hour).expires_at == START + hour
    assert child(above, expires_in=3 * hour).expires_at == START + 2 * hour
    assert child(above, expires_at=START + hour, expires_in=2 * hour).expires_at == START + hour
    assert child(parent()).expires_at is None


def test_a_wider_child_is_never_handed_out_even_if_the_meet_were_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minting, "merge", lambda parent, child, type: {})
    with pytest.raises(OurBug):
        child(parent(constraints={"max_uses": 1}))


def test_an_end_beyond_the_calendar_is_refused_by_name() -> None:
    with pytest.raises(InvalidRecord) as caught:
        child(parent(), expires_in=timedelta.max)
    assert caught.value.rule == "expires_in"
