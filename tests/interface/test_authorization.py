"""The rules of a server's entry about how to log in."""

from typing import Any

import pytest

from mcp_interface.errors import InvalidRecord
from mcp_interface.server import Authorization, ServerSpec

SECRET = "${secret:robot}"


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"scopes": ["read", "mcp:write"]},
        {"client_id": "mine"},
        {"client_id": "mine", "client_secret": SECRET, "issuer": "https://login.example"},
        {"client_metadata_url": "https://umbrella.example/client.json"},
        {"grant": "client_credentials", "client_id": "robot", "client_secret": SECRET},
        {"grant": "client_credentials", "client_id": "robot", "private_key": SECRET},
    ],
)
def test_an_entry_says_how_to_log_in(auth: dict[str, Any]) -> None:
    ServerSpec(url="https://mcp.example/mcp", auth=Authorization(**auth)).validate()


@pytest.mark.parametrize(
    ("rule", "auth"),
    [
        ("secret_in_plain", {"client_id": "mine", "client_secret": "hunter2"}),
        ("secret_in_plain", {"client_id": "mine", "client_secret": "${VAR:-hunter2}"}),
        ("secret_in_plain", {"client_id": "mine", "private_key": f"x{SECRET}"}),
        ("client_without_id", {"client_secret": SECRET}),
        ("client_without_id", {"grant": "client_credentials", "client_secret": SECRET}),
        ("client_without_secret", {"grant": "client_credentials", "client_id": "robot"}),
        (
            "client_without_secret",
            {
                "grant": "client_credentials",
                "client_id": "robot",
                "client_secret": SECRET,
                "private_key": SECRET,
            },
        ),
        ("key_without_grant", {"client_id": "mine", "private_key": SECRET}),
        ("invalid_issuer", {"issuer": "login.example"}),
        ("invalid_scope", {"scopes": ["read write"]}),
        ("invalid_scope", {"scopes": [""]}),
        ("invalid_client_metadata_url", {"client_metadata_url": "http://umbrella.example/client.json"}),
        ("invalid_client_metadata_url", {"client_metadata_url": "https://umbrella.example/"}),
    ],
)
def test_an_entry_that_cannot_work_is_refused(rule: str, auth: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord) as caught:
        ServerSpec(url="https://mcp.example/mcp", auth=Authorization(**auth)).validate()
    assert caught.value.rule == rule
    assert "hunter2" not in str(caught.value)


def test_a_process_is_not_logged_in_to() -> None:
    with pytest.raises(InvalidRecord) as caught:
        ServerSpec(command="x", auth=Authorization()).validate()
    assert caught.value.rule == "auth_without_url"
