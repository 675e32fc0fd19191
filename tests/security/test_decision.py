import asyncio
from datetime import timedelta

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Capability, Facts
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import CapabilityId, PrincipalId
from mcp_interface.testing import START
from mcp_security import Right, judge
from mcp_security.decision import choose, within

HOLDER = PrincipalId("agent_" + "a" * 32)
OTHER = PrincipalId("agent_" + "b" * 32)


def right(uri: str = "mcp://fs/read/data/**", number: int = 1, **fields) -> Right:
    return Right.of(
        Capability(
            id=CapabilityId(f"cap_{number:032x}"),
            resource_uri=uri,
            principal_id=HOLDER,
            granted_at=START,
            **fields,
        )
    )


WANTED = parse_resource("mcp://fs/read/data/x")
ELSEWHERE = parse_resource("mcp://fs/write/etc/passwd")


def test_the_questions_are_asked_in_the_order_of_the_specification() -> None:
    late = START + timedelta(hours=1)
    bad = right(expires_at=late, constraints={"max_uses": 1, "denied_paths": ["/data/x"]})
    asked = [
        (judge(bad, OTHER, ELSEWHERE, late, revoked=True, spent=True), "capability_revoked"),
        (judge(bad, OTHER, ELSEWHERE, late, spent=True), "expired"),
        (judge(bad, OTHER, ELSEWHERE, START, spent=True), "wrong_principal"),
        (judge(bad, HOLDER, ELSEWHERE, START, spent=True), "resource_mismatch"),
        (judge(bad, HOLDER, parse_resource("mcp://fs/read/x"), START, spent=True), "path_not_allowed"),
        (judge(bad, HOLDER, WANTED, START, spent=True), "constraint_violated"),
        (judge(bad, HOLDER, parse_resource("mcp://fs/read/data/y"), START, spent=True), "uses_exhausted"),
        (judge(bad, HOLDER, parse_resource("mcp://fs/read/data/y"), START), "allowed"),
    ]
    assert [verdict.reason for verdict, _ in asked] == [reason for _, reason in asked]


def test_an_unknown_constraint_denies_at_judgement() -> None:
    verdict = judge(right(constraints={"moon_phase": "full"}), HOLDER, WANTED, START)
    assert (verdict.allowed, verdict.reason) == (False, "unknown_constraint")


def test_a_malformed_constraint_denies_at_judgement() -> None:
    verdict = judge(right(constraints={"max_uses": "many"}), HOLDER, WANTED, START)
    assert (verdict.allowed, verdict.reason) == (False, "constraint_violated")


def test_a_denial_names_the_nearest_grant_and_the_right_that_would_help() -> None:
    verdict = judge(right(), HOLDER, parse_resource("mcp://fs/read/etc/passwd"), START)
    assert verdict.needed == "mcp://fs/read/etc/passwd"
    assert "mcp://fs/read/data/**" in verdict.message


@pytest.mark.parametrize("wanted", ["mcp://db/read/data/x", "mcp://fs/write/data/x", "mcp://fs/read/datax"])
def test_a_right_says_nothing_about_another_type_operation_or_path(wanted: str) -> None:
    elsewhere = parse_resource(wanted)
    assert not judge(right(), HOLDER, elsewhere, START).allowed
    assert not within(elsewhere, right().resource)


def test_a_denial_carries_the_right_that_came_nearest() -> None:
    verdict = judge(right(), HOLDER, ELSEWHERE, START)
    assert (verdict.capability_id, verdict.covering) == (right().capability.id, "mcp://fs/read/data/**")


def test_only_names_of_hosts_are_kept_from_wildcards() -> None:
    assert within(parse_resource("mcp://fs/read/http/localhost/x"), parse_resource("mcp://fs/read/**"))


def test_a_pattern_is_allowed_only_as_a_whole() -> None:
    assert judge(right(), HOLDER, parse_resource("mcp://fs/read/data/sub/"), START).allowed
    holes = right(constraints={"denied_paths": ["/data/sub/secret"]})
    assert not judge(holes, HOLDER, parse_resource("mcp://fs/read/data/sub/"), START).allowed
    assert judge(holes, HOLDER, parse_resource("mcp://fs/read/data/other/"), START).allowed


def test_with_holes_in_it_only_the_judged_thing_is_covering() -> None:
    assert judge(right(), HOLDER, WANTED, START).covering == "mcp://fs/read/data/**"
    holes = right(constraints={"denied_paths": ["/data/secret"]})
    assert judge(holes, HOLDER, WANTED, START).covering == WANTED.uri


def test_what_a_request_is_led_to_is_judged_again_so_its_whole_pattern_is_covering() -> None:
    api = right("mcp://api/get/https/example.com/**", constraints={"max_bytes": 9})
    wanted = parse_resource("mcp://api/get/https/example.com/x")
    verdict = judge(api, HOLDER, wanted, START, facts=Facts(size=1))
    assert (verdict.allowed, verdict.covering) == (True, "mcp://api/get/https/example.com/**")


@pytest.mark.parametrize(
    ("uris", "reason", "nearest"),
    [
        ([], "no_capability", None),
        (["mcp://tool/execute/s/t"], "no_capability", None),
        (["mcp://fs/write/**"], "resource_mismatch", 0),
        (["mcp://fs/write/**", "mcp://fs/read/other/**"], "path_not_allowed", 1),
        (["mcp://fs/read/other/**", "mcp://fs/read/data/y"], "path_not_allowed", 1),
        (["mcp://fs/read/data/y", "mcp://fs/read/other/**"], "path_not_allowed", 0),
        (["mcp://fs/read/other/**", "mcp://fs/read/third/**"], "path_not_allowed", 0),
    ],
)
def test_a_denial_names_the_nearest_grant(uris: list[str], reason: str, nearest: int | None) -> None:
    rights = [right(uri, number) for number, uri in enumerate(uris)]
    verdict = choose([(one, judge(one, HOLDER, WANTED, START)) for one in rights], HOLDER, WANTED)
    assert verdict.reason == reason
    assert verdict.capability_id == (None if nearest is None else rights[nearest].capability.id)
    assert verdict.needed == WANTED.uri


def test_unlimited_uses_are_spent_first() -> None:
    rights = [right(number=1, constraints={"max_uses": 1}), right(number=2)]
    verdict = choose([(one, judge(one, HOLDER, WANTED, START)) for one in rights], HOLDER, WANTED)
    assert verdict.capability_id == rights[1].capability.id


def test_the_first_of_two_counted_rights_is_used_even_beside_a_nearer_refusal() -> None:
    counted = {"max_uses": 1}
    rights = [
        right("mcp://fs/read/data/x", 1, expires_at=START),
        right("mcp://fs/read/**", 2, constraints=counted),
        right("mcp://fs/read/data/**", 3, constraints=counted),
    ]
    verdict = choose([(one, judge(one, HOLDER, WANTED, START)) for one in rights], HOLDER, WANTED)
    assert verdict.allowed and verdict.capability_id == rights[1].capability.id


@pytest.mark.parametrize("wide", ["**", "http/**", "http/*/**", "http/loc*/**", "http/localhost*/**"])
@pytest.mark.parametrize(
    "near", ["localhost:8080/x", "127.0.0.1/x", "localhost/**", "[::1]:80/x", "10.0.0.1/x"]
)
def test_no_wildcard_reaches_or_becomes_a_host_near_this_machine(room, wide: str, near: str) -> None:
    outer, inner = parse_resource(f"mcp://api/get/{wide}"), parse_resource(f"mcp://api/get/http/{near}")
    assert not within(inner, outer)
    assert within(inner, inner)

    async def scenario() -> None:
        async with room.kernel() as kernel:
            root = await kernel.request(room.owner, outer)
            assert not kernel.validate(root.handle, room.owner, inner).allowed
            with pytest.raises(NotPermitted):
                await kernel.delegate(root.handle, room.owner, room.agents[0], inner)

    asyncio.run(scenario())
