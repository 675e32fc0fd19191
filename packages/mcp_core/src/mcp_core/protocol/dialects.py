"""What other hosts call the fields of a server's entry, and what they have that we have not; pure.

Read are Claude Desktop and Claude Code, Cursor, VS Code, FastMCP, and the fields that Cline, Roo and Gemini add.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from mcp_interface.errors import CallerMistaken
from mcp_interface.server import Authorization, ServerSpec

_FIELDS: Final = frozenset(ServerSpec.__struct_fields__)
_LOGIN_FIELDS: Final = frozenset(Authorization.__struct_fields__)
_KINDS: Final = {
    "streamableHttp": "streamable-http",
    "streamable_http": "streamable-http",
    "local": "stdio",
    "remote": "http",
}
_APPROVALS: Final = frozenset({"alwaysAllow", "autoApprove", "trust"})
_LOGINS: Final = {
    "clientId": "client_id",
    "CLIENT_ID": "client_id",
    "clientSecret": "client_secret",
    "CLIENT_SECRET": "client_secret",
    "scope": "scopes",
    "clientMetadataUrl": "client_metadata_url",
}
_SSE: Final = re.compile(r"/sse/?$")
_EDITORS: Final = re.compile(
    r"\$\{(workspaceFolderBasename|workspaceFolder(?::[^}]*)?|userHome|pathSeparator|/)\}"
)
_LONGEST_MS: Final = 10**12
_SHORTEST_MS: Final = 1_000
"""A timeout below a second is meant in seconds."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What an editor's variables stand for."""

    workspace: str
    """Absolute."""
    home: str


def substitute(text: str, place: Place | None, server: str) -> str:
    """Put the editor's variables in; those of the environment stay references.

    Raises:
        CallerMistaken: There is one, and nobody said what it stands for.
    """

    def stand(match: re.Match[str]) -> str:
        if place is None:
            raise CallerMistaken(
                f"server {server!r} refers to {match[0]}, and there is no workspace here",
                "write the folder out",
            )
        name = match[1].partition(":")[0]
        if name == "workspaceFolder":
            return place.workspace
        if name == "workspaceFolderBasename":
            return place.workspace.rstrip("/").rpartition("/")[2]
        return place.home if name == "userHome" else "/"

    return _EDITORS.sub(stand, text)


def in_our_words(entry: dict[str, Any], login_reference: str) -> tuple[dict[str, Any], list[str], str | None]:
    """An entry in the fields of `ServerSpec`.

    Args:
        entry: As another host has it.
        login_reference: Stands in place of a client secret that is spelled out.

    Returns:
        The fields, what a person should know of the rest, and the client secret that was taken out.
    """
    notes: list[str] = []
    given = dict(entry)
    fields: dict[str, Any] = {}
    if "httpUrl" in given and "url" not in given:
        given["url"] = given.pop("httpUrl")
    transport = given.pop("transport", None)
    kind = given.pop("type", None) or transport
    if isinstance(kind, str):
        fields["type"] = _KINDS.get(kind, kind)
    elif kind is not None:
        fields["type"] = kind
    _infer_sse(fields, given, notes)
    if given.pop("enabled", None) is False:
        fields["disabled"] = True
    _read_timeout(fields, given, notes)
    secret = _read_login(fields, given, notes, login_reference)
    for key in sorted(given.keys()):
        if key in _APPROVALS:
            notes.append(f"{key!r} is not taken over; here a tool is allowed when it asks for the first time")
        elif key not in _FIELDS:
            notes.append(f"{key!r} is not used")
        elif key not in fields:
            fields[key] = given[key]
    return fields, notes, secret


def _infer_sse(fields: dict[str, Any], given: dict[str, Any], notes: list[str]) -> None:
    url = given.get("url")
    if "type" in fields or not isinstance(url, str):
        return
    try:
        path = urlsplit(url).path
    except ValueError:
        return
    if _SSE.search(path):
        fields["type"] = "sse"
        notes.append('its address ends in /sse, so the transport of 2024 is used; say "type": "http" if not')


def _read_timeout(fields: dict[str, Any], given: dict[str, Any], notes: list[str]) -> None:
    timeout = given.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < _LONGEST_MS:
        return  # what is wrong with it is said where the fields are checked
    del given["timeout"]
    if timeout < _SHORTEST_MS:
        notes.append(f"'timeout' {timeout:g} is taken for seconds")
        timeout *= 1000
    fields["timeout"] = round(timeout)


def _read_login(
    fields: dict[str, Any], given: dict[str, Any], notes: list[str], reference: str
) -> str | None:
    login = given.pop("oauth", None) if "oauth" in given and "auth" not in given else given.pop("auth", None)
    if isinstance(login, str):
        if login != "oauth":  # a bearer token, as FastMCP has it
            headers = given.get("headers") or {}
            if isinstance(headers, dict):
                fields["headers"] = {"Authorization": f"Bearer {login}", **headers}
        return None
    if not isinstance(login, dict):
        if login is not None:
            notes.append("'auth' is not used")
        return None
    found: dict[str, Any] = {}
    for key, value in login.items():
        if key == "callbackPort":
            found["redirect_url"] = f"http://localhost:{value}/callback"
        elif (name := _LOGINS.get(key, key)) in _LOGIN_FIELDS:
            found[name] = value.split() if name == "scopes" and isinstance(value, str) else value
        else:
            notes.append(f"{key!r} of its login is not used")
    secret = found.get("client_secret")
    if not isinstance(secret, str) or "${" in secret:
        secret = None
    else:
        found["client_secret"] = reference
        notes.append("the client secret of its login goes into the vault")
    fields["auth"] = found
    return secret
