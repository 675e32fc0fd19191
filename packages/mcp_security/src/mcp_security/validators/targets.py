"""What a URL and a method really ask for: one reading, by one parser, and the resource to be judged.

`ada-url`, a WHATWG parser, is the only reader, and what it writes down is what will be sent: whatever a text
may look like, the host that was judged is the host that is asked. A text that another reader would take for
something else is refused, never repaired. Pure; knows no rights and no network.

Source: WHATWG URL Standard; RFC 3986 sections 2 and 6.2.2 for equal spellings of a path.
"""

import re
import unicodedata
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes

import msgspec

from mcp_interface.address import MAX_URI, OPERATIONS, Resource
from mcp_interface.errors import CallerMistaken, WorldBroken
from mcp_security.addresses import host_of

MAX_URL: Final = 8192
"""Characters of a URL, written out."""

PORTS: Final = {"http": 80, "https": 443}

_METHODS: Final = OPERATIONS["api"]
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BACKSLASH: Final = re.compile(r"[^?#]*\\")
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_USER: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?/{2,}[^/?#]*@", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TWICE: Final = re.compile(rb"%(?:2[ef]|5c|25|[01][0-9a-f]|7f)", re.IGNORECASE)
_PLAIN: Final = "!$&'()+,;=:@-._~"
"""What a segment shows as it is; everything else is percent-encoded, `*` too: it is a sign of patterns."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One request's method and URL, read once."""

    method: str
    """Lower case, an operation of api resources."""
    scheme: str
    host: str
    """Lower case, punycode; an IPv6 address without brackets."""
    port: int
    authority: str
    """As in the URL: an IPv6 address in brackets, the port only where it is not the scheme's own."""
    request: str
    """Path and query, as sent."""
    resource: Resource
    """`mcp://api/<method>/<scheme>/<host[:port]>/<path>`, without the query."""

    @classmethod
    def parse(cls, url: str, method: str, base: str | None = None) -> Self:
        """Read a URL; only http and https.

        The path in the resource has one spelling: what is percent-encoded without need is decoded, the rest
        encoded alike, and a slash at the end left out. A fragment is dropped.

        Args:
            url: Absolute, unless there is a base.
            method: In any case.
            base: What a relative URL, as in a redirect, is relative to.

        Raises:
            CallerMistaken: It cannot be read, or could be read in two ways; names the rule.
            WorldBroken: The parser is not installed.
        """
        operation = method.lower()
        if operation not in _METHODS:
            raise CallerMistaken(
                f"method {method[:40]!r} is not known", f"use one of {', '.join(sorted(_METHODS))}"
            )
        _check_text(url, relative=base is not None)
        parsed = _parse(url, base)
        scheme, path, authority = parsed.protocol.removesuffix(":"), parsed.pathname, parsed.host
        if scheme not in PORTS:
            raise _mistaken(url, "its scheme is neither http nor https", "use a web address")
        if parsed.username or parsed.password or _USER.match(url):  # also an empty one
            raise _mistaken(url, "it holds a user name", "send credentials in a header")
        _check_host(url, parsed.hostname)
        if parsed.port == "0":
            raise _mistaken(url, "port 0 is none", "leave it out")
        request = path + parsed.search
        if len(request) > MAX_URL:
            raise _mistaken(url, f"it is longer than {MAX_URL} characters", "shorten it")
        return cls(
            method=operation,
            scheme=scheme,
            host=host_of(authority),
            port=int(parsed.port or PORTS[scheme]),
            authority=authority,
            request=request,
            resource=_resource(url, operation, scheme, authority, path),
        )

    @property
    def url(self) -> str:
        """The URL as the parser wrote it down."""
        return f"{self.scheme}://{self.authority}{self.request}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


class _Parsed(msgspec.Struct, frozen=True):
    protocol: str
    username: str
    password: str
    hostname: str
    host: str
    port: str
    pathname: str
    search: str


def _parse(url: str, base: str | None) -> _Parsed:
    try:
        from ada_url import URL
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
    try:
        read = URL(url, base)
    except ValueError:
        raise _mistaken(url, "it is not a URL", "write https://host/path") from None
    return _Parsed(**{field: getattr(read, field) for field in _Parsed.__struct_fields__})


def missing_extra(error: ModuleNotFoundError) -> WorldBroken:
    """Say what to install."""
    return WorldBroken(
        f"the Python package {error.name!r} is not installed, so no URL is opened",
        "pip install 'mcp-umbrella-security[api]'",
        {"kind": "not_installed"},
    )


def _check_text(url: str, *, relative: bool) -> None:
    """Refuse what readers of URLs are known to disagree on, before anything is read."""
    if len(url) > MAX_URL:
        raise _mistaken(url, f"it is longer than {MAX_URL} characters", "shorten it")
    if _CONTROL.search(url):
        raise _mistaken(url, "it holds a control character, tab or line break", "remove it")
    if _BACKSLASH.match(url):
        raise _mistaken(url, "it holds a backslash", "write /")
    if not relative and not _ABSOLUTE.match(url):
        raise _mistaken(url, "it does not begin with http:// or https:// and a host", "write it in full")


def _check_host(url: str, hostname: str) -> None:
    if hostname.startswith("["):
        return
    if hostname.endswith("."):
        raise _mistaken(url, "its host ends with a dot", "leave the dot out")
    if len(hostname) > 253 or not _NAME.fullmatch(hostname):
        raise _mistaken(
            url, f"{hostname[:100]!r} is not a host name", "use letters, digits, hyphens and single dots"
        )


def _resource(url: str, operation: str, scheme: str, authority: str, path: str) -> Resource:
    given = path.removeprefix("/").split("/")
    if given[-1] == "":
        given.pop()
    parts = [scheme, authority, *(_segment(url, part) for part in given)]
    found = Resource("api", operation, "/".join(parts))
    if len(found.uri) > MAX_URI:
        raise _mistaken(url, f"its path, percent-encoded, is longer than {MAX_URI}", "shorten it")
    return found


def _segment(url: str, given: str) -> str:
    """Give a path segment its one spelling, or refuse it."""
    if not given:
        raise _mistaken(url, "its path has an empty segment (//)", "write single slashes")
    if _BROKEN.search(given):
        raise _mistaken(url, f"{given[:100]!r} has a '%' without two hexadecimal digits", "write it as %25")
    raw = unquote_to_bytes(given)
    if _TWICE.search(raw):
        raise _mistaken(url, f"{given[:100]!r} is percent-encoded twice", "encode once")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _mistaken(url, f"{given[:100]!r} is not UTF-8", "percent-encode UTF-8") from None
    if _CONTROL.search(text):
        raise _mistaken(url, f"{given[:100]!r} hides a control character", "remove it")
    # a server may fold look-alikes (NFKC), or cut off parameters at `;`, before it resolves dots
    folded = unicodedata.normalize("NFKC", text)
    if "/" in folded or "\\" in folded or folded.partition(";")[0] in {".", ".."}:
        raise _mistaken(url, f"{given[:100]!r} hides a slash or a dot segment", "write the plain path")
    return quote(raw, safe=_PLAIN)


def _mistaken(url: str, rule: str, remedy: str) -> CallerMistaken:
    return CallerMistaken(f"URL {url[:200]!r}: {rule}", remedy)
