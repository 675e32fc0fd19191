from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from mcp_interface.capability import Capability, Sealed
from mcp_interface.events import CapabilityGranted, CapabilityRevoked, CapabilityUsed, RevocationSettled
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.testing import START
from mcp_security import Right, derivation
from mcp_security.derivation import Derivation, Node, attenuates

HOLDERS = [PrincipalId(f"agent_{number:032x}") for number in range(4)]
LATER = START + timedelta(hours=1)


def name(number: int) -> CapabilityId:
    return CapabilityId(f"cap_{number:032x}")


def capability(number: int, parent: int | None = None, holder: int = 0, **fields: Any) -> Capability:
    kept: dict[str, Any] = {
        "resource_uri": "mcp://fs/read/data/**",
        "granted_at": START,
        "delegation_depth": 100 - number,
        **fields,
    }
    above = None if parent is None else name(parent)
    return Capability(id=name(number), principal_id=HOLDERS[holder], parent_capability_id=above, **kept)


def grown(*capabilities: Capability) -> Derivation:
    secrets = count(1)
    tree = Derivation(lambda: next(secrets).to_bytes(16, "big"))
    for each in capabilities:
        tree.apply(CapabilityGranted(timestamp=START, capability=each))
    return tree


def node(tree: Derivation, number: int) -> Node:
    found = tree.get(name(number))
    assert found is not None
    return found


def revoked(*numbers: int, seq: int | None = None) -> CapabilityRevoked:
    return CapabilityRevoked(
        timestamp=START, capability_ids=[name(n) for n in numbers], by=SYSTEM, reason="", audit_seq=seq
    )


def settled(*numbers: int) -> RevocationSettled:
    return RevocationSettled(timestamp=START, capability_ids=[name(n) for n in numbers], ended=0)


def test_a_revocation_that_is_replayed_ends_all_it_names_and_what_came_from_them() -> None:
    tree = grown(capability(1), capability(2), capability(3, parent=2, holder=1), capability(4, holder=2))
    held = [node(tree, number) for number in (1, 2, 3)]
    tree.apply(revoked(1, 2))
    assert not any(each.alive() for each in held)
    assert [each.id for each in tree.live(START)] == [name(4)]
    assert tree.recently_ended(HOLDERS[0]) == held[:2] and tree.held_by(HOLDERS[0], START) == []
    assert tree.unsettled() == held[:2]


def test_what_is_settled_is_forgotten_with_all_that_came_from_it() -> None:
    tree = grown(capability(1), capability(2, parent=1, holder=1), capability(3, holder=2))
    handles = [node(tree, number).handle for number in (1, 2)]
    holder_of_all = node(tree, 1)
    tree.apply(revoked(1))
    tree.apply(settled(9, 1))  # one that is gone already is passed over
    assert tree.forget_settled(1) and not tree.forget_settled()
    assert [each.id for each in tree] == [name(3)] and len(tree) == 1
    assert [tree.has_ended(name(number)) for number in (1, 2, 3)] == [True, True, False]
    assert [tree.find(Sealed(handle.reveal())) for handle in handles] == [None, None]
    assert tree.held_by(HOLDERS[1], START) == [] and tree._held.keys() == {HOLDERS[2]}
    assert not holder_of_all.children and tree.unsettled() == []


def test_forgetting_twice_is_harmless() -> None:
    tree = grown(capability(1), capability(2))
    gone = node(tree, 1)
    tree._forget([gone, gone, node(tree, 2)])
    assert len(tree) == 0 and tree.lately_ended(5) == [name(1), name(2)]


def test_only_what_was_taken_back_itself_and_is_on_record_waits_to_be_settled() -> None:
    tree = grown(capability(1), capability(2), capability(3))
    node(tree, 1).take_back()
    node(tree, 2).recorded = True
    assert tree.unsettled() == []
    node(tree, 1).recorded = True
    assert tree.unsettled() == [node(tree, 1)]


def test_the_highest_number_of_an_audit_entry_is_kept() -> None:
    tree = grown()
    assert tree.audit_seq == 0
    for event, highest in (
        (CapabilityGranted(timestamp=START, capability=capability(4)), 0),
        (revoked(4), 0),
        (CapabilityGranted(timestamp=START, capability=capability(1)), 0),
        (CapabilityGranted(timestamp=START, capability=capability(2), audit_seq=5), 5),
        (CapabilityGranted(timestamp=START, capability=capability(3), audit_seq=4), 5),
        (revoked(1, seq=9), 9),
        (revoked(2, seq=8), 9),
        (revoked(3), 9),
    ):
        tree.apply(event)
        assert tree.audit_seq == highest


def test_uses_never_go_back() -> None:
    tree = grown(capability(1, constraints={"max_uses": 5}))
    for uses in (3, 2):
        tree.apply(CapabilityUsed(timestamp=START, capability_id=name(1), uses=uses))
    assert node(tree, 1).uses == 3 and not node(tree, 1).spent


def test_of_ended_ids_the_latest_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "MAX_ENDED", 3)
    tree = grown()
    tree.remember_ended(name(number) for number in range(1, 6))
    assert [tree.has_ended(name(number)) for number in range(1, 6)] == [False, False, True, True, True]
    assert tree.lately_ended(2) == [name(4), name(5)]
    assert tree.lately_ended(9) == [name(3), name(4), name(5)]


def test_of_rights_that_ended_a_few_of_the_latest_holders_are_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(derivation, "REMEMBERED", 2)
    monkeypatch.setattr(derivation, "MAX_REMEMBERING", 2)
    tree = grown(
        *(capability(number, holder=0) for number in (1, 2, 3)),
        capability(4, holder=1),
        capability(5, holder=0),
        capability(6, holder=2),
    )
    kept = [node(tree, number) for number in range(1, 7)]
    for each in kept[:5]:
        tree._forget([each])
    assert tree.recently_ended(HOLDERS[0]) == [kept[2], kept[4]]
    assert tree.recently_ended(HOLDERS[1]) == [kept[3]]
    tree._forget([kept[5]])
    # the second holder was the first to be silent
    assert [len(tree.recently_ended(holder)) for holder in HOLDERS] == [2, 0, 1, 0]


def test_a_walk_to_the_root_is_written_down_for_everybody_on_it() -> None:
    tree = grown(capability(1), *(capability(number, parent=number - 1) for number in range(2, 8)))
    chain = [node(tree, number) for number in range(1, 8)]
    assert chain[-1].alive()
    assert all(each.seen == each.family.epoch for each in chain)
    chain[2].take_back()
    assert not chain[-1].alive()
    assert [each.revoked for each in chain] == [False, False, True, True, True, True, True]
    assert chain[1].alive() and chain[0].seen == chain[1].seen == chain[0].family.epoch


def test_nothing_of_the_tree_can_be_pickled() -> None:
    tree = grown(capability(1))
    for secret in (tree, node(tree, 1), node(tree, 1).handle):
        with pytest.raises(TypeError):
            secret.__reduce__()


@pytest.mark.parametrize(
    ("changed", "narrower"),
    [
        ({}, True),
        ({"expires_at": START}, True),
        ({"expires_at": LATER + timedelta(microseconds=1)}, False),
        ({"expires_at": None}, False),
        ({"delegation_depth": 9}, True),
        ({"delegation_depth": 10}, False),
        ({"delegation_depth": 11}, False),
        ({"resource_uri": "mcp://fs/read/data/x"}, True),
        ({"resource_uri": "mcp://fs/read/**"}, False),
        ({"resource_uri": "mcp://fs/write/data/x"}, False),
        ({"resource_uri": "mcp://db/read/data/x"}, False),
        ({"constraints": {"max_uses": 4}}, True),
        ({"constraints": {"max_uses": 6}}, False),
        ({"constraints": {}}, False),
        ({"constraints": {"moon_phase": "full"}}, True),  # denies whatever it is asked for
    ],
)
def test_a_child_is_at_most_its_parent_in_every_respect(changed: dict[str, Any], narrower: bool) -> None:
    fields: dict[str, Any] = {"expires_at": LATER, "constraints": {"max_uses": 5}}
    parent = Right.of(capability(1, delegation_depth=10, **fields))
    child = Right.of(capability(2, parent=1, **{"delegation_depth": 5, **fields, **changed}))
    assert attenuates(child, parent) == narrower


def test_below_what_never_ends_a_child_may_end_or_not() -> None:
    parent = Right.of(capability(1, delegation_depth=10))
    for end in (None, LATER):
        assert attenuates(Right.of(capability(2, parent=1, delegation_depth=5, expires_at=end)), parent)


def test_below_limits_that_cannot_be_read_everything_denies_and_nothing_is_compared() -> None:
    parent = Right.of(capability(1, delegation_depth=10, constraints={"moon_phase": "full"}))
    assert attenuates(Right.of(capability(2, parent=1, delegation_depth=5)), parent)


def test_below_a_right_that_cannot_be_judged_nothing_can() -> None:
    strange = capability(1, constraints={"phase_of_the_moon": "full"})
    tree = grown(strange, capability(2, parent=1, holder=1), capability(3, holder=2))
    assert [node(tree, number).right.fault is None for number in (1, 2, 3)] == [False, False, True]
    assert node(tree, 2).allow is None and node(tree, 3).allow is not None
    own = grown(strange, capability(2, parent=1, constraints={"max_uses": 0}))
    assert node(own, 2).right.fault != node(own, 1).right.fault  # the nearest reason is its own
