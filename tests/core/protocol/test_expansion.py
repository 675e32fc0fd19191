"""References in a server's specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol import expand
from mcp_interface.errors import ServerUnavailable
from mcp_interface.server import ServerSpec


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
