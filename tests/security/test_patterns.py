import time

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.errors import CallerMistaken
from mcp_security import within
from mcp_security.patterns import Exclusion, Paths, glob_matches


def fs(path: str):
    return parse_resource(f"mcp://fs/read{path}")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/tmp/**", "/tmp", True),
        ("/tmp/**", "/tmp/a/b", True),
        ("/tmp/**", "/tmpfoo", False),
        ("/tmp/", "/tmp", True),
        ("/tmp/", "/tmp/a/b", True),
        ("/tmp/", "/tmpfoo/a", False),
        ("/tmp", "/tmp", True),
        ("/tmp", "/tmp/a", False),
        ("/tmp", "/tmpfoo", False),
        ("/srv/app", "/srv/app_evil", False),
        ("/tmp/*", "/tmp/a", True),
        ("/tmp/*", "/tmp", False),
        ("/tmp/*", "/tmp/a/b", False),
        ("/tmp/*.txt", "/tmp/.txt", True),
        ("/tmp/*.txt", "/tmp/a.txt.exe", False),
        ("/home/*/docs/**", "/home/me/docs/a/b", True),
        ("/home/*/docs/**", "/home/me/other", False),
        ("/**", "/etc/passwd", True),
        ("/a*b*c", "/aXbYc", True),
        ("/a*a", "/a", False),
    ],
)
def test_a_pattern_covers_component_by_component(pattern: str, path: str, covered: bool) -> None:
    assert within(fs(path), fs(pattern)) is covered


@pytest.mark.parametrize(
    ("inner", "outer", "inside"),
    [
        ("/tmp/**", "/**", True),
        ("/**", "/tmp/**", False),
        ("/tmp/a", "/tmp/**", True),
        ("/tmp/", "/tmp/**", True),
        ("/tmp/**", "/tmp/", True),
        ("/tmp/*", "/tmp/**", True),
        ("/tmp/**", "/tmp/*", False),
        ("/tmp/a*", "/tmp/*", True),
        ("/tmp/*", "/tmp/a*", False),
        ("/tmp/a*b", "/tmp/a*", True),
        ("/tmp/**", "/tmp", False),
        ("/tmpfoo/**", "/tmp/**", False),
        ("/t*/x", "/tmp/**", False),
    ],
)
def test_a_pattern_lies_within_another_only_if_all_of_it_does(inner: str, outer: str, inside: bool) -> None:
    assert within(fs(inner), fs(outer)) is inside


def test_type_and_operation_must_be_the_same() -> None:
    assert not within(parse_resource("mcp://fs/write/a"), parse_resource("mcp://fs/read/**"))
    assert not within(parse_resource("mcp://shell/execute/a"), parse_resource("mcp://fs/execute/**"))


@pytest.mark.parametrize(
    ("glob", "path", "out"),
    [
        ("/home/me/.ssh", "/home/me/.ssh", True),
        ("/home/me/.ssh", "/home/me/.ssh/id", True),
        ("/home/me/.ssh", "/home/me/.sshd", False),
        ("home/me/.ssh/**", "/home/me/.ssh", True),
        ("/.ssh", "/home/me/.ssh", False),
        ("/**/.env", "/a/b/.env", True),
        ("/**/.env", "/.env", True),
        ("/**/.env", "/a/b/env", False),
        ("/a/**/b/*.key", "/a/b/x.key", True),
        ("/a/**/b/*.key", "/a/x/y/b/x.key", True),
        ("/a/**/b/*.key", "/a/x/y/x.key", False),
        ("/home/me/.ssh", "/home/me/**", True),
        ("/home/me/.ssh", "/home/you/**", False),
        ("/home/me/.ssh", "/home/me/*", True),
        ("/home/me/a*", "/home/me/b*", True),
    ],
)
def test_an_exclusion_is_anchored_and_takes_its_subtree(glob: str, path: str, out: bool) -> None:
    assert Exclusion.parse(glob).touches(Paths.parse(path)) is out


@pytest.mark.parametrize("glob", ["", "/", "/a//b", "/a/../b", "/a/./b", "/a/b**", "/a\x00"])
def test_an_exclusion_that_is_not_canonical_is_refused(glob: str) -> None:
    with pytest.raises(CallerMistaken):
        Exclusion.parse(glob)


def test_a_glob_with_many_stars_stays_quick() -> None:
    began = time.perf_counter()
    assert not glob_matches("*a" * 1000 + "b", "a" * 4000)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("pattern", ["/tmp/**", "/tmp/", "/tmp", "/tmp/a/b", "/**"])
def test_what_a_pattern_without_globs_reaches_can_be_told_by_its_beginning(pattern: str) -> None:
    paths = Paths.parse(pattern)
    assert paths.reach is not None
    prefix, exact = paths.reach
    for path in ("tmp", "tmp/a", "tmp/a/b", "tmp/a/b/c", "tmpfoo", "tmpfoo/a", "t", "x/tmp", "tmp/"):
        told = path == exact or path.startswith(prefix)
        if path != "tmp/" or paths.subtree:  # a directory as a whole is more than its name
            assert told == paths.includes(Paths.of(path)), path


def test_what_a_glob_reaches_cannot_be_told_by_its_beginning() -> None:
    assert Paths.parse("/tmp/*").reach is None
    assert Paths.parse("/t*/**").reach is None
