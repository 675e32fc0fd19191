"""References in a server's specification."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol import expand
from mcp_core.protocol.expansion import Expanded, references, resolve, secret_references
from mcp_interface.errors import NotFound, ServerUnavailable
from mcp_interface.server import Authorization, ServerSpec
from mcp_interface.tool import ToolResult


def test_references_are_replaced_in_every_field() -> None:
    spec = ServerSpec(
        command="${BIN}/run", args=["--key=${KEY}", "$HOME", "${"], env={"A": "${KEY}"}, cwd="${BIN}"
    )
    ready = expand(spec, {"BIN": "/opt", "KEY": "k3y!"}).spec
    assert ready.command == "/opt/run"
    assert ready.args == ["--key=k3y!", "$HOME", "${"]
    assert ready.env == {"A": "k3y!"}
    assert ready.cwd == "/opt"
    web = ServerSpec(url="https://${HOST}/mcp", headers={"Authorization": "Bearer ${KEY}"})
    ready = expand(web, {"HOST": "example.org", "KEY": "k3y!"}).spec
    assert (ready.url, ready.headers) == ("https://example.org/mcp", {"Authorization": "Bearer k3y!"})


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, "by default"), ({"A": ""}, "by default"), ({"A": "given"}, "given")]
)
def test_a_default_stands_in_as_in_a_shell(environment, expected) -> None:
    assert expand(ServerSpec(command="${A:-by default}"), environment).spec.command == expected


def test_an_empty_default_is_a_value() -> None:
    assert expand(ServerSpec(command="x", args=["${A:-}"]), {}).spec.args == [""]


def test_an_empty_variable_without_default_is_a_value() -> None:
    assert expand(ServerSpec(command="x", args=["${A}"]), {"A": ""}).spec.args == [""]


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ServerUnavailable, match="'TOKEN' is not set") as caught:
        expand(ServerSpec(command="x", env={"T": "${TOKEN}"}), {})
    assert caught.value.details["variable"] == "TOKEN"
    assert "TOKEN" in caught.value.remedy


def test_values_are_not_expanded_again() -> None:
    assert expand(ServerSpec(command="${A}"), {"A": "${B}", "B": "no"}).spec.command == "${B}"


@given(value=st.text(min_size=4), around=st.text())
def test_no_value_survives_redaction(value: str, around: str) -> None:
    ready = expand(ServerSpec(command="x", args=["${KEY}"]), {"KEY": value})
    if value not in "${KEY}" and value not in around:
        assert value not in ready.redact(f"a {value}{value} b")
    assert value not in repr(ready) or value in "Expanded(1 variables)"


# -- secrets of the vault ----------------------------------------------------------------------------------


class Kept:
    """A vault in memory."""

    kept_in = "file"

    def __init__(self, **secrets: str) -> None:
        self._secrets = secrets

    async def put(self, name: str, value: str) -> None:
        self._secrets[name] = value

    async def get(self, name: str) -> str:
        if name not in self._secrets:
            raise NotFound(f"no secret {name}")
        return self._secrets[name]

    async def remove(self, name: str) -> None:
        self._secrets.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._secrets)


def test_secrets_are_put_in_everywhere_and_taken_out_of_every_text() -> None:
    spec = ServerSpec(
        command="run",
        args=["${HOME}"],
        env={"A": "${secret:team/key}"},
        headers={"Authorization": "Bearer ${secret:team/key}"},
        url="https://x/${secret:team/key}",
    )
    vault = Kept(**{"team/key": "hunter2"})
    ready = asyncio.run(resolve(spec, {"HOME": "/srv/a"}, vault))  # type: ignore[arg-type]
    assert ready.spec.args == ["/srv/a"]
    assert ready.spec.env == {"A": "hunter2"}
    assert ready.spec.headers == {"Authorization": "Bearer hunter2"}
    assert ready.spec.url == "https://x/hunter2"
    assert ready.redact("it said hunter2 at /srv/a") == "it said ${secret:team/key} at ${HOME}"
    assert "hunter2" not in repr(ready)
    assert secret_references(spec) == {"team/key"}
    assert references(spec) == {"HOME"}


@pytest.mark.parametrize("vault", [None, Kept(other="x")])
def test_a_missing_secret_is_named_with_what_to_do(vault: Kept | None) -> None:
    spec = ServerSpec(command="x", env={"T": "${secret:team/key}"})
    with pytest.raises(ServerUnavailable, match="'team/key'") as caught:
        asyncio.run(resolve(spec, {}, vault))  # type: ignore[arg-type]
    assert caught.value.remedy.endswith("umbrella secret set team/key")


def test_the_login_of_a_person_is_no_secret_to_refer_to() -> None:
    vault = Kept(**{"oauth/user_1/docs": "token"})
    with pytest.raises(ServerUnavailable):
        asyncio.run(resolve(ServerSpec(command="x", env={"A": "${secret:oauth/user_1/docs}"}), {}, vault))  # type: ignore[arg-type]


def test_what_belongs_to_a_login_is_left_for_it_to_read() -> None:
    login = Authorization(client_id="x", client_secret="${secret:mine}")
    spec = ServerSpec(url="https://x", auth=login)
    assert asyncio.run(resolve(spec, {}, Kept(mine="hunter2"))).spec.auth == login  # type: ignore[arg-type]


def test_variables_as_vs_code_writes_them() -> None:
    spec = ServerSpec(command="${env:TOOL}", args=["${env:MODE:-fast}", "${secret}", "${env}"])
    ready = expand(spec, {"TOOL": "git", "secret": "a", "env": "b"}).spec
    assert (ready.command, ready.args) == ("git", ["fast", "a", "b"])


def test_a_secret_that_holds_a_reference_is_not_read_again() -> None:
    vault = Kept(a="${secret:b}", b="no")
    spec = ServerSpec(command="x", env={"A": "${secret:a}"})
    assert asyncio.run(resolve(spec, {}, vault)).spec.env == {"A": "${secret:b}"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        (ServerSpec(command="${secret:k}"), "command"),
        (ServerSpec(command="x", args=["-v", "--token=${secret:k}"]), "args"),
        (ServerSpec(command="x", cwd="/srv/${secret:k}"), "cwd"),
    ],
)
def test_a_secret_where_everybody_could_read_it_is_refused_with_what_to_do(
    spec: ServerSpec, part: str
) -> None:
    with pytest.raises(ServerUnavailable, match=f"'k' stands in {part}") as caught:
        asyncio.run(resolve(spec, {}, Kept(k="hunter2")))  # type: ignore[arg-type]
    assert "pass it by env" in caught.value.remedy and "hunter2" not in str(caught.value.body())


@given(st.text(st.sampled_from("ab"), min_size=16, max_size=60), st.data())
def test_no_piece_of_sixteen_characters_survives_redaction(value: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(value) - 16))
    end = data.draw(st.integers(begin + 16, len(value)))
    around = data.draw(st.text(st.sampled_from("abx"), max_size=40))
    ready = Expanded(ServerSpec(command="x"), {value: "${secret:k}"})
    told = ready.redact(around + value[begin:end] + around[::-1])
    assert not any(value[at : at + 16] in told for at in range(len(value) - 15))


def test_results_lose_whole_secrets_of_the_vault_and_keep_paths() -> None:
    hidden = {"hunter2-hunter2": "${secret:k}", "/srv/home": "${HOME}", "short": "${secret:s}"}
    ready = Expanded(ServerSpec(command="x"), hidden)
    result = ToolResult(
        content=[{"type": "text", "text": "/srv/home has hunter2-hunter2, in short"}],
        structured={"a": ["hunter2-hunter2", 1, None]},
    )
    told = ready.redact_data(result)
    assert told.content[0]["text"] == "/srv/home has ${secret:k}, in short"
    assert told.structured == {"a": ["${secret:k}", 1, None]}
