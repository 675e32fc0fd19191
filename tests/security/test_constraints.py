"""The table of limits: reading, the meet, and what is handed on to those who come later."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted
from mcp_security.constraints import KINDS, Question, Rate, compile_rules, meets, merge, read
from mcp_security.patterns import Paths

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
EXAMPLES: dict[str, Any] = {
    "allowed_extensions": [".md", ".txt"],
    "allowed_hosts": ["*.example.com", "192.0.2.7:8080"],
    "allowed_methods": ["get", "head"],
    "allowed_paths": ["/srv/notes/**"],
    "allowed_statements": ["select"],
    "allowed_tables": ["log_*", "users"],
    "allowed_tools": ["files/read_*"],
    "arguments": [{"properties": {"path": {"inside": ["/srv/notes/**"]}}}],
    "commands": {"git": [{"subcommands": {"status": {}}}]},
    "denied_paths": ["/**/.env"],
    "max_bytes": 1000,
    "max_delegation_depth": 2,
    "max_file_size": 1000,
    "max_uses": 5,
    "not_before": "2026-01-31T08:00:00Z",
    "operations": ["read"],
    "rate_limit": [{"count": 10, "per_s": 60}],
    "time_window": [{"zone": "Europe/Zurich", "days": ["mon"], "from": "08:00", "to": "18:00"}],
}


def problem(
    constraints: dict, uri: str, now: datetime = NOON, type: str | None = None, **facts: Any
) -> str | None:
    wanted = parse_resource(uri)
    question = Question(wanted, Paths.of(wanted.path), Facts(**facts), now)
    return next((why for check in compile_rules(constraints, type).checks if (why := check(question))), None)


def test_every_key_has_an_example_that_is_canonical_and_survives_json() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    for key, value in EXAMPLES.items():
        canonical = read({key: value})
        assert read(canonical) == canonical
        assert json.loads(json.dumps(canonical)) == canonical
        assert meets(canonical, merge(canonical, {})) and meets(canonical, merge({}, canonical))


def test_numbers_meet_at_the_smaller_one() -> None:
    assert merge({"max_uses": 100}, {"max_uses": 10**9}) == {"max_uses": 100}
    assert merge({"max_uses": 100}, {"max_uses": 3}) == {"max_uses": 3}
    assert merge({"max_delegation_depth": 0}, {"max_delegation_depth": 5}) == {"max_delegation_depth": 0}


def test_a_limit_of_either_side_stays() -> None:
    assert merge({"max_uses": 5}, {}) == {"max_uses": 5}
    assert merge({}, {"max_uses": 5}) == {"max_uses": 5}


@pytest.mark.parametrize(
    "child", [["/"], ["/**"], ["/project"], ["/proj"], ["/project-evil/**"], ["/project/a", "/b"]]
)
def test_allowed_paths_outside_the_parents_are_refused(child: list[str]) -> None:
    with pytest.raises((NotPermitted, InvalidRecord)):
        merge({"allowed_paths": ["/project/a/**"]}, {"allowed_paths": child})


def test_allowed_paths_inside_the_parents_are_kept() -> None:
    assert merge({"allowed_paths": ["/a/**", "/b/**"]}, {"allowed_paths": ["b/c"]}) == {
        "allowed_paths": ["/b/c"]
    }


def test_an_empty_list_means_nothing_not_everything() -> None:
    for key, value in EXAMPLES.items():
        if key.startswith("allowed_") or key in {"operations", "arguments", "rate_limit", "time_window"}:
            for parent in ({}, {key: value}):
                with pytest.raises(InvalidRecord) as refused:
                    merge(parent, {key: []})
                assert refused.value.rule == "invalid_constraint"


@pytest.mark.parametrize(
    ("key", "parent", "child"),
    [
        ("allowed_hosts", ["*.x.com"], ["x.com"]),
        ("allowed_methods", ["get"], ["post"]),
        ("allowed_tables", ["a*"], ["b*"]),
        ("allowed_tools", ["a/*"], ["b/*"]),
        ("allowed_extensions", [".md"], [".txt"]),
        ("allowed_statements", ["select"], ["insert"]),
        ("operations", ["read"], ["write"]),
        ("commands", {"git": {}}, {"rm": {}}),
        (
            "time_window",
            {"zone": "UTC", "from": "08:00", "to": "10:00"},
            {"zone": "UTC", "from": "10:00", "to": "12:00"},
        ),
    ],
)
def test_an_empty_meet_denies(key: str, parent: Any, child: Any) -> None:
    with pytest.raises(NotPermitted) as refused:
        merge({key: parent}, {key: child})
    assert (refused.value.details["reason"], refused.value.details["constraint"]) == (
        "constraint_violated",
        key,
    )


def test_denied_paths_add_up() -> None:
    merged = merge({"denied_paths": ["/a/**"]}, {"denied_paths": ["/b"]})
    assert merged == {"denied_paths": ["/a/**", "/b"]}
    assert merge({"denied_paths": ["/a/**"]}, {"denied_paths": []}) == {"denied_paths": ["/a/**"]}


def test_rates_add_up_so_that_a_child_cannot_lift_its_parents() -> None:
    merged = merge({"rate_limit": {"count": 100, "per_s": 60}}, {"rate_limit": {"count": 10**9, "per_s": 60}})
    assert compile_rules(merged).rates == (Rate(100, 60), Rate(10**9, 60))


def test_an_unknown_key_denies_on_both_sides_and_within() -> None:
    for parent, child in (
        ({"moon": 1}, {}),
        ({}, {"moon": 1}),
        ({}, {"delegation_constraints": {"moon": 1}}),
    ):
        with pytest.raises(NotPermitted) as refused:
            merge(parent, child)
        assert refused.value.details == {"reason": "unknown_constraint", "constraint": "moon"}
    assert not meets({}, {"moon": 1})
    with pytest.raises(NotPermitted):
        read({1: 2})  # type: ignore[dict-item]


HUGE = 10**5000
CYCLE: list = []
CYCLE.append(CYCLE)


WRONG = [
    None, True, False, 0.5, -1, HUGE, -HUGE, float("nan"), float("inf"), "", "3", "\ud800", b"x",
    {"moon": 1}, {1: 2}, [[]], [None], [True], [1], ["\x00"], ["\ud800"], [{"moon": 1}], CYCLE, object(),
    ["x" * 5000], ["../a"], ["a/../b"], [f"/{n}" for n in range(1001)], [{"count": 1}], {"not": CYCLE},
]  # fmt: skip


@pytest.mark.parametrize("key", [*EXAMPLES, "delegation_constraints"])
def test_a_malformed_value_is_refused_with_a_typed_error(key: str) -> None:
    for at, value in enumerate(WRONG):
        try:
            merge({}, {key: value})
        except InvalidRecord as refused:
            assert refused.rule == "invalid_constraint"
        except NotPermitted as refused:
            assert refused.details["reason"] == "unknown_constraint"
        else:
            raise AssertionError(f"{key} took the wrong value number {at}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_uses", 0), ("max_uses", 1.0), ("max_uses", 2**60), ("max_delegation_depth", 1001),
        ("allowed_paths", "/a"), ("denied_paths", ["/a/../b"]), ("denied_paths", ["/**" + "/a" * 512]),
        ("denied_paths", [f"/**/a/{n}" for n in range(200)]), ("operations", ["fly"]),
        ("allowed_methods", ["read"]), ("allowed_statements", ["select;drop"]), ("allowed_extensions", ["."]),
        ("allowed_extensions", ["*"]), ("allowed_tables", ["a/b"]), ("allowed_tables", ["**"]),
        ("allowed_tools", ["read"]), ("allowed_tools", ["files/**"]), ("allowed_tools", ["files/"]),
        ("rate_limit", {"count": 1, "per_s": 0.5}), ("rate_limit", {"count": True, "per_s": 1}),
        ("rate_limit", {"count": 1, "per_s": 1, "burst": 5}), ("not_before", "2026-01-31T08:00:00"),
        ("not_before", "0001-01-01T00:00:00+14:00"), ("not_before", "soon"), ("not_before", 0),
        ("delegation_constraints", {"delegation_constraints": {}}), ("delegation_constraints", [["max_uses", 1]]),
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused(key: str, value: Any) -> None:
    with pytest.raises(InvalidRecord) as refused:
        read({key: value})
    assert refused.value.rule == "invalid_constraint"


def test_constraints_that_are_no_object_are_refused() -> None:
    for wrong in ([], "max_uses", None):
        with pytest.raises(InvalidRecord) as refused:
            read(wrong)  # type: ignore[arg-type]
        assert refused.value.details["constraint"] == "constraints"


def test_the_limit_that_is_wrong_is_named() -> None:
    with pytest.raises(InvalidRecord) as refused:
        read({"max_uses": 0})
    assert refused.value.details["constraint"] == "max_uses"


def test_too_much_together_is_refused_and_not_cut_off() -> None:
    some = [{"count": n, "per_s": 1} for n in range(1, 17)]
    more = [{"count": n, "per_s": 2} for n in range(1, 17)]
    with pytest.raises(InvalidRecord):
        merge({"rate_limit": some}, {"rate_limit": more})
    assert not meets({"rate_limit": some}, {"rate_limit": more})
    assert len(read({"rate_limit": some})["rate_limit"]) == 16


def test_what_was_asked_for_need_only_lie_inside_each_of_the_others() -> None:
    parent = {"allowed_paths": ["/a/*"], "delegation_constraints": {"allowed_paths": ["/*/b"]}}
    assert merge(parent, {"allowed_paths": ["/a/b"]})["allowed_paths"] == ["/a/b"]
    with pytest.raises(NotPermitted):
        merge(parent, {})
    with pytest.raises(NotPermitted):
        merge(parent, {"allowed_paths": ["/a/c"]})


@pytest.mark.parametrize(
    ("glob", "count", "readable"),
    [
        ("/a{}/**/b", 170, True),
        ("/a{}/**/b", 171, False),
        ("/**/a{}", 256, True),
        ("/**/a{}", 257, False),
        ("/a{}/b/**", 1000, True),
        ("/a{}/b/c", 1000, True),
    ],
)
def test_only_globs_that_are_looked_for_everywhere_count_as_work(
    glob: str, count: int, readable: bool
) -> None:
    limits = {"denied_paths": [glob.format(number) for number in range(count)]}
    if readable:
        assert len(read(limits)["denied_paths"]) == count
    else:
        with pytest.raises(InvalidRecord, match="512"):
            read(limits)


def test_the_smallest_and_the_largest_values_are_inside() -> None:
    for smallest in ({"rate_limit": [{"count": 1, "per_s": 1}]}, {"max_uses": 1}, {"max_bytes": 0}):
        assert read(smallest) == smallest
    for key, value in (("count", 0), ("per_s", 0)):
        with pytest.raises(InvalidRecord):
            read({"rate_limit": [{"count": 1, "per_s": 1, key: value}]})


def test_the_same_rule_twice_is_one() -> None:
    for key in ("rate_limit", "arguments", "time_window"):
        assert read({key: EXAMPLES[key] * 2}) == {key: EXAMPLES[key]}
        assert len(merge({key: EXAMPLES[key]}, {key: EXAMPLES[key]})[key]) == 1


@pytest.mark.parametrize(
    ("key", "type"),
    [
        ("allowed_hosts", "fs"), ("allowed_methods", "fs"), ("allowed_paths", "api"), ("denied_paths", "db"),
        ("allowed_tables", "fs"), ("allowed_statements", "tool"), ("allowed_tools", "shell"),
        ("allowed_extensions", "tool"), ("commands", "tool"), ("max_file_size", "api"), ("max_bytes", "agent"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_bite_is_refused_at_mint_and_denies_when_judged(key: str, type: str) -> None:
    limits = {key: EXAMPLES[key]}
    with pytest.raises(InvalidRecord, match=f"not {type}"):
        merge({}, limits, type)
    with pytest.raises(InvalidRecord):
        compile_rules(limits, type)
    with pytest.raises(InvalidRecord):
        read({"delegation_constraints": limits}, type)
    operation = {"api": "get", "tool": "execute", "shell": "execute"}.get(type, "read")
    facts = {"arguments": {}, "argv": (), "statement": "select", "size": 1}
    assert "cannot bite" in (problem(limits, f"mcp://{type}/{operation}/srv/notes", **facts) or "")


def test_rules_judge_paths() -> None:
    rules = {"allowed_paths": ["/a/**"], "denied_paths": ["/a/secret"]}
    assert problem(rules, "mcp://fs/read/a/b") is None
    assert "allowed_paths" in (problem(rules, "mcp://fs/read/b") or "")
    assert "denied_paths" in (problem(rules, "mcp://fs/read/a/secret/x") or "")
    assert "denied_paths" in (problem(rules, "mcp://fs/read/a/**") or "")
    assert "more than 256" in (problem(rules, "mcp://fs/read/a" + "/b" * 256) or "")
    assert problem(rules, "mcp://fs/read/a" + "/b" * 255) is None


def test_every_entry_of_a_list_counts() -> None:
    rules = {"allowed_paths": ["/a/**", "/b/**"], "denied_paths": ["/b/one", "/b/two"]}
    assert problem(rules, "mcp://fs/read/b/three") is None
    for denied in ("/b/one", "/b/two"):
        assert "denied_paths" in (problem(rules, f"mcp://fs/read{denied}") or "")
    assert problem({"allowed_tables": ["a*", "b*"]}, "mcp://db/read/main/bc") is None
    with pytest.raises(InvalidRecord):
        read({"allowed_paths": ["/a", "/b/../c"]})


@pytest.mark.parametrize(("size", "inside"), [(-1, False), (0, True), (10, True), (11, False)])
def test_the_edges_of_a_size_are_exact(size: int, inside: bool) -> None:
    assert (problem({"max_bytes": 10}, "mcp://fs/read/x", size=size) is None) == inside


@pytest.mark.parametrize("key", ["max_bytes", "max_file_size"])
def test_a_size_is_judged_and_one_that_is_not_stated_denies(key: str) -> None:
    limits = {key: 10}
    assert problem(limits, "mcp://fs/write/a", size=10) is None
    assert problem(limits, "mcp://fs/write/a", size=11)
    assert problem(limits, "mcp://fs/write/a", size=-1)
    assert "not stated" in (problem(limits, "mcp://fs/write/a") or "")
    assert compile_rules(limits).limits == limits


def test_rules_tell_what_the_kernel_keeps() -> None:
    assert compile_rules({"max_uses": 3}).max_uses == 3
    assert compile_rules({"delegation_constraints": {"max_uses": 3}}).max_uses is None


def test_only_limits_of_time_look_at_the_clock() -> None:
    for key, value in EXAMPLES.items():
        types = KINDS[key].types or {"fs"}
        uri = {"fs": "mcp://fs/read/srv/notes/a.md", "api": "mcp://api/get/https/a.example.com/x"}.get(
            min(types), f"mcp://{min(types)}/execute/files/read_x"
        )
        facts = {"arguments": {}, "argv": ("status",), "statement": "select", "size": 1}
        early, late = datetime(1990, 1, 1, tzinfo=UTC), NOON.replace(hour=9)
        changes = problem({key: value}, uri, early, **facts) != problem({key: value}, uri, late, **facts)
        assert changes == (key in {"time_window", "not_before"}), key


def test_a_right_holds_from_an_instant_and_the_later_one_wins() -> None:
    limits = {"not_before": "2026-06-15T14:00:00+02:00"}
    assert read(limits) == {"not_before": "2026-06-15T12:00:00Z"}
    assert read({"not_before": NOON}) == read(limits)
    assert problem(limits, "mcp://fs/read/a", NOON) is None
    assert problem(limits, "mcp://fs/read/a", NOON.replace(hour=11, minute=59))
    assert problem(limits, "mcp://fs/read/a", NOON.replace(tzinfo=None))
    later = {"not_before": "2026-06-15T12:00:00.5Z"}
    assert merge(limits, later) == merge(later, limits) == read(later)


def test_the_meet_is_idempotent() -> None:
    parent = {"max_uses": 3, "denied_paths": ["/x"], "allowed_paths": ["/a/**"]}
    child = merge(parent, {"max_uses": 2, "denied_paths": ["/y"], "allowed_paths": ["/a/b"]})
    assert meets(parent, child)
    assert not meets(child, parent)
    assert not meets(parent, {**child, "moon": 1})


def test_true_is_not_taken_for_one_when_limits_are_compared() -> None:
    parent = {"arguments": {"properties": {"n": {"const": 1}}}}
    forged = {"arguments": {"properties": {"n": {"const": True}}}}
    assert not meets(parent, forged)
    assert len(merge(parent, forged)["arguments"]) == 2


class TestDelegationConstraints:
    PARENT = {"max_uses": 9, "delegation_constraints": {"max_uses": 2, "allowed_paths": ["/a/b/**"]}}

    def test_they_do_not_bind_the_holder(self) -> None:
        assert problem(self.PARENT, "mcp://fs/read/x") is None
        assert compile_rules(self.PARENT).max_uses == 9

    def test_they_bind_every_child_and_stay(self) -> None:
        child = merge(self.PARENT, {})
        assert (child["max_uses"], child["allowed_paths"]) == (2, ["/a/b/**"])
        assert child["delegation_constraints"] == self.PARENT["delegation_constraints"]
        grandchild = merge(child, {"allowed_paths": ["/a/b/c"], "max_uses": 100})
        assert (grandchild["max_uses"], grandchild["allowed_paths"]) == (2, ["/a/b/c"])
        assert meets(self.PARENT, child) and meets(child, grandchild) and meets(self.PARENT, grandchild)

    def test_a_child_without_them_is_wider(self) -> None:
        assert not meets(self.PARENT, {"max_uses": 9})
        assert not meets(self.PARENT, {"max_uses": 2, "allowed_paths": ["/a/b/**"]})

    def test_a_child_cannot_ask_for_more(self) -> None:
        with pytest.raises(NotPermitted):
            merge(self.PARENT, {"allowed_paths": ["/a/**"]})
        with pytest.raises(NotPermitted):
            merge(self.PARENT, {"delegation_constraints": {"allowed_paths": ["/**"]}})

    def test_a_child_cannot_lift_them_for_those_below_it(self) -> None:
        child = merge(self.PARENT, {"delegation_constraints": {"max_uses": 100, "max_bytes": 5}})
        assert child["delegation_constraints"] == {
            "max_uses": 2,
            "allowed_paths": ["/a/b/**"],
            "max_bytes": 5,
        }
        lifted = {**child, "delegation_constraints": {**child["delegation_constraints"], "max_uses": 100}}
        assert not meets(self.PARENT, lifted)

    def test_a_child_adds_its_own_for_those_below_it(self) -> None:
        child = merge(self.PARENT, {"delegation_constraints": {"max_uses": 1, "max_delegation_depth": 0}})
        assert child["max_uses"] == 2
        assert merge(child, {}) == {
            "max_uses": 1,
            "max_delegation_depth": 0,
            "allowed_paths": ["/a/b/**"],
            "delegation_constraints": {
                "max_uses": 1,
                "max_delegation_depth": 0,
                "allowed_paths": ["/a/b/**"],
            },
        }

    def test_the_first_that_asks_for_some_binds_those_below_it(self) -> None:
        child = merge({"max_uses": 9}, {"delegation_constraints": {"max_uses": 2}})
        assert child == {"max_uses": 9, "delegation_constraints": {"max_uses": 2}}
        assert merge(child, {})["max_uses"] == 2

    @pytest.mark.parametrize(("own", "onward"), [("/a/**", "/a/b/**"), ("/a/b/**", "/a/**")])
    def test_whichever_is_narrower_holds_if_nothing_was_asked(self, own: str, onward: str) -> None:
        parent = {"allowed_paths": [own], "delegation_constraints": {"allowed_paths": [onward]}}
        assert merge(parent, {})["allowed_paths"] == ["/a/b/**"]

    def test_what_contradicts_the_right_itself_can_not_be_handed_on(self) -> None:
        with pytest.raises(NotPermitted):
            merge({"operations": ["read"], "delegation_constraints": {"operations": ["write"]}}, {})


def test_errors_are_of_the_callers() -> None:
    with pytest.raises(CallerMistaken, match=r"constraint max_uses: .* whole number"):
        read({"max_uses": "3"})


@pytest.mark.parametrize("type", ["api", "db", "fs", "shell", "tool"])
def test_bytes_can_be_limited_wherever_some_are_moved(type: str) -> None:
    assert read({"max_bytes": 1}, type) == {"max_bytes": 1}


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        ("allowed_extensions", "mcp://fs/read/x"),
        ("allowed_hosts", "mcp://api/get/https/b.org/x"),
        ("allowed_methods", "mcp://api/post/https/b.org/x"),
        ("allowed_statements", "mcp://db/read/main/x"),
        ("allowed_tables", "mcp://db/read/main/x"),
        ("allowed_tools", "mcp://tool/execute/a/b"),
        ("max_bytes", "mcp://fs/read/x"),
        ("max_file_size", "mcp://fs/read/x"),
        ("operations", "mcp://fs/write/x"),
    ],
)
def test_a_refusal_names_the_limit(key: str, uri: str) -> None:
    why = problem({key: EXAMPLES[key]}, uri) or ""
    assert key in why.replace(",", " ").split()
