"""Containment of patterns against brute force: every path over a small alphabet, judged by a naive matcher."""

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.address import Resource, resource
from mcp_security import within
from mcp_security.patterns import Exclusion, Paths, glob_matches

NAMES = ["".join(letters) for size in (1, 2, 3) for letters in product("abz", repeat=size)]
FEW = ["a", "b", "ab", "ba", "z"]
PATHS = [
    *NAMES,
    *("/".join(parts) for parts in product(FEW, repeat=2)),
    *("/".join(parts) for parts in product(["a", "b", "z"], repeat=3)),
    *("/".join(parts) for parts in product(["a", "b"], repeat=4)),
]

segment_globs = st.text("ab*", min_size=1, max_size=3).filter(lambda text: "**" not in text)


@st.composite
def patterns(draw: st.DrawFn) -> Resource:
    parts = draw(st.lists(segment_globs, max_size=3))
    tail = draw(st.sampled_from(["", "/", "/**"])) if parts else "**"
    return resource("fs", "read", "/".join(parts) + tail)


def naive(pattern: Resource, path: str) -> bool:
    text = pattern.path
    below = text.endswith(("/", "**"))
    fixed = re.sub(r"(/|/\*\*|^\*\*)$", "", text)
    inner = (
        "/".join("(?=[^/])" + re.escape(part).replace(r"\*", "[^/]*") for part in fixed.split("/"))
        if fixed
        else ""
    )
    expression = inner + ("(/.*)?" if below and inner else ".*" if below else "")
    return re.fullmatch(expression, path) is not None


@given(patterns())
def test_covering_agrees_with_a_naive_matcher(pattern: Resource) -> None:
    for path in PATHS:
        assert within(Resource("fs", "read", path), pattern) == naive(pattern, path), path


def witnesses(pattern: Resource) -> list[str]:
    """Paths of a pattern with a letter that no pattern names: whoever covers these covers the pattern.

    The empty path is the root directory, which `**` means and no concrete resource can name.
    """
    parts = [part.replace("*", "z") for part in pattern.segments if part != "**"]
    below = pattern.path.endswith(("/", "**"))
    return ["/".join([*parts, *["z"] * more]) for more in (range(6) if below else [0])]


@given(patterns(), patterns())
def test_a_pattern_is_within_another_exactly_if_that_covers_all_of_it(one: Resource, two: Resource) -> None:
    inside = within(one, two)
    assert inside == all(naive(two, path) for path in witnesses(one))
    if inside:
        assert all(naive(two, path) for path in PATHS if naive(one, path))


@given(patterns(), patterns(), patterns())
def test_being_within_is_reflexive_and_transitive(one: Resource, two: Resource, three: Resource) -> None:
    assert within(one, one)
    if within(one, two) and within(two, three):
        assert within(one, three)


@given(st.text("ab*", max_size=6), st.text("ab", max_size=6))
def test_a_glob_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text) is not None
    assert glob_matches(pattern, text) == expected


exclusions = st.lists(st.one_of(segment_globs, st.just("**")), min_size=1, max_size=4)


@settings(max_examples=200)
@given(exclusions, patterns())
def test_an_exclusion_misses_nothing(parts: list[str], pattern: Resource) -> None:
    exclusion = Exclusion.parse("/" + "/".join(parts))
    hit = [path for path in PATHS if exclusion.touches(Paths.of(path))]
    for path in hit:
        assert exclusion.touches(Paths.of(path + "/a")), "what lies below is out of bounds as well"
        if naive(pattern, path):
            assert exclusion.touches(Paths.of(pattern.path))
