"""Limits on hosts, operations, tables, tools, statements and ends of names, against the tricks of the trade."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Facts
from mcp_interface.errors import InvalidRecord, NotPermitted
from mcp_security.constraints import Question, compile_rules, merge, read
from mcp_security.patterns import Paths


def allows(key: str, value: Any, uri: str, **facts: Any) -> bool:
    wanted = parse_resource(uri)
    question = Question(wanted, Paths.of(wanted.path), Facts(**facts), datetime(2026, 6, 15, tzinfo=UTC))
    return all(check(question) is None for check in compile_rules({key: value}, wanted.type).checks)


@pytest.mark.parametrize(
    ("pattern", "place", "inside"),
    [
        ("x.com", "https/x.com", True),
        ("X.com", "https/x.COM", True),
        ("x.com", "https/x.com/a/b", True),
        ("x.com", "https/x.com.evil.com/", False),
        ("x.com", "https/evilx.com", False),
        ("x.com", "https/a.x.com", False),
        ("x.com", "https/x.com./a", False),
        ("*.x.com", "https/a.x.com", True),
        ("*.x.com", "https/a.b.x.com", True),
        ("*.x.com", "https/x.com", False),
        ("*.x.com", "https/evilx.com", False),
        ("*.x.com", "https/.x.com", False),
        ("*.x.com", "https/a..x.com", False),
        ("*.x.com", "https/evil@a.x.com", False),
        ("*.x.com", "https/evil.com#a.x.com", False),
        ("*.x.com", "https/evil.com:80@a.x.com", False),
        ("*.x.com", "https/*.x.com/**", False),
        ("*.x.com", "https/**", False),
        ("*.x.com", "https/\uff41.x.com", False),
        ("*.x.com", "ftp/a.x.com", False),
        ("x.com", "https/x.com:443", True),
        ("x.com", "http/x.com:80", True),
        ("x.com", "https/x.com:80", False),
        ("x.com", "https/x.com:8443", False),
        ("x.com:8443", "https/x.com:8443", True),
        ("x.com:8443", "https/x.com", False),
        ("x.com:443", "https/x.com", True),
        ("x.com:443", "http/x.com", False),
        ("x.com:*", "https/x.com:1", True),
        ("x.com:*", "https/x.com", True),
        ("x.com:*", "https/x.com:99999", False),
        ("x.com:*", "https/x.com:080", False),
        ("x.com:*", "https/x.com:8080:80", False),
        ("*", "https/any.thing", True),
        ("*", "https/localhost", True),
        ("*", "https/127.0.0.1", False),
        ("*", "https/127.1", False),
        ("*", "https/0x7f000001", False),
        ("*", "https/2130706433", False),
        ("*", "https/[::1]", False),
        ("*", "**", False),
        ("*", "https/**", False),
        ("*", "https/*/x", False),
        ("*.example.com", "https/*.example.com/x", False),
        ("127.0.0.1", "https/127.0.0.1", True),
        ("127.0.0.1", "https/127.1", False),
        ("127.0.0.1", "https/127.0.0.01", False),
        ("127.0.0.1", "https/[::ffff:127.0.0.1]", False),
        ("127.0.0.1", "https/[::ffff:7f00:1]", False),
        ("[::1]", "https/[::1]", True),
        ("[0:0::1]:8080", "https/[::1]:8080", True),
        ("[::1]", "https/[::1]:8080", False),
        ("[::1]", "https/[::1%25lo]", False),
        ("[::1]", "https/::1", False),
    ],
)
def test_a_host_is_judged_label_by_label(pattern: str, place: str, inside: bool) -> None:
    assert allows("allowed_hosts", [pattern], f"mcp://api/get/{place}") is inside


@pytest.mark.parametrize(
    "wrong",
    [
        "", "*x.com", "a.*.com", "**.x.com", "x.com/", "x.com/a", "https://x.com", "u@x.com", "x..com", ".x.com",
        "x.com.", "x.com:", "x.com:0", "x.com:080", "x.com:65536", "x.com:1:2", "-x.com", "x_.-.com", "a b.com",
        "127.1", "127.0.0.01", "256.0.0.1", "0x7f.1", "*.0.0.1", "::1", "[::1", "[::g]", "[fe80::1%lo]",
        "[::ffff:127.0.0.1]", "bücher.example", "x" * 64 + ".com", ".".join(["a" * 60] * 5), "x.com\n",
        "\u212a.com", "a" * 62 + ".a" * 96,
    ],
)  # fmt: skip
def test_a_host_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRecord):
        read({"allowed_hosts": [wrong]})


@pytest.mark.parametrize(
    ("parent", "child", "met"),
    [
        (["*.x.com"], ["a.x.com", "b.com"], ["a.x.com"]),
        (["a.x.com", "c.com"], ["*.x.com"], ["a.x.com"]),
        (["*.x.com"], ["*.a.x.com"], ["*.a.x.com"]),
        (["*"], ["*.x.com", "127.0.0.1"], ["*.x.com"]),
        (["x.com:*"], ["x.com", "x.com:8443"], ["x.com", "x.com:8443"]),
        (["x.com:1"], ["x.com:*"], ["x.com:1"]),
        (["*:8443"], ["*.x.com:*"], None),
        (["x.com"], ["x.com:443"], None),
        (["x.com"], ["evilx.com"], None),
        (["*"], ["*"], ["*"]),
        (["*"], ["*.x.com", "[::1]"], ["*.x.com"]),
        (["*.x.com"], ["*.x.com", "x.com"], ["*.x.com"]),
        (["*.x.com:*"], ["*.x.com:8443"], ["*.x.com:8443"]),
        (["x.com:65535"], ["x.com:65535"], ["x.com:65535"]),
        (["*.1x"], ["a.1x"], ["a.1x"]),
        (["*"], ["a.1x"], ["a.1x"]),
        (["a" * 61 + ".a" * 96], ["a" * 61 + ".a" * 96], ["a" * 61 + ".a" * 96]),
        (["127.0.0.1"], ["*"], None),
    ],
)
def test_hosts_meet_at_the_narrower_of_each_pair(parent: list, child: list, met: list | None) -> None:
    if met is None:
        with pytest.raises(NotPermitted):
            merge({"allowed_hosts": parent}, {"allowed_hosts": child})
    else:
        assert merge({"allowed_hosts": parent}, {"allowed_hosts": child}) == {"allowed_hosts": met}


def test_operations_and_methods() -> None:
    assert allows("allowed_methods", ["GET"], "mcp://api/get/https/x.com")
    assert not allows("allowed_methods", ["GET", "head"], "mcp://api/post/https/x.com")
    assert allows("operations", ["read", "list"], "mcp://fs/list/a")
    assert not allows("operations", ["read", "list"], "mcp://fs/write/a")
    assert merge({"operations": ["read", "write"]}, {"operations": ["WRITE", "list"]}) == {
        "operations": ["write"]
    }


def test_statements() -> None:
    uri = "mcp://db/read/main/users"
    assert allows("allowed_statements", ["SELECT"], uri, statement="select")
    for stated in ("insert", "SELECT", "select;drop", "", None):
        assert not allows("allowed_statements", ["select"], uri, statement=stated)


@pytest.mark.parametrize(
    ("pattern", "place", "inside"),
    [
        ("users", "main/users", True),
        ("users", "other/users", True),
        ("users", "main/users2", False),
        ("users", "main/Users", False),
        ("users", "main", False),
        ("users", "main/users/x", False),
        ("users", "main/users/", False),
        ("users", "users", False),
        ("log_*", "main/log_2026", True),
        ("log_*", "main/log_*", True),
        ("log_*", "main/*", False),
        ("log_*", "main/**", False),
        ("log_*", "main/catalog_x", False),
        ("log_*", "log_1", False),
        ("log_*", "main/log_1/x", False),
        ("users", "main/-", False),
        ("-", "main/-", True),
    ],
)
def test_tables(pattern: str, place: str, inside: bool) -> None:
    assert allows("allowed_tables", [pattern], f"mcp://db/read/{place}") is inside


@pytest.mark.parametrize(
    ("pattern", "place", "inside"),
    [
        ("files/read", "files/read", True),
        ("files/*", "files/read", True),
        ("files/*", "files2/read", False),
        ("*/read", "evil/read", True),
        ("files/read_*", "files/read_text", True),
        ("files/read_*", "files/thread_text", False),
        ("files/*", "files/a/b", False),
        ("files/*", "files", False),
        ("files/*", "files/**", False),
        ("files/a%2Fb", "files/a%2Fb", True),
        ("files/*", "files%2Fread/x", False),
    ],
)
def test_tools(pattern: str, place: str, inside: bool) -> None:
    assert allows("allowed_tools", [pattern], f"mcp://tool/execute/{place}") is inside


def test_globs_that_merely_overlap_have_nothing_in_common() -> None:
    with pytest.raises(NotPermitted):
        merge({"allowed_tables": ["a*"]}, {"allowed_tables": ["*b"]})
    assert merge({"allowed_tables": ["a*", "x"]}, {"allowed_tables": ["ab*", "x*"]}) == {
        "allowed_tables": ["ab*", "x"]
    }


@pytest.mark.parametrize(
    ("ending", "path", "inside"),
    [
        (".txt", "a/b.txt", True),
        ("txt", "a/b.txt", True),
        (".txt", "a/*.txt", True),
        (".txt", "a/b.TXT", False),
        (".txt", "a/b.txt.exe", False),
        (".txt", "a/btxt", False),
        (".txt", "a/b.txt/", False),
        (".txt", "a/b.txt/c", False),
        (".txt", "a/b*", False),
        (".txt", "**", False),
        (".txt", "a/b.txt ", False),
        (".tar.gz", "a/b.tar.gz", True),
        (".tar.gz", "a/b.gz", False),
    ],
)
def test_ends_of_names(ending: str, path: str, inside: bool) -> None:
    assert allows("allowed_extensions", [ending], f"mcp://fs/read/{path}") is inside
