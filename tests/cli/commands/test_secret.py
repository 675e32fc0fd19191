"""`umbrella secret …` against a node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VALUE = "hunter2-and-more"


@pytest.fixture(autouse=True)
def forgotten(umbrella: Callable[..., Any]) -> Any:
    yield
    umbrella("secret", "remove", "team/token")


def test_a_secret_comes_from_standard_input_and_is_never_shown(
    umbrella: Callable[..., Any], umbrella_json: Callable[..., Any], node_dir: Path
) -> None:
    done = umbrella("secret", "set", "team/token", stdin=f"{VALUE}\n")
    assert done.exit_code == 0, done.output
    assert "${secret:team/token}" in done.output
    listed = umbrella("secret", "list")
    assert "team/token" in listed.output
    assert VALUE not in done.output + listed.output
    assert [each["name"] for each in umbrella_json("secret", "list")["items"]] == ["team/token"]
    assert not any(VALUE.encode() in path.read_bytes() for path in node_dir.rglob("*") if path.is_file())
    assert umbrella("secret", "remove", "team/token").exit_code == 0
    assert "team/token" not in umbrella("secret", "list").output


@pytest.mark.parametrize("stdin", ["", "\n"])
def test_an_empty_secret_is_refused(umbrella: Callable[..., Any], stdin: str) -> None:
    refused = umbrella("secret", "set", "team/token", stdin=stdin)
    assert refused.exit_code == 2 and "empty" in refused.output


def test_a_value_on_the_command_line_is_refused(umbrella: Callable[..., Any]) -> None:
    assert umbrella("secret", "set", "team/token", VALUE).exit_code == 2


def test_a_name_that_cannot_be_one_is_refused(umbrella: Callable[..., Any]) -> None:
    for name in ("a b", "../x", "oauth/user/docs"):
        refused = umbrella("secret", "set", name, stdin=VALUE)
        assert refused.exit_code == 2, refused.output
        assert VALUE not in refused.output
