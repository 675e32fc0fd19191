"""Configuration as other hosts write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol import format_configuration, read_configuration
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import ServerSpec


def text(**servers: object) -> str:
    return json.dumps({"mcpServers": servers})


def test_the_common_shape_is_read() -> None:
    servers = read_configuration(
        text(
            git={"command": "uvx", "args": ["mcp-server-git"], "env": {"A": "b"}, "timeout": 5000},
            web={"type": "http", "url": "https://example.org/mcp", "headers": {"X-A": "b"}},
        )
    ).servers
    assert servers == {
        "git": ServerSpec(command="uvx", args=["mcp-server-git"], env={"A": "b"}, timeout=5000),
        "web": ServerSpec(type="http", url="https://example.org/mcp", headers={"X-A": "b"}),
    }


def test_the_shape_of_vs_code_is_read() -> None:
    found = read_configuration('{"servers": {"x": {"type": "stdio", "command": "y"}}, "inputs": []}').servers
    assert found == {"x": ServerSpec(type="stdio", command="y")}


def test_keys_that_are_not_ours_are_noted() -> None:
    found = read_configuration(text(x={"command": "y", "disabled": True, "icon": "z"}))
    assert found.servers == {"x": ServerSpec(command="y")}
    assert found.notes == ["server 'x': 'disabled' is not used", "server 'x': 'icon' is not used"]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"type": "sse", "url": "https://x/sse"}, "sse"),
        ({"command": "x", "env": {"A": "${input:my-key}"}}, "MY_KEY"),
        ({"command": "x", "url": "https://x"}, "either a command or a url"),
        ({}, "either a command or a url"),
        ({"url": "ftp://x"}, "http"),
        ({"command": 3}, "command"),
        ({"command": "x", "args": "-v"}, "args"),
        ({"command": "x", "timeout": 0}, "timeout"),
        ("x", "not an object"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_by_name_and_rule(entry, rule) -> None:
    with pytest.raises(CallerMistaken, match="'broken'") as caught:
        read_configuration(text(broken=entry))
    assert rule in str(caught.value)


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"mcpServers": []}', '{"mcpServers": {"a/b": {}}}'])
def test_what_is_no_configuration_is_refused(broken) -> None:
    with pytest.raises(CallerMistaken):
        read_configuration(broken)


def test_values_that_look_like_secrets_are_pointed_out_without_showing_them() -> None:
    found = read_configuration(
        text(
            x={"command": "y", "env": {"API_KEY": "abc123xyz", "B_TOKEN": "${B_TOKEN}", "MODE": "fast"}},
            z={"url": "https://z", "headers": {"Authorization": "Bearer abc123xyz", "X-Ok": "${A}"}},
        )
    )
    assert len(found.notes) == 2
    assert "env 'API_KEY'" in found.notes[0]
    assert "${API_KEY}" in found.notes[0]
    assert "header 'Authorization'" in found.notes[1]
    assert "abc123xyz" not in " ".join(found.notes)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
words = st.text(max_size=20).filter(lambda word: "${input:" not in word)
pairs = st.dictionaries(words, words, max_size=3)
stdio = st.builds(
    lambda command, args, env, cwd: ServerSpec(command=command, args=args, env=env, cwd=cwd),
    words,
    st.lists(words, max_size=3),
    pairs,
    st.none() | words,
)
http = st.builds(
    lambda path, headers, timeout: ServerSpec(url=f"https://{path}", headers=headers, timeout=timeout),
    words,
    pairs,
    st.none() | st.integers(1, 10**6),
)


@given(st.dictionaries(names, stdio | http, max_size=4))
def test_what_is_written_is_read_back_equal(servers) -> None:
    assert read_configuration(format_configuration(servers)).servers == servers
