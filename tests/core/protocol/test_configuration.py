"""Configuration as other hosts write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol import expand, format_configuration, read_configuration, without_secrets
from mcp_core.protocol.configuration import Configuration, refuse_secrets
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


def test_a_secret_that_is_written_out_becomes_a_reference_and_a_note_without_it() -> None:
    found, lent = without_secrets(
        read_configuration(
            text(
                x={
                    "command": "y",
                    "env": {
                        "API_KEY": "abc123xyz",
                        "B_TOKEN": "${B_TOKEN}",
                        "MODE": "fast",
                        "KEY_PATH": "/k",
                    },
                },
                z={"url": "https://z", "headers": {"Authorization": "Bearer abc123xyz", "X-Key": ""}},
            )
        )
    )
    assert found.servers["x"].env == {
        "API_KEY": "${UMBRELLA_X_API_KEY}",
        "B_TOKEN": "${B_TOKEN}",
        "MODE": "fast",
        "KEY_PATH": "/k",
    }
    assert found.servers["z"].headers == {"Authorization": "${UMBRELLA_Z_AUTHORIZATION}", "X-Key": ""}
    assert lent == {"UMBRELLA_X_API_KEY": "abc123xyz", "UMBRELLA_Z_AUTHORIZATION": "Bearer abc123xyz"}
    assert ["UMBRELLA_X_API_KEY" in note and "restarted" in note for note in found.notes] == [True, False]
    assert "abc123xyz" not in " ".join(found.notes)


@given(
    st.dictionaries(
        st.sampled_from(["a-b", "a.b", "A_b"]),
        st.dictionaries(st.sampled_from(["key", "KEY", "a-token", "a_token", "2-token", "mode"]), st.text()),
    )
)
def test_references_stand_for_exactly_what_was_written_out(environments) -> None:
    written = Configuration({name: ServerSpec(command="x", env=env) for name, env in environments.items()})
    found, lent = without_secrets(written)
    for name, spec in found.servers.items():
        refuse_secrets(name, spec)
        assert expand(spec, lent).spec == written.servers[name]


@pytest.mark.parametrize(
    "spec",
    [
        ServerSpec(command="x", env={"MODE": "fast", "API-KEY": "abc123xyz"}),
        ServerSpec(url="https://x", headers={"Api-Key": "abc123xyz"}),
    ],
)
def test_a_secret_that_is_written_out_is_refused_by_its_variable_without_showing_it(spec) -> None:
    with pytest.raises(CallerMistaken) as caught:
        refuse_secrets("x", spec)
    assert "export it as API_KEY and write ${API_KEY}" in caught.value.remedy
    assert "abc123xyz" not in repr(caught.value.body())


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
