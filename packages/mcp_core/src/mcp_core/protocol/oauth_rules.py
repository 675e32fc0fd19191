"""The rules around a login that need no network; pure.

A server that asks for a login names the addresses where it happens. It is a stranger: what it names must not lead
our requests into the machine or its network, nor a person to something that is not a web page.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from mcp_core.protocol.oauth_record import PREFIX
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotPermitted, ServerUnavailable

MAX_SCOPES: Final = 64
MAX_URL: Final = 16_384
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SECRET: Final = re.compile(r"\$\{secret:([A-Za-z0-9][A-Za-z0-9_.:/-]{0,200})\}")
_PARAMETER: Final = re.compile(r'([a-z_]+)=(?:"([^"]*)"|([^\s,]+))')
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")


class LoginNeeded(ServerUnavailable):
    """A person has to log in to a server first, or again with `details["scopes"]`; then `details["wider"]` is true."""


def login_needed(server: str, scopes: frozenset[str] = frozenset(), *, wider: bool = False) -> LoginNeeded:
    """Say that nothing goes on before a person has logged in; if for more only, other requests do go on."""
    more = f" with {' '.join(sorted(scopes))}" if scopes else ""
    return LoginNeeded(
        f"server {server!r} needs a person to log in{more}",
        f"log in: umbrella mcp login {server}",
        {"server": server, "login": True, "wider": wider, "scopes": sorted(scopes)},
    )


class Challenge(msgspec.Struct, frozen=True):
    """What a server said when it did not let us in."""

    status: int
    """401, or 403 when the login is not enough."""
    metadata_url: str = ""
    """Where it describes itself."""
    scopes: frozenset[str] | None = None
    """What it wants; None: it did not say."""
    version: str = ""
    """MCP version of the request that it answered."""

    @property
    def widens(self) -> bool:
        """Whether there is a login, but a wider one is wanted."""
        return self.status == 403


def challenge(status: int, header: str, version: str) -> Challenge | None:
    """Read an answer; None when it asks for no login.

    Source: RFC 6750, section 3; RFC 9728, section 5.1.
    """
    said = {match[1]: match[2] or match[3] or "" for match in _PARAMETER.finditer(header[:MAX_URL])}
    if status != 401 and not (status == 403 and said.get("error") == "insufficient_scope"):
        return None
    scopes = None if "scope" not in said else frozenset(filter(_SCOPE.fullmatch, said["scope"].split()))
    if scopes is not None and len(scopes) > MAX_SCOPES:
        scopes = frozenset(sorted(scopes)[:MAX_SCOPES])
    return Challenge(status, said.get("resource_metadata", ""), scopes, version)


def secret_in(reference: str, what: str) -> str:
    """The name of the secret that a reference means.

    Raises:
        InvalidRecord: It is no whole reference, or refers to a person's login.
    """
    found = _SECRET.fullmatch(reference)
    if found is None or found[1].startswith(PREFIX):
        raise InvalidRecord(
            "secret_in_plain",
            f"{what} has to be a reference to a secret of the vault",
            "keep it there, and write ${secret:NAME}",
        )
    return found[1]


def require_return(url: str) -> None:
    """Check where the page of a login may lead back to: here, or somewhere nobody listens in.

    Raises:
        CallerMistaken: Neither.

    Source: RFC 8252, section 7.3; MCP authorization, "Communication Security".
    """
    parts = _split(url)
    if parts is None or parts.fragment or (parts.scheme, parts.hostname or "") == ("https", ""):
        raise CallerMistaken(f"{url[:200]!r} cannot be led back to", "give an https URL, or one of 127.0.0.1")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise CallerMistaken(
            f"a login cannot lead back to {url[:200]!r}: others may listen in",
            "use https, or open the dashboard at 127.0.0.1",
        )


def require_page(url: str) -> None:
    """Check the page that a person is asked to open.

    Raises:
        NotPermitted: It is no web page.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
        raise NotPermitted(
            f"the server sends people to {url[:80]!r}, which is no web page", "do not log in there"
        )


def require_endpoint(url: str, server_url: str) -> None:
    """Check an address that a server names before anything is sent there.

    Its own origin is as trusted as the server is. Anything else has to be https, and a server out there may not
    name an address in here; a server in here may name others in here, over plain http on this machine only.

    Raises:
        NotPermitted: The address is not one for that.

    Source: MCP security best practices, "Server-Side Request Forgery".
    """
    parts, home = _split(url), _split(server_url)
    if parts is None or home is None or not parts.hostname or parts.username is not None:
        raise NotPermitted(
            f"the server names {url[:200]!r} for its login", "that is no address; ask its authors"
        )
    if (parts.scheme, parts.netloc) == (home.scheme, home.netloc):
        return
    near = _near(parts.hostname)
    if near and not _near(home.hostname or ""):
        raise NotPermitted(
            f"the server names {parts.hostname!r} for its login, which is inside this machine or its network",
            "do not use this server",
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _here(parts.hostname)):
        raise NotPermitted(
            f"the server's login at {parts.hostname!r} is not encrypted", "ask its authors for https"
        )


class Returned(msgspec.Struct, frozen=True):
    """What came back from the page of a login."""

    state: str
    code: str = ""
    issuer: str | None = None
    error: str = ""

    def __repr__(self) -> str:
        return f"Returned(error={self.error!r})"


def returned(url: str) -> Returned:
    """Read the URL that was opened at the end.

    Raises:
        CallerMistaken: It is too long, or not what a login leads back to; it is not repeated.
    """
    parts = _split(url)
    said = {} if parts is None else parse_qs(parts.query)
    if (
        any(len(values) > 1 for values in said.values())
        or "state" not in said
        or not ({"code", "error"} & set(said))
    ):
        raise CallerMistaken(
            "that is not a URL that a login leads back to",
            "give the whole URL that the browser opened at the end",
        )
    one = {key: values[0] for key, values in said.items()}
    return Returned(one["state"], one.get("code", ""), one.get("iss"), one.get("error", ""))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read: a wrong one shows itself only here
    except ValueError:
        return None
    return parts if len(url) <= MAX_URL else None


def _here(host: str) -> bool:
    """Whether a host is this machine, as far as its name says."""
    try:
        return host in _LOOPBACK or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _near(host: str) -> bool:
    """Whether a host is this machine or of its network, as far as its name says."""
    if _here(host) or host.endswith((".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
