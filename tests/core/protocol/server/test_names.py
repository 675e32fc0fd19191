"""Laws of public names: always allowed, always told apart, always the same."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol.server.catalogue import matches, public_uri, split_uri
from mcp_core.protocol.server.names import LONGEST, Names, Selection, public_name
from mcp_interface.key import Publication

ALLOWED = re.compile(r"[A-Za-z0-9_.-]{1,128}")
own_names = st.text(min_size=1, max_size=200)
servers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
places = st.lists(st.tuples(servers, own_names), max_size=30, unique=True)


@given(places, st.booleans())
def test_every_name_is_allowed_and_leads_back(found: list[tuple[str, str]], bare: bool) -> None:
    names = Names(found, lambda place: place, bare=bare)
    for name, place in names.items():
        assert ALLOWED.fullmatch(name) and len(name) <= LONGEST
        assert names.find(name) == place
    assert len({name for name, _ in names.items()}) == len(names.items())


@given(places)
def test_with_their_servers_all_are_offered_whatever_the_order(found: list[tuple[str, str]]) -> None:
    names = Names(found, lambda place: place, bare=False)
    assert {place for _, place in names.items()} == set(found)
    assert names.items() == Names(reversed(found), lambda place: place, bare=False).items()


def test_of_two_bare_names_that_clash_neither_is_offered() -> None:
    found = [("git", "log"), ("hg", "log"), ("git", "diff")]
    assert Names(found, lambda place: place, bare=True).items() == [("diff", ("git", "diff"))]
    assert public_name("git", "log") == "git__log"


def test_names_that_become_alike_are_told_apart() -> None:
    found = [("a", "b c"), ("a", "b/c"), ("a", "b_c"), ("a__b", "c"), ("a", "b__c")]
    names = [name for name, _ in Names(found, lambda place: place, bare=False).items()]
    assert len(set(names)) == 5 and "a__b_c" in names


@given(servers, st.text(min_size=1))
def test_a_uri_that_says_whose_it_is_can_be_taken_apart(server: str, uri: str) -> None:
    assert split_uri(public_uri(server, uri)) == (server, uri)


def test_templates_match_what_comes_from_them() -> None:
    assert matches("test://template/{id}/data", "test://template/12/data")
    assert not matches("test://template/{id}/data", "test://template/1/2/data")
    assert matches("file://{+path}", "file:///home/x/y.txt")
    assert not matches("a.c://{x}", "abc://1")


def test_a_publication_selects_by_server_and_name() -> None:
    selection = Selection(Publication(name="x", tools=["git/*", "fs/read_file"], prompts=["*"]))
    assert selection.tool("git", "log") and selection.tool("fs", "read_file")
    assert not selection.tool("fs", "write_file") and not selection.tool("gitx", "log")
    assert selection.prompt("any", "thing") and not selection.resource("git", "x:y")
    assert Selection(None).resource("git", "x:y") and not Selection(None).bare
