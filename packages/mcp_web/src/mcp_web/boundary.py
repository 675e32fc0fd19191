"""The outer wall, in front of routing: who may speak to this port, and what every response carries.

Against DNS rebinding the `Host` must be one we answer to; against cross-site requests a state-changing
request needs a header that no foreign page can send, and an `Origin`, where there is one, must be ours;
the same for a WebSocket handshake. Logins are checked behind this wall, in `auth`.
"""

import ipaddress
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_interface.clock import Entropy
from mcp_interface.errors import CallerMistaken, NotPermitted, UmbrellaError

COOKIE: Final = "umbrella_login"
CSRF_HEADER: Final = "x-umbrella"
REQUEST_ID: Final = "x-request-id"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
POLICY: Final = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def header(scope: Mapping[str, Any], name: str) -> str | None:
    """The value of a header that is sent once; None when it is missing.

    Raises:
        CallerMistaken: It was sent twice with different values, so that nobody can tell which one counts.
    """
    wanted = name.encode()
    found = {value for key, value in scope.get("headers", ()) if key.lower() == wanted}
    if len(found) > 1:
        raise CallerMistaken(f"the header {name} was sent more than once", "send it once")
    return next(iter(found)).decode("latin-1") if found else None


def cookie(scope: Mapping[str, Any]) -> str | None:
    """The login key in the cookie, if there is one."""
    text = header(scope, "cookie")
    if not text:
        return None
    try:
        morsel = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and morsel.value else None


def bearer(scope: Mapping[str, Any]) -> str | None:
    """The login key in `Authorization: Bearer …`, if there is one."""
    kind, _, key = (header(scope, "authorization") or "").partition(" ")
    return key.strip() or None if kind.lower() == "bearer" else None


def is_mcp(scope: Mapping[str, Any]) -> bool:
    """Whether a request is for the MCP endpoint."""
    path = str(scope["path"])
    return bool(scope["type"] == "http") and (path == "/mcp" or path.startswith("/mcp/"))


class Boundary:
    """Judges requests before anything else sees them.

    Args:
        hosts: Names, without port, that this server answers to, besides those of the loopback.
        any_address: Also answer to any literal IP address, for a server that listens on all of them. A
            literal address cannot be re-bound, only a name can.
        entropy: Source of request ids.
    """

    def __init__(self, hosts: frozenset[str], entropy: Entropy, *, any_address: bool = False) -> None:
        self._hosts = frozenset(name.lower() for name in hosts) | LOOPBACK_NAMES
        self._any_address = any_address
        self._entropy = entropy

    def request_id(self, scope: Mapping[str, Any]) -> str:
        """The caller's own request id when it is a decent one, else a fresh one."""
        for key, value in scope.get("headers", ()):
            text = value.decode("latin-1")
            if key.lower() == REQUEST_ID.encode() and _GIVEN_ID.fullmatch(text):
                return str(text)
        return self._entropy.token(12).hex()

    def refusal(self, scope: Mapping[str, Any]) -> UmbrellaError | None:
        """Why this request or handshake is not let in; None lets it pass."""
        try:
            self._judge(scope)
        except UmbrellaError as error:
            return error
        return None

    def _judge(self, scope: Mapping[str, Any]) -> None:
        host = header(scope, "host") or ""
        if not self._answers_to(host):
            raise NotPermitted(
                f"this server does not answer to the name {host[:200]!r}",
                "use the address that `umbrella serve` printed",
                {"reason": "host_not_allowed"},
            )
        for_mcp = is_mcp(
            scope
        )  # takes no cookie, so that nothing can be forged; and its reading opens streams
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS and not for_mcp:
            return
        origin = header(scope, "origin")
        if origin is not None and not _same(origin, host):
            raise NotPermitted(
                f"the page at {origin[:200]!r} may not use this server",
                f"open the dashboard at http://{host}/",
                {"reason": "origin_not_allowed"},
            )
        if scope["type"] != "http" or for_mcp or bearer(scope) is not None:
            return
        if (origin is not None or cookie(scope) is not None) and header(scope, CSRF_HEADER) != "1":
            raise NotPermitted(
                f"a change by cookie needs the header {CSRF_HEADER}: 1",
                f"send {CSRF_HEADER}: 1, or a bearer token instead of the cookie",
                {"reason": "csrf_header_missing"},
            )

    def _answers_to(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        if name in self._hosts:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _same(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()
