import pytest

from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_security.constraints import compile_rules, meets, merge
from mcp_security.patterns import Paths


def test_numbers_meet_at_the_smaller_one() -> None:
    assert merge({"max_uses": 100}, {"max_uses": 10**9}) == {"max_uses": 100}
    assert merge({"max_uses": 100}, {"max_uses": 3}) == {"max_uses": 3}
    assert merge({"max_delegation_depth": 0}, {"max_delegation_depth": 5}) == {"max_delegation_depth": 0}


def test_a_limit_of_either_side_stays() -> None:
    assert merge({"max_uses": 5}, {}) == {"max_uses": 5}
    assert merge({}, {"max_uses": 5}) == {"max_uses": 5}


@pytest.mark.parametrize(
    "child", [["/"], ["/project"], ["/proj"], ["/project-evil/**"], ["/project/a", "/b"]]
)
def test_allowed_paths_outside_the_parents_are_refused(child: list[str]) -> None:
    with pytest.raises((NotPermitted, InvalidRecord)):
        merge({"allowed_paths": ["/project/a/**"]}, {"allowed_paths": child})


def test_allowed_paths_inside_the_parents_are_kept() -> None:
    assert merge({"allowed_paths": ["/a/**", "/b/**"]}, {"allowed_paths": ["/b/c"]}) == {
        "allowed_paths": ["/b/c"]
    }


def test_an_empty_list_of_allowed_paths_means_nothing_not_everything() -> None:
    for parent in ({}, {"allowed_paths": ["/a/**"]}):
        with pytest.raises(InvalidRecord, match="allows nothing"):
            merge(parent, {"allowed_paths": []})


def test_denied_paths_add_up() -> None:
    merged = merge({"denied_paths": ["/a/**"]}, {"denied_paths": ["/b"]})
    assert merged == {"denied_paths": ["/a/**", "/b"]}
    assert merge({"denied_paths": ["/a/**"]}, {"denied_paths": []}) == {"denied_paths": ["/a/**"]}


def test_an_unknown_key_denies_on_both_sides() -> None:
    for parent, child in (({"moon": 1}, {}), ({}, {"moon": 1})):
        with pytest.raises(NotPermitted) as refused:
            merge(parent, child)
        assert refused.value.details["reason"] == "unknown_constraint"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_uses", 0), ("max_uses", -1), ("max_uses", True), ("max_uses", 1.5), ("max_uses", "3"),
        ("max_uses", None), ("max_uses", 2**60), ("max_delegation_depth", 11), ("allowed_paths", "/a"),
        ("allowed_paths", [1]), ("allowed_paths", ["../a"]), ("denied_paths", ["/a/../b"]),
        ("denied_paths", None), ("allowed_paths", ["/a"] * 2 + [f"/{n}" for n in range(1001)]),
    ],
)  # fmt: skip
def test_a_malformed_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(InvalidRecord) as refused:
        merge({}, {key: value})
    assert refused.value.rule == "invalid_constraint"


def test_rules_judge_paths() -> None:
    rules = compile_rules({"allowed_paths": ["/a/**"], "denied_paths": ["/a/secret"]})

    def problem(path: str) -> str | None:
        return next((why for check in rules.checks if (why := check(Paths.parse(path)))), None)

    assert problem("/a/b") is None
    assert "allowed_paths" in (problem("/b") or "")
    assert "denied_paths" in (problem("/a/secret/x") or "")
    assert "denied_paths" in (problem("/a/**") or "")


def test_the_meet_is_idempotent() -> None:
    parent = {"max_uses": 3, "denied_paths": ["/x"], "allowed_paths": ["/a/**"]}
    child = merge(parent, {"max_uses": 2, "denied_paths": ["/y"], "allowed_paths": ["/a/b"]})
    assert meets(parent, child)
    assert not meets(child, parent)
    assert not meets(parent, {**child, "moon": 1})
