"""Rights on what servers offer, names of virtual servers, and what entries and secrets show of themselves."""

import pytest

from mcp_interface.errors import InvalidRecord
from mcp_interface.key import Publication
from mcp_interface.offers import prompt_right, resource_right
from mcp_interface.secret import PutSecret
from mcp_interface.server import Cage, ServerSpec


def test_rights_name_server_and_thing_whatever_characters_they_have() -> None:
    assert resource_right("a/b", "file:///x?y").uri == "mcp://tool/read/a%2Fb/resource/file%3A%2F%2F%2Fx%3Fy"
    assert prompt_right("git", "a b").uri == "mcp://tool/read/git/prompt/a%20b"


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a" * 64, "a\n"])
def test_a_virtual_server_needs_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidRecord, match="virtual server"):
        Publication(name=name).validate()


def test_a_plain_name_will_do() -> None:
    Publication(name="git-2_x").validate()


def test_a_secret_shows_its_name_only() -> None:
    command = PutSecret(name="token", value="hunter2")
    assert "hunter2" not in f"{command!r} {command} {command.__rich_repr__()}"
    assert "token" in repr(command)


def test_only_a_process_of_this_machine_is_caged() -> None:
    ServerSpec(command="x", cage=Cage()).validate()
    with pytest.raises(InvalidRecord, match="caged"):
        ServerSpec(url="http://x/", cage=Cage()).validate()
