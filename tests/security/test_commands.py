"""The constraint `commands`: what is not listed is refused, and handing on never adds anything."""

import json
import os
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.address import resource
from mcp_interface.capability import Facts, Need
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_security.constraints.commands import Commands
from mcp_security.constraints.table import KINDS
from mcp_security.validators.command_line import parse_line
from security.corpora.commands import INJECTIONS, ORDINARY, SCHEMAS, SHELL_ATTACKS, argvs

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
KIND = Commands()
JUDGE = KIND.check(KIND.read(SCHEMAS))


def refused(program: str, argv: Any, value: Any = None) -> str | None:
    judge = JUDGE if value is None else KIND.check(KIND.read(value))
    path = program if program.startswith("/") else f"/usr/bin/{program}"
    return judge(Need(resource("shell", "execute", path), Facts(argv=argv)))


def by(schema: dict[str, Any], *argv: str) -> str | None:
    return refused("p", argv, {"p": schema})


# by hand


@pytest.mark.parametrize("line", SHELL_ATTACKS, ids=lambda line: repr(line[:40]))
def test_a_line_that_a_shell_would_do_more_with_is_refused(line: str) -> None:
    try:
        program, *argv = parse_line(line)
        wanted = resource("shell", "execute", program)
    except CallerMistaken:
        return
    assert JUDGE(Need(wanted, Facts(argv=tuple(argv)))) or not program.startswith("/")


@pytest.mark.parametrize(
    ("program", "argv"),
    INJECTIONS,
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:40],
)
def test_an_argument_that_turns_a_program_into_another_is_refused(program: str, argv: list[str]) -> None:
    if program not in SCHEMAS:
        assert "does not list" in str(
            JUDGE(Need(resource("shell", "execute", "/usr/bin/other"), Facts(argv=())))
        )
        return
    assert refused(program, tuple(argv)) is not None


def test_ordinary_lines_are_allowed_but_for_one_in_a_hundred() -> None:
    wrong = []
    for line in ORDINARY:
        try:
            program, *argv = parse_line(line)
        except CallerMistaken as error:
            wrong.append(f"{line}: {error}")
            continue
        if why := refused(program, tuple(argv)):
            wrong.append(f"{line}: {why}")
    assert len(ORDINARY) >= 500
    assert len(wrong) <= len(ORDINARY) / 100, "\n".join(wrong)


def test_arguments_that_are_not_stated_are_refused() -> None:
    assert refused("git", None) == "it limits commands, and the arguments are not stated"


def test_it_is_one_of_the_kernels_limits() -> None:
    assert isinstance(KINDS["commands"], Commands)
    assert Commands.types == {"shell"}


def test_another_resource_type_and_a_pattern_are_refused() -> None:
    judge = KIND.check(KIND.read({"git": {}}))
    assert judge(Need(resource("fs", "read", "/usr/bin/git"), Facts(argv=()))) is not None
    assert judge(Need(resource("shell", "execute", "/usr/bin/*"), Facts(argv=()))) is not None
    assert judge(Need(resource("shell", "execute", "/usr/bin/git"), Facts(argv=()))) is None


def test_an_entry_by_path_stands_before_one_by_name() -> None:
    value = {"git": {"flags": {"-a": False}}, "/opt/bin/git": {"flags": {"-b": False}}}
    assert refused("/usr/bin/git", ("-a",), value) is None
    assert refused("/usr/bin/git", ("-b",), value) is not None
    assert refused("/opt/bin/git", ("-b",), value) is None
    assert refused("/opt/bin/git", ("-a",), value) is not None


def test_flags_are_exact_names() -> None:
    schema = {"flags": {"--depth": {"type": "integer", "minimum": 0}, "-v": False, "--all": False}}
    for good in (["--depth", "3"], ["--depth=3"], ["-v", "--all"], ["-v", "-v"]):
        assert by(schema, *good) is None
    for bad in (
        ["--dep=3"],
        ["--depth"],
        ["-vv"],
        ["--al"],
        ["--all=x"],
        ["-v=1"],
        ["--depth=-1"],
        ["--Depth=3"],
    ):
        assert by(schema, *bad) is not None


def test_the_form_of_a_flag_is_kept() -> None:
    schema = {
        "flags": {
            "--a": {"form": "attached"}, "--s": {"form": "separate"}, "--o": {"form": "optional"}, "-n": {},
        }
    }  # fmt: skip
    for good in (["--a=x"], ["--s", "x"], ["--o"], ["--o=x"], ["-n", "x"], ["--a="]):
        assert by(schema, *good) is None
    for bad in (["--a", "x"], ["--s=x"], ["--o", "x"], ["-n=x"], ["-nx"], ["-n"]):
        assert by(schema, *bad) is not None


def test_a_bundle_is_of_listed_flags_and_only_the_last_takes_a_value() -> None:
    schema = {"flags": {"-x": False, "-z": False, "-f": {"enum": ["a"]}}, "bundles": True}
    for good in (["-xz"], ["-zx"], ["-xzf", "a"]):
        assert by(schema, *good) is None
    for bad in (["-xzfa"], ["-fx", "a"], ["-xq"], ["-xzf"], ["-x-z"], ["--xz"]):
        assert by(schema, *bad) is not None
    assert by({**schema, "bundles": False}, "-xz") is not None


def test_operands_are_bounded_and_never_begin_with_a_dash_but_behind_the_separator() -> None:
    schema: dict[str, Any] = {"operands": {"min": 1, "max": 2}, "separator": True, "flags": {"-v": False}}
    for good in (["a"], ["a", "b"], ["--", "-a"], ["-v", "--", "-v", "--"]):
        assert by(schema, *good) is None
    for bad in (
        [],
        ["a", "b", "c"],
        ["-a"],
        ["a", "-v"],
        ["a", "--", "b"],
        ["--"],
        ["@a"],
        ["+a"],
        ["--", "@a"],
    ):
        assert by(schema, *bad) is not None
    assert by({**schema, "interleaved": True}, "a", "-v", "--", "-b") is None
    assert by({"operands": {"max": 1}}, "--", "a") is not None


def test_what_the_author_thought_of_may_begin_with_a_sign() -> None:
    schema = {
        "flags": {
            "-m": {"type": "integer", "minimum": -9},
            "-e": {"enum": ["-", "-x"]},
            "-g": {"glob": "-*"},
        },
        "operands": {"max": 1, "glob": "@team/*"},
    }
    for good in (["-m", "-7"], ["-e", "-"], ["-e", "-x"], ["@team/a"]):
        assert by(schema, *good) is None
    for bad in (["-m", "-10"], ["-m", "-x"], ["-e", "-y"], ["-g", "-x"], ["@other/a"], ["-"]):
        assert by(schema, *bad) is not None


def test_paths_are_plain_and_inside() -> None:
    schema = {
        "operands": {"max": 1, "inside": ["/srv/**", "/etc/hosts"]},
        "flags": {"-r": {"type": "relative_path"}},
    }
    for good in ("/srv/a", "/srv/a/b", "/srv", "/srv/a/", "/etc/hosts", "/srv/*"):
        assert by(schema, good) is None
    for bad in (
        "/",
        "",
        "/srvx",
        "/srv/../etc",
        "/srv//a",
        "srv/a",
        "/etc/hosts/x",
        "/etc/",
        "/srv/./a",
        "/SRV/a",
    ):
        assert by(schema, bad) is not None
    for good in ("a", "a/b", "main..dev", ".x", "a/"):
        assert by(schema, "-r", good) is None
    for bad in ("/a", "../a", "a/../b", "./a", "", "a//b", "..", "."):
        assert by(schema, "-r", bad) is not None


def test_control_characters_never_pass_and_newlines_only_where_listed() -> None:
    for sign in ("\0", "\x1b", "\r", "\x85", "\u2028", "\ud800", "\n"):
        assert by({"operands": {"max": 1}}, f"a{sign}b") is not None
    assert by({"operands": {"max": 1, "multiline": True}}, "a\n\tb") is None
    assert by({"operands": {"max": 1, "multiline": True}}, "a\rb") is not None


def test_too_many_and_too_long_arguments_are_refused() -> None:
    assert by({"operands": {"max": 1000}}, *["a"] * 1000) is None
    assert by({"flags": {"-v": False}}, *["-v"] * 1001) is not None
    assert by({"operands": {"max": 1}}, "a" * 4097) is not None
    assert by({"operands": {"max": 1, "max_length": 5000}}, "a" * 4097) is None


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, "git", {"git": None}, {"git": []}, {"git": "x"}, {"": {}}, {"a/b": {}}, {"/": {}}, {"*": {}},
        {"/usr/bin/*": {}}, {"/usr/bin/": {}}, {"/a/../b": {}}, {1: {}}, {"a\0": {}}, {"\ud800": {}}, {"..": {}},
        {"p": {"flag": {}}}, {"p": {"flags": {"x": False}}}, {"p": {"flags": {"-": False}}},
        {"p": {"flags": {"--": False}}}, {"p": {"flags": {"-a=b": False}}}, {"p": {"flags": {"-a": True}}},
        {"p": {"flags": {"-a": None}}}, {"p": {"flags": {"-a": {"form": "attached"}}}},
        {"p": {"flags": {"--a": {"form": "any"}}}}, {"p": {"flags": {"-a b": False}}}, {"p": {"flags": {"-\ud800": False}}},
        {"p": {"operands": {}}}, {"p": {"operands": {"max": -1}}}, {"p": {"operands": {"max": 1, "min": 2}}},
        {"p": {"operands": {"max": 1001}}}, {"p": {"operands": {"max": True}}}, {"p": {"operands": {"max": 1.5}}},
        {"p": {"operands": {"max": 1, "glob": "*" * 9}}}, {"p": {"operands": {"max": 1, "enum": []}}},
        {"p": {"operands": {"max": 1, "enum": ["a\0"]}}}, {"p": {"operands": {"max": 1, "inside": []}}},
        {"p": {"operands": {"max": 1, "inside": ["/a/../b"]}}}, {"p": {"operands": {"max": 1, "minimum": 1}}},
        {"p": {"operands": {"max": 1, "type": "integer", "minimum": 2, "maximum": 1}}},
        {"p": {"operands": {"max": 1, "type": "integer", "glob": "*"}}}, {"p": {"operands": {"max": 1, "type": "path"}}},
        {"p": {"operands": {"max": 1, "type": "integer", "maximum": 2**60}}},
        {"p": {"operands": {"max": 1, "type": "relative_path", "inside": ["/a"]}}},
        {"p": {"operands": {"max": 0, "first": [{}]}}}, {"p": {"operands": {"max": 1, "max_length": 0}}},
        {"p": {"subcommands": {"a": {}}, "operands": {"max": 1}}}, {"p": {"subcommands": {"a": {}}, "separator": True}},
        {"p": {"subcommands": {"a": {}}, "interleaved": True}}, {"p": {"subcommands": {"--": {}}}},
        {"p": {"subcommands": {"a b": {}}}}, {"p": {"subcommands": {"-a": {}}, "flags": {"-a": False}}},
        {f"p{number}": {} for number in range(101)},
        {"p": [{"flags": {f"-{number}": False}} for number in range(33)]},
        {"p": {"operands": {"max": 1, "enum": ["x" * 60000] * 5}}},
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_a_value_that_is_no_schema_is_the_callers_mistake(value: Any) -> None:
    with pytest.raises(CallerMistaken):
        KIND.read(value)


def test_a_schema_that_is_too_deep_is_refused() -> None:
    for levels in (9, 2000):
        schema: dict[str, Any] = {}
        for _ in range(levels):
            schema = {"subcommands": {"a": schema}}
        with pytest.raises(CallerMistaken):
            KIND.read({"p": schema})


def test_the_canonical_form_is_plain_json_and_stays_as_it_is() -> None:
    once = KIND.read(SCHEMAS)
    assert KIND.read(once) == once == json.loads(json.dumps(once))


def test_programs_that_share_nothing_do_not_meet() -> None:
    with pytest.raises(NotPermitted) as caught:
        KIND.meet(KIND.read({"git": {}}), KIND.read({"ls": {}}))
    assert caught.value.details == {"reason": "constraint_violated", "constraint": "commands"}


def test_a_meet_of_too_many_schemas_is_refused() -> None:
    parent = KIND.read({"p": [{"flags": {f"-a{number}": False}} for number in range(20)]})
    child = KIND.read({"p": [{"flags": {f"-b{number}": False}} for number in range(20)]})
    with pytest.raises(NotPermitted):
        KIND.meet(parent, child)


# an oracle that shares no line with the product


def naive(schema: dict[str, Any], argv: list[str]) -> bool:
    operands: list[tuple[str, bool]] = []
    while argv:
        word, *rest = argv
        inner = schema.get("subcommands", {})
        flags = schema.get("flags", {})
        if word in inner:
            return naive(inner[word], rest)
        if word == "--":
            if not schema.get("separator") or (operands and not schema.get("interleaved")):
                return False
            operands += [(each, True) for each in rest]
            break
        if not re.match(r"-.", word, re.DOTALL):
            if inner:
                return False
            operands.append((word, False))
            argv = rest
            continue
        if operands and not schema.get("interleaved"):
            return False
        if schema.get("bundles") and re.fullmatch(r"-[^-].+", word, re.DOTALL) and word not in flags:
            letters = [f"-{letter}" for letter in word[1:]]
            if any(flags.get(letter, 0) is not False for letter in letters[:-1]):
                return False
            argv = [letters[-1], *rest]
            if letters[-1] not in flags:
                return False
            continue
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name not in flags:
            return False
        rule = flags[name]
        form = "none" if rule is False else rule.get("form", "either")
        if equals:
            if form in ("none", "separate") or not fits(rule, value, True):
                return False
            argv = rest
        elif form in ("none", "optional"):
            argv = rest
        elif form == "attached" or not rest or not fits(rule, rest[0], False):
            return False
        else:
            argv = rest[1:]
    if schema.get("subcommands"):
        return False
    rules = schema.get("operands", {"max": 0})
    each = [*rules.get("first", []), *[rules] * 2000]
    return rules.get("min", 0) <= len(operands) <= rules["max"] and all(
        fits(rule, word, behind) for rule, (word, behind) in zip(each, operands, strict=False)
    )


def fits(rule: dict[str, Any], text: str, dash_is_fine: bool) -> bool:
    clean = re.sub(r"[\n\t]", "", text) if rule.get("multiline") else text
    if len(text) > rule.get("max_length", 4096) or any(
        ord(sign) < 32 or 127 <= ord(sign) < 160 or sign in "\u2028\u2029" or 0xD800 <= ord(sign) < 0xE000
        for sign in clean
    ):
        return False
    if (
        text[:1] == "-"
        and not dash_is_fine
        and text not in rule.get("enum", [])
        and rule.get("minimum", 0) >= 0
    ):
        return False
    kind = rule.get("type", "text")
    if kind == "integer":
        if not re.fullmatch("-?(0|[1-9][0-9]{0,15})", text):
            return False
        return rule.get("minimum", -(10**20)) <= int(text) <= rule.get("maximum", 10**20)
    plain = re.fullmatch(r"/?([^/]+/)*[^/]+/?", text) and not {"..", "."} & set(text.split("/"))
    plain = plain and not re.search(r"\*\*(?!$)|[^/]\*\*$|^\*\*/$", text)
    if kind == "relative_path" and (not plain or text[0] == "/"):
        return False
    if "enum" in rule and text not in rule["enum"]:
        return False
    if "glob" in rule and not re.fullmatch(re.escape(rule["glob"]).replace(r"\*", ".*"), text, re.DOTALL):
        return False
    if "inside" in rule:
        # with a slash at the end it is a directory with all that is below, and only a subtree holds that
        wide = [path for path in rule["inside"] if text[-1:] != "/" or path.endswith("/**")]
        tails = [re.escape(path).replace(r"/\*\*", "(/.*)?").replace(r"\*", "[^/]*") for path in wide]
        return (
            bool(plain)
            and text[0] == "/"
            and any(re.fullmatch(tail, text.removesuffix("/")) for tail in tails)
        )
    return not (kind == "text" and "enum" not in rule and "glob" not in rule and text[:1] in ("+", "@"))


TYPED = [parse_line(line) for line in ORDINARY if "~" not in line]


def test_no_generated_command_passes_that_the_oracle_refuses() -> None:
    count = 60_000 if NIGHTLY else 6_000
    passed = 0
    for name, argv in argvs(3, count, TYPED):
        why = refused(name, tuple(argv))
        assert (why is None) == (name in SCHEMAS and naive(SCHEMAS[name], argv)), (name, argv, why)
        passed += why is None
    assert count / 10 < passed < count * 9 / 10


# laws

TEXTS = st.sampled_from(
    [
        "a",
        "b",
        "-a",
        "-b",
        "--all",
        "--all=a",
        "--",
        "-",
        "1",
        "-1",
        "@a",
        "/s/a",
        "/s",
        "",
        "c",
        "-ab",
        "--n=1",
    ]
)
RULES = st.sampled_from(
    [{}, {"enum": ["a", "-"]}, {"glob": "a*"}, {"inside": ["/s/**"]}, {"type": "integer", "maximum": 1}, {"type": "relative_path"}]
)  # fmt: skip
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "flags": st.dictionaries(
            st.sampled_from(["-a", "-b", "--all", "--n"]), RULES | st.just(False), max_size=3
        ),
        "operands": st.builds(lambda rule, most: {**rule, "max": most}, RULES, st.integers(0, 3)),
        "separator": st.booleans(),
        "bundles": st.booleans(),
        "interleaved": st.booleans(),
    },
)
PROGRAM_SCHEMAS = LEAVES | st.fixed_dictionaries(
    {"subcommands": st.dictionaries(st.sampled_from(["a", "b"]), LEAVES, min_size=1)}
)
PROGRAMS = ["git", "/usr/bin/git", "/opt/git", "ls"]
VALUES = st.dictionaries(
    st.sampled_from(PROGRAMS), PROGRAM_SCHEMAS | st.lists(PROGRAM_SCHEMAS, min_size=1, max_size=2), min_size=1
).map(KIND.read)
PATHS = st.sampled_from(["/usr/bin/git", "/opt/git", "/bin/ls", "/x/git"])
ARGVS = st.lists(TEXTS, max_size=4).map(tuple)
LAWS = settings(max_examples=2_000 if NIGHTLY else 150, deadline=None)


@LAWS
@given(VALUES, VALUES, PATHS, ARGVS)
def test_the_meet_allows_what_both_allow_and_nothing_else(
    parent: Any, child: Any, path: str, argv: Any
) -> None:
    both = refused(path, argv, parent) is None and refused(path, argv, child) is None
    try:
        met = KIND.meet(parent, child)
    except NotPermitted:
        assert not both
        return
    assert (refused(path, argv, met) is None) == both


@LAWS
@given(VALUES, VALUES, VALUES)
def test_the_meet_is_that_of_a_lattice(one: Any, two: Any, three: Any) -> None:
    def meet(*values: Any) -> Any:
        try:
            return values[0] if len(values) == 1 else KIND.meet(values[0], meet(*values[1:]) or {})
        except NotPermitted:
            return None  # nothing is left

    assert KIND.read(one) == one == meet(one, one)
    assert meet(one, two) == meet(two, one)
    met = meet(one, two)
    if met is not None:
        assert KIND.meet(one, met) == KIND.meet(met, two) == met
        left, right = meet(met, three), meet(one, two, three)
        assert left == right
