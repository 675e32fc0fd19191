"""Configuration as other hosts write it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol import expand, format_configuration, read_configuration, without_secrets
from mcp_core.protocol.configuration import Configuration, inputs_of
from mcp_core.protocol.dialects import Place
from mcp_core.protocol.expansion import reference_to
from mcp_core.protocol.plain_secrets import refuse_secrets
from mcp_interface.errors import CallerMistaken
from mcp_interface.server import Authorization, Cage, ServerSpec

HOSTS = Path(__file__).parent / "hosts"
PLACE = Place(workspace="/srv/shop", home="/srv/ada")


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
    assert found.servers == {"x": ServerSpec(command="y", disabled=True)}
    assert found.notes == ["server 'x': 'icon' is not used"]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"command": "x", "env": {"A": "${input:my-key}"}}, "--input my-key"),
        ({"command": "x", "args": ["${workspaceFolder}"]}, "no workspace"),
        ({"command": "x", "type": "pigeon"}, "type"),
        ({"url": "https://x", "auth": {"clientSecret": "y"}}, "client_id"),
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
    found = without_secrets(
        read_configuration(
            text(
                x={
                    "command": "y",
                    "env": {
                        "API_KEY": "abc123xyz",
                        "B_TOKEN": "${B_TOKEN}",
                        "C_TOKEN": "${secret:mine}",
                        "MODE": "fast",
                        "KEY_PATH": "/k",
                    },
                },
                z={"url": "https://z", "headers": {"Authorization": "Bearer abc123xyz", "X-Key": ""}},
            )
        )
    )
    assert found.servers["x"].env == {
        "API_KEY": "${secret:x/API_KEY}",
        "B_TOKEN": "${B_TOKEN}",
        "C_TOKEN": "${secret:mine}",
        "MODE": "fast",
        "KEY_PATH": "/k",
    }
    assert found.servers["z"].headers == {"Authorization": "${secret:z/Authorization}", "X-Key": ""}
    assert found.secrets == {"x/API_KEY": "abc123xyz", "z/Authorization": "Bearer abc123xyz"}
    assert all("vault" in note for note in found.notes) and len(found.notes) == 2
    assert "abc123xyz" not in " ".join(found.notes) + repr(found)


@given(
    st.dictionaries(
        st.sampled_from(["a-b", "a.b", "A_b"]),
        st.dictionaries(
            st.sampled_from(["key", "KEY", "a-token", "a token", "a:token", "a/token", "2-token", "mode"]),
            st.text(),
        ),
    )
)
def test_references_stand_for_exactly_what_was_written_out(environments: dict[str, dict[str, str]]) -> None:
    written = Configuration({name: ServerSpec(command="x", env=env) for name, env in environments.items()})
    found = without_secrets(written)
    for name, spec in found.servers.items():
        refuse_secrets(name, spec)
        assert expand(spec, {}, found.secrets).spec == written.servers[name]


@pytest.mark.parametrize(
    "spec",
    [
        ServerSpec(command="x", env={"MODE": "fast", "API-KEY": "abc123xyz"}),
        ServerSpec(url="https://x", headers={"Api-Key": "abc123xyz"}),
        ServerSpec(url="https://x/mcp?api_key=abc123xyz"),
    ],
)
def test_a_secret_that_is_written_out_is_refused_by_its_variable_without_showing_it(spec) -> None:
    with pytest.raises(CallerMistaken) as caught:
        refuse_secrets("x", spec)
    secret = caught.value.details["secret"]
    assert secret.upper().replace("-", "_") == "X/API_KEY"
    assert f"umbrella secret set {secret}" in caught.value.remedy
    assert reference_to(secret) in caught.value.remedy
    assert "abc123xyz" not in repr(caught.value.body())


SPELLED = "abc123xyz"


@pytest.mark.parametrize(
    "spec",
    [
        *(
            ServerSpec(command="x", env={key: SPELLED})
            for key in (
                "GITHUB_PAT",
                "SENTRY_DSN",
                "PGPASS",
                "BEARER",
                "DB_PASS",
                "SESSION_ID",
                "APP_AUTH",
                "JWT",
            )
        ),
        *(ServerSpec(url="https://x", headers={key: SPELLED}) for key in ("Cookie", "X-Auth", "X-Session")),
        ServerSpec(command="x", env={"DATABASE_URL": f"postgres://u:{SPELLED}@h/db"}),
        ServerSpec(command="x", env={"BACKEND": f"https://h/?api_key={SPELLED}"}),
        ServerSpec(url=f"https://u:{SPELLED}@h/mcp"),
        ServerSpec(url=f"https://{SPELLED}@h/mcp"),
        ServerSpec(url=f"https://h/mcp?a=b&access_token={SPELLED}"),
    ],
)
def test_secrets_are_known_by_more_names_and_by_their_form(spec: ServerSpec) -> None:
    with pytest.raises(CallerMistaken) as caught:
        refuse_secrets("x", spec)
    assert SPELLED not in repr(caught.value.body())
    found = without_secrets(Configuration({"x": spec}))
    assert list(found.secrets.values()) == [SPELLED] and SPELLED not in repr(found.servers)
    refuse_secrets("x", found.servers["x"])
    assert expand(found.servers["x"], {}, found.secrets).spec == spec


@pytest.mark.parametrize(
    "args",
    [
        [f"--token={SPELLED}"],
        ["--api-key", SPELLED],
        ["run", "-e", f"GITHUB_TOKEN={SPELLED}"],
        ["mcp-remote", "https://h", "--header", f"Authorization: Bearer {SPELLED}"],
        [f"postgres://u:{SPELLED}@h/db"],
        [f"https://h/sse?key={SPELLED}"],
    ],
)
def test_a_secret_in_an_argument_is_refused_with_the_way_by_env(args: list[str]) -> None:
    with pytest.raises(CallerMistaken, match="argument") as caught:
        refuse_secrets("x", ServerSpec(command="y", args=args))
    assert "pass it by env" in caught.value.remedy and SPELLED not in repr(caught.value.body())


def test_a_reference_to_the_vault_in_an_argument_is_refused() -> None:
    with pytest.raises(CallerMistaken, match="everybody on the machine") as caught:
        refuse_secrets("x", ServerSpec(command="y", args=["--token=${secret:k}"]))
    assert "pass it by env" in caught.value.remedy


@pytest.mark.parametrize(
    "spec",
    [
        ServerSpec(
            command="npx",
            args=["-y", "@scope/pkg@1", "--max-tokens=200000", "--auth=oauth", "--key-file", "/k"],
        ),
        ServerSpec(
            command="docker", args=["run", "-i", "-e", "GITHUB_TOKEN", "--token=${TOKEN}", "ghcr.io/a/b"]
        ),
        ServerSpec(
            command="x",
            env={"PATH": "/bin", "COMPASS": "north", "SESSION_TIMEOUT": "30", "AUTH_MODE": "none"},
        ),
        ServerSpec(command="x", env={"REPO": "ssh://git@host/a", "BASE_URL": "https://h/a?page=2"}),
        ServerSpec(url="https://h/mcp?team=a&key=${KEY}", headers={"X-Author": "me"}),
    ],
)
def test_what_is_no_secret_is_let_through(spec: ServerSpec) -> None:
    refuse_secrets("x", spec)
    assert without_secrets(Configuration({"x": spec})).servers == {"x": spec}


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
words = st.text(max_size=20).filter(lambda word: "${" not in word)
pairs = st.dictionaries(words, words, max_size=3)
stdio = st.builds(
    lambda command, args, env, cwd, cage, lazy: ServerSpec(
        command=command, args=args, env=env, cwd=cwd, cage=cage, lazy=lazy
    ),
    words,
    st.lists(words, max_size=3),
    pairs,
    st.none() | words,
    st.none() | st.deferred(lambda: cages),
    st.booleans(),
)
http = st.builds(
    lambda path, headers, timeout, login: ServerSpec(
        type="http", url=f"https://x/{path}", headers=headers, timeout=timeout, auth=login
    ),
    words,
    pairs,
    st.none() | st.integers(1000, 10**6),
    st.none() | st.builds(Authorization, client_id=words, scopes=st.lists(st.just("read"), max_size=2)),
)
cages = st.builds(
    Cage, read=st.lists(words, max_size=2), network=st.booleans(), memory_mb=st.none() | st.just(5)
)


@given(st.dictionaries(names, stdio | http, max_size=4))
def test_what_is_written_is_read_back_equal(servers) -> None:
    assert read_configuration(format_configuration(servers)).servers == servers


# -- files of other hosts ----------------------------------------------------------------------------------


def imported(host: str, **answers: str) -> Configuration:
    found = without_secrets(read_configuration((HOSTS / f"{host}.json").read_text(), PLACE, answers))
    for name, spec in found.servers.items():
        refuse_secrets(name, spec)
    return found


def test_claude_desktop() -> None:
    found = imported("claude_desktop")
    assert found.servers["filesystem"].args[-1] == "/srv/ada/Downloads"
    token = "GITHUB_PERSONAL_ACCESS_TOKEN"
    assert found.servers["github"].env == {token: f"${{secret:github/{token}}}"}
    assert found.secrets == {f"github/{token}": "ghp_exampleExampleExample"}
    assert "'globalShortcut' of the file is not used" in found.notes


def test_claude_code() -> None:
    found = imported("claude_code")
    database = found.servers["database"]
    assert (database.type, database.timeout) == ("stdio", 600_000)
    assert expand(database, {"HOME": "/h", "DB_URL": "u"}).spec.args == ["--config", "/etc/db.json"]
    assert expand(found.servers["api"], {"API_KEY": "k"}).spec.url == "https://api.example.org/mcp"
    assert found.servers["asana"].transport == "sse"
    assert found.servers["tracker"].auth == Authorization(
        client_id="abc123",
        scopes=["issues:read", "issues:write"],
        redirect_url="http://localhost:8080/callback",
    )
    assert found.notes == ["server 'tracker': 'headersHelper' is not used"]
    assert not found.secrets


def test_cursor() -> None:
    found = imported("cursor")
    assert found.servers["local"].args == ["/srv/shop/tools/server.py", "--home", "/srv/ada"]
    assert expand(found.servers["local"], {"LOCAL_API_KEY": "k"}).spec.env == {"API_KEY": "k"}
    assert found.servers["remote"].auth == Authorization(
        client_id="my-client", client_secret="${secret:remote/client_secret}", scopes=["read", "write"]
    )
    assert found.secrets == {"remote/client_secret": "my-very-secret"}
    assert any("envFile" in note for note in found.notes)


def test_fastmcp() -> None:
    found = imported("fastmcp")
    assert found.servers["weather"] == ServerSpec(type="http", url="https://weather.example.org/mcp")
    assert found.servers["stream"].transport == "sse"
    assert found.servers["paid"].headers == {"Authorization": "${secret:paid/Authorization}"}
    assert found.secrets == {"paid/Authorization": "Bearer token-of-the-paid-one"}
    assert found.servers["assistant"].cwd == "/srv/assistant"
    noted = " ".join(found.notes)
    assert all(key in noted for key in ("description", "include_tags", "/sse"))


def test_vs_code_asks_for_its_inputs() -> None:
    written = (HOSTS / "vscode.json").read_text()
    asked = inputs_of(written)
    assert [(each.id, each.password) for each in asked] == [
        ("region", False),
        ("perplexity-key", True),
        ("level", False),
    ]
    assert asked[2].options == ["low", "high"]
    with pytest.raises(CallerMistaken, match="perplexity-key"):
        imported("vscode")
    found = imported("vscode", **{"perplexity-key": "pplx-123", "level": "high"})
    assert found.servers["perplexity"].args[-1] == "--region=eu"
    assert found.servers["perplexity"].env == {
        "PERPLEXITY_API_KEY": "${secret:perplexity/perplexity-key}",
        "LEVEL": "high",
    }
    assert found.secrets == {"perplexity/perplexity-key": "pplx-123"}
    assert found.servers["fetch"].args[2:] == ["/srv/shop", "https://example.org/a//b"]
    assert found.notes == ["server 'fetch': 'dev' is not used"]


def test_cline_and_roo() -> None:
    found = imported("cline")
    notes = found.servers["notes"]
    assert (notes.disabled, notes.timeout) == (True, 60_000)
    assert found.servers["cloud"] == ServerSpec(type="streamable-http", url="https://cloud.example.org/mcp")
    noted = " ".join(found.notes)
    assert "'alwaysAllow' is not taken over" in noted and "'autoApprove' is not taken over" in noted
    assert "taken for seconds" in noted


@pytest.mark.parametrize("host", sorted(path.stem for path in HOSTS.glob("*.json")))
def test_what_is_imported_can_be_written_and_read_again(host: str) -> None:
    found = imported(host, **{"perplexity-key": "x"})
    again = read_configuration(format_configuration(found.servers))
    assert again.servers == found.servers
    assert not again.secrets


def test_an_input_that_is_not_declared_is_taken_for_a_secret() -> None:
    found = read_configuration(text(x={"command": "y", "args": ["${input:odd}"]}), answers={"odd": "hidden"})
    assert found.servers["x"].args == ["${secret:x/odd}"]
    assert found.secrets == {"x/odd": "hidden"}


def test_the_settings_of_vs_code_are_read_too() -> None:
    found = read_configuration('{"editor.x": 1, "mcp": {"servers": {"x": {"command": "y"}}}}')
    assert found.servers == {"x": ServerSpec(command="y")}


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["command", "args", "url", "env", "headers", "type", "transport", "timeout", "auth", "oauth", "cage", "inputs",
     "disabled", "enabled", "httpUrl", "roots", "cwd"]
)  # fmt: skip


@given(st.dictionaries(names, st.dictionaries(keys, json_values, max_size=5), max_size=2), json_values)
def test_whatever_a_file_says_it_is_read_or_refused_by_rule(entries: Any, inputs: Any) -> None:
    for shape in ({"mcpServers": entries}, {"servers": entries, "inputs": inputs}):
        try:
            found = read_configuration(json.dumps(shape), PLACE)
        except CallerMistaken as error:
            assert error.message
        else:
            assert found.servers.keys() == entries.keys()
