import pytest

from mcp_interface import (
    MAX_URI,
    OPERATIONS,
    Address,
    InvalidAddress,
    Resource,
    parse_address,
    parse_resource,
    resource,
    tool_resource,
)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mcp://fs/read/home/x", Resource("fs", "read", "home/x")),
        ("mcp://fs/read//home/x", Resource("fs", "read", "home/x")),
        ("mcp://shell/execute//home/user/build.sh", Resource("shell", "execute", "home/user/build.sh")),
        ("mcp://api/post/https/api.github.com/repos", Resource("api", "post", "https/api.github.com/repos")),
        ("mcp://db/query/users_db/orders", Resource("db", "query", "users_db/orders")),
        ("mcp://fs/read/**", Resource("fs", "read", "**")),
        ("mcp://fs/read/a/*/c*", Resource("fs", "read", "a/*/c*")),
        ("mcp://fs/write/tmp/agent-1/", Resource("fs", "write", "tmp/agent-1/")),
        ("mcp://tool/execute/server/**", Resource("tool", "execute", "server/**")),
        ("mcp://fs/read/ü and spaces", Resource("fs", "read", "ü and spaces")),
        ("mcp://fs/read/...", Resource("fs", "read", "...")),
    ],
)
def test_a_resource_is_read_in_canonical_form(uri: str, expected: Resource) -> None:
    assert parse_resource(uri) == expected
    assert parse_resource(expected.uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "fs/read/x",
        "http://fs/read/x",
        "mcp://fs/read",
        "mcp://fs/read/",
        "mcp://fs//x",
        "mcp://FS/read/x",
        "mcp://disk/read/x",
        "mcp://fs/query/x",
        "mcp://db/post/x",
        "mcp://fs/read/a/../b",
        "mcp://fs/read/..",
        "mcp://fs/read/.",
        "mcp://fs/read/a/./b",
        "mcp://fs/read/a//b",
        "mcp://fs/read/a//",
        "mcp://fs/read///a",
        "mcp://tool/execute//server/tool",
        "mcp://fs/read/a\x00b",
        "mcp://fs/read/a\nb",
        "mcp://fs/read/a\x7f",
        "mcp://fs/read/a\ud800",
        "mcp://fs/read/**/x",
        "mcp://fs/read/a**",
        "mcp://fs/read/a/**b",
        "mcp://fs/read/***",
        "mcp://fs/read/a/**/",
        "mcp://fs/read/" + "x" * MAX_URI,
    ],
)
def test_a_doubtful_resource_is_refused_and_never_repaired(uri: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse_resource(uri)
    assert caught.value.remedy


def test_an_unknown_type_or_operation_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidAddress, match="fs, api, db"):
        resource("disk", "read", "x")
    with pytest.raises(InvalidAddress, match="delete, execute, list, read, write"):
        resource("fs", "query", "x")


def test_every_type_knows_its_operations() -> None:
    for kind, operations in OPERATIONS.items():
        for operation in operations:
            assert resource(kind, operation, "x").uri == f"mcp://{kind}/{operation}/x"


@pytest.mark.parametrize(
    ("path", "pattern", "segments"),
    [
        ("a/b", False, ("a", "b")),
        ("a/b/", True, ("a", "b")),
        ("a/*", True, ("a", "*")),
        ("**", True, ("**",)),
    ],
)
def test_a_resource_knows_its_shape(path: str, pattern: bool, segments: tuple[str, ...]) -> None:
    made = resource("fs", "read", path)
    assert (made.is_pattern, made.segments) == (pattern, segments)


def test_odd_names_of_tools_are_encoded() -> None:
    assert tool_resource("git", "git_log").uri == "mcp://tool/execute/git/git_log"
    assert tool_resource("a/b", "c d*").uri == "mcp://tool/execute/a%2Fb/c%20d%2A"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mcp://agent/agent_1", Address("agent", "agent_1")),
        ("mcp://broadcast/build.done", Address("broadcast", "build.done")),
    ],
)
def test_an_address_is_read(uri: str, expected: Address) -> None:
    assert parse_address(uri) == expected
    assert expected.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mcp://agent/",
        "mcp://agent/a/b",
        "mcp://user/x",
        "mcp://agent/a b",
        "mcp://agent/" + "x" * MAX_URI,
    ],
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(InvalidAddress, match="is not an address"):
        parse_address(uri)
