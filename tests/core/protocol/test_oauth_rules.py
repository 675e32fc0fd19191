"""The rules around a login: which addresses are safe, what a refusal says, what a callback is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.protocol.oauth_rules import (
    MAX_SCOPES,
    challenge,
    require_endpoint,
    require_page,
    require_return,
    returned,
)
from mcp_interface.errors import CallerMistaken, NotPermitted

FAR, HERE = "https://mcp.example/mcp", "http://127.0.0.1:8000/mcp"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://login.example/token", FAR),
        ("https://mcp.example/token", FAR),
        ("http://mcp.example/token", "http://mcp.example/mcp"),
        ("http://127.0.0.1:9000/token", HERE),
        ("http://localhost:9000/token", HERE),
        ("https://login.example/token", HERE),
        ("https://10.0.0.7/token", "https://10.0.0.8/mcp"),
    ],
)
def test_a_login_happens_at_safe_addresses(url: str, server: str) -> None:
    require_endpoint(url, server)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://login.example/token", FAR),
        ("http://login.example/token", "http://mcp.example/mcp"),
        ("http://127.0.0.1:9000/token", FAR),
        ("https://127.0.0.1/token", FAR),
        ("https://[::1]/token", FAR),
        ("https://localhost/token", FAR),
        ("https://a.localhost/token", FAR),
        ("https://169.254.169.254/latest/meta-data", FAR),
        ("https://10.0.0.1/", FAR),
        ("https://192.168.1.1/", FAR),
        ("https://printer.local/", FAR),
        ("https://[fd00::1]/", FAR),
        ("http://10.0.0.7/token", "http://10.0.0.8/mcp"),
        ("https://user@login.example/", FAR),
        ("https://login.example:x/", FAR),
        ("file:///etc/passwd", FAR),
        ("https://", FAR),
        ("", FAR),
    ],
)
def test_a_login_happens_nowhere_else(url: str, server: str) -> None:
    with pytest.raises(NotPermitted):
        require_endpoint(url, server)


@given(st.ip_addresses())
def test_a_server_out_there_names_no_address_in_here(address: object) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    if not address.is_global:  # type: ignore[attr-defined]
        with pytest.raises(NotPermitted):
            require_endpoint(f"https://{host}/token", FAR)


@given(st.text(max_size=60))
def test_a_person_is_sent_to_web_pages_only(text: str) -> None:
    try:
        require_page(text)
    except NotPermitted:
        return
    assert text.strip("\0 \t\r\n").lower().startswith(("http://", "https://"))


@given(st.text(max_size=60))
def test_a_login_leads_back_to_https_or_to_here(text: str) -> None:
    try:
        require_return(text)
    except CallerMistaken:
        return
    assert text.lower().lstrip("\0 \t\r\n").startswith("http")


@pytest.mark.parametrize(
    "url", ["https://a.example/cb", "http://localhost:1/cb", "http://[::1]:1/", "http://127.0.0.1/"]
)
def test_a_login_may_lead_back(url: str) -> None:
    require_return(url)


def test_a_refusal_says_what_is_wanted() -> None:
    said = challenge(
        401, 'Bearer realm="x", resource_metadata="https://a/b", scope="read write"', "2025-11-25"
    )
    assert said is not None and not said.widens
    assert (said.metadata_url, said.scopes) == ("https://a/b", frozenset({"read", "write"}))
    more = challenge(403, "Bearer error=insufficient_scope, scope=admin", "")
    assert more is not None and more.widens and more.scopes == frozenset({"admin"})
    assert challenge(403, 'Bearer error="invalid_token"', "") is None
    assert challenge(200, 'Bearer error="insufficient_scope"', "") is None
    bare = challenge(401, "", "")
    assert bare is not None and bare.scopes is None


@given(st.integers(100, 599), st.text(max_size=300))
def test_any_refusal_can_be_read(status: int, header: str) -> None:
    said = challenge(status, header, "")
    assert (said is not None) or status != 401
    if said is not None and said.scopes is not None:
        assert len(said.scopes) <= MAX_SCOPES
        assert not any(character in scope for scope in said.scopes for character in ' "\\\r\n')


def test_too_many_scopes_are_cut() -> None:
    said = challenge(401, f'Bearer scope="{" ".join(map(str, range(500)))}"', "")
    assert said is not None and said.scopes is not None and len(said.scopes) == MAX_SCOPES


@given(st.text(max_size=200))
def test_whatever_comes_back_is_read_or_refused_without_being_repeated(text: str) -> None:
    try:
        came = returned(f"http://127.0.0.1/cb?state=s&code={text}")
    except CallerMistaken as error:
        assert len(text) < 8 or text not in str(error)
        return
    assert came.state == "s"
    assert len(came.code) < 8 or came.code not in repr(came)


def test_a_callback_is_read_whole() -> None:
    came = returned("http://127.0.0.1/cb?code=a%2Bb&state=s&iss=https%3A%2F%2Flogin.example")
    assert (came.code, came.state, came.issuer, came.error) == ("a+b", "s", "https://login.example", "")
    assert returned("http://127.0.0.1/cb?error=access_denied&state=s").error == "access_denied"
