"""Requests to web APIs that stay within the right that allowed them.

A URL is read once (`targets`), its host resolved once, every address judged (`addresses`), and one of those very
addresses connected to (`exchange`): a name that changes its mind in between changes nothing. A redirect is a new
request: it is followed only where the same right covers it, for the same method, and from the beginning.

A local address is reached only by designation, see `addresses`. Loads its libraries late; they come with the
extra `api`.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Self

import msgspec

from mcp_interface.address import Resource, parse_resource
from mcp_interface.capability import Facts
from mcp_interface.errors import CallerMistaken, DeadlineExceeded, NotPermitted, WorldBroken
from mcp_security.addresses import (
    LOCALHOST,
    LOOPBACK,
    is_address,
    is_local,
    standing,
)
from mcp_security.constraints import Check, Question, compile_rules, read
from mcp_security.decision import within
from mcp_security.patterns import Paths
from mcp_security.validators.exchange import (
    Answer,
    Connect,
    Headers,
    connect_tcp,
    default_tls,
    exchange,
)
from mcp_security.validators.targets import Target

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_SECONDS: Final = 300.0
MAX_REDIRECTS: Final = 5
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_ADDRESSES: Final = 8
"""Most addresses of a name that are tried; all of them are judged."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name, for a port."""

_FOLLOWED: Final = {301: "get head", 302: "get head", 303: "get head", 307: "", 308: ""}
"""Statuses that lead elsewhere, and the methods that stay themselves there; empty for all."""

_OF_PLACES: Final = frozenset({"allowed_hosts", "allowed_methods", "operations"})
"""Limits that are judged again at every step."""
_OF_ALL: Final = frozenset(
    {"max_bytes", "max_uses", "max_delegation_depth", "not_before", "time_window", "delegation_constraints"}
)
"""Limits that do not depend on where a redirect leads. With any other one it leads nowhere."""
_WHENEVER: Final = datetime.min.replace(tzinfo=UTC)
"""Limits of places do not look at the time."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
_OURS: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer",
        "expect", "accept-encoding", "http2-settings",
    }
)  # fmt: skip
"""Headers that frame the message or name its receiver."""
_DISGUISES: Final = frozenset(
    {
        "x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url",
        "x-original-uri", "x-rewrite-uri", "x-original-host", "x-host", "x-http-host-override", "forwarded",
        "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip",
    }
)  # fmt: skip
"""Headers that make servers take a request for another method, path, host or sender than was judged."""
_CARRIED: Final = frozenset({"accept", "accept-language", "content-type", "user-agent", "range"})
"""Headers that may follow a redirect to another origin; any other one may hold a credential."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request, after the redirects that were followed."""

    url: str
    """Where it came from, as it was sent."""
    status: int
    headers: Headers
    """Names in lower case."""
    body: bytes
    truncated: bool
    """Whether there was more than was asked for, or allowed."""
    redirects: tuple[str, ...] = ()
    """URLs that led here, the first one first."""
    stopped: str = ""
    """Why the redirect that this is was not followed; empty when it is none."""


class _Bounds(msgspec.Struct, frozen=True):
    """How far a right reaches."""

    covering: Resource
    checks: tuple[Check, ...]
    most_bytes: int
    """Most bytes of an answer."""
    still: str
    """A limit that forbids redirects to elsewhere, because the gate cannot judge it there; else empty."""

    @classmethod
    def of(cls, covering: str, limits: Mapping[str, Any]) -> Self:
        """Read pattern and limits; raises for what cannot be read, and so denies."""
        rules = compile_rules({key: limits[key] for key in limits.keys() & _OF_PLACES}, "api")
        size = read({key: limits[key] for key in limits.keys() & {"max_bytes"}}, "api")
        others = sorted(limits.keys() - _OF_PLACES - _OF_ALL)
        return cls(
            parse_resource(covering),
            rules.checks,
            size.get("max_bytes", MAX_BYTES),
            others[0] if others else "",
        )

    def require(self, resource: Resource) -> None:
        """Refuse what is outside.

        Raises:
            NotPermitted: It is not covered, or a limit excludes it.
        """
        if not within(resource, self.covering):
            raise _denied(resource, f"is not covered by {self.covering.uri}", "path_not_allowed")
        question = Question(resource, Paths.of(resource.path), Facts(), _WHENEVER)
        for check in self.checks:
            problem = check(question)
            if problem is not None:
                raise _denied(resource, f"is outside a limit: {problem}", "constraint_violated")


class ApiGate:
    """Sends what a right covers, and nothing else. Holds no state of a request, no cookie and no connection.

    Args:
        resolve: Looks up a name; the system's resolver by default.
        connect: Opens a connection to an address that was judged.
        tls: Makes the context in which certificates are checked.
    """

    def __init__(
        self,
        resolve: Resolve | None = None,
        connect: Connect = connect_tcp,
        tls: Callable[[], ssl.SSLContext] = default_tls,
    ) -> None:
        self._resolve = resolve or system_addresses
        self._connect = connect
        self._tls = cache(tls)

    def resource_of(self, method: str, url: str) -> Resource:
        """Return the right that a request needs; pure.

        Raises:
            CallerMistaken: The method is unknown, or the URL cannot be read in exactly one way.
            WorldBroken: The extra `api` is not installed.
        """
        return Target.parse(url, method).resource

    def check_headers(self, headers: Mapping[str, str]) -> Headers:
        """Return request headers with names in lower case; pure.

        Raises:
            CallerMistaken: One is malformed, frames the message or disguises it, or they are too many.
        """
        return _checked(headers)

    async def fetch(
        self,
        covering: str,
        limits: Mapping[str, Any],
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        max_bytes: int,
        timeout_s: float,
    ) -> Response:
        """Send a request and follow its redirects as far as the right reaches.

        A redirect that is not followed is the result, with the reason in `stopped`.

        Args:
            covering: Resource pattern of the right that allowed it (`Verdict.covering`).
            limits: Its constraints (`Verdict.limits`).
            method: An operation of api resources, in any case.
            url: Absolute, http or https.
            headers: None that frames the message, or makes it look like another one.
            body: Bytes to send.
            max_bytes: Most bytes of the answer's body, unpacked, 0 to 64 MiB; the limits may allow fewer.
            timeout_s: Seconds for everything together, more than 0, at most 300.

        Raises:
            CallerMistaken: The URL, a header, a bound or a limit is wrong; names the rule.
            NotPermitted: The right does not cover it, or its host leads to a forbidden address.
            WorldBroken: The name has no address, nothing answers, or the answer is damaged.
            DeadlineExceeded: It took longer; the request may have been acted upon.
        """
        if not 0 <= max_bytes <= MAX_BYTES:
            raise CallerMistaken(f"max_bytes {max_bytes} is not within 0 to {MAX_BYTES}", "ask for less")
        if not 0 < timeout_s <= MAX_SECONDS:
            raise CallerMistaken(
                f"timeout {timeout_s} s is not within 0 to {MAX_SECONDS:g}", "wait less long"
            )
        bounds = _Bounds.of(covering, limits)
        sent = _checked(headers or {})
        target = Target.parse(url, method)
        most = min(max_bytes, bounds.most_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(bounds, target, sent, body, most)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{target.authority} did not answer in full within {timeout_s:g} s",
                "wait longer, or ask for less",
            ) from None

    async def _follow(
        self, bounds: _Bounds, target: Target, headers: Headers, body: bytes, max_bytes: int
    ) -> Response:
        addresses = await self._admit(bounds, target)
        passed: list[str] = []
        while True:
            answer = await exchange(
                target, addresses, headers, body, max_bytes=max_bytes, connect=self._connect, tls=self._tls
            )
            response = _response(target, answer, passed)
            location = answer.header("location")
            if answer.status not in _FOLLOWED or location is None:
                return response
            try:
                following = _next(bounds, target, answer.status, location, len(passed))
                addresses = await self._admit(bounds, following)
            except (CallerMistaken, NotPermitted, WorldBroken) as error:
                return msgspec.structs.replace(response, stopped=error.message)
            if following.origin != target.origin:
                headers = tuple((name, value) for name, value in headers if name in _CARRIED)
            passed.append(target.url)
            target = following

    async def _admit(self, bounds: _Bounds, target: Target) -> Sequence[str]:
        """Judge a target, resolve its name once, and judge every address.

        Raises:
            NotPermitted: It is outside the right, or an address is none that it may reach.
            WorldBroken: The name has no address.
        """
        bounds.require(target.resource)
        # a local host that got so far is named by the pattern itself
        allowed = {"public", "local"} if is_local(target.authority) else {"public"}
        found = await self._addresses(target)
        if not found:
            raise WorldBroken(f"{target.host} has no address", "check the name")
        for address in found:
            judged = standing(address)
            if judged.kind not in allowed:
                # the address stays unsaid: those of an inner network are no business of who guesses names
                raise NotPermitted(
                    f"{target.authority} leads to an address that is not public: {judged.range}",
                    "only an address of this machine or a private network can be granted, and by itself",
                    {"reason": "path_not_allowed"},
                )
        return found[:MAX_ADDRESSES]

    async def _addresses(self, target: Target) -> Sequence[str]:
        if target.host == LOCALHOST:
            return LOOPBACK
        if is_address(target.host):
            return [target.host]
        return list(dict.fromkeys(await self._resolve(target.host, target.port)))


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """Look up a name with the system's resolver.

    Raises:
        WorldBroken: It has no address, or the resolver fails.
    """
    loop = asyncio.get_running_loop()
    try:
        # as bytes, or Python would encode the name once more
        found = await loop.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise WorldBroken(f"the name {host} cannot be resolved: {error}", "check the name") from error
    return [str(entry[4][0]) for entry in found]


def _checked(headers: Mapping[str, str]) -> Headers:
    checked: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise CallerMistaken(
                f"header {name[:100]!r} is not made of printable ASCII on one line", "encode its value"
            )
        if lower in _OURS or lower.startswith("proxy-"):
            raise CallerMistaken(f"header {name[:100]!r} is set by the gate alone", "leave it out")
        # some servers read `_` as `-`
        plain = lower.replace("_", "-")
        if plain in _DISGUISES or plain.startswith("x-forwarded-"):
            raise CallerMistaken(
                f"header {name[:100]!r} makes a request look like another one than was judged", "leave it out"
            )
        if lower in checked:
            raise CallerMistaken(f"header {name[:100]!r} is given twice", "give it once")
        checked[lower] = value.strip()
    size = sum(len(name) + len(value) for name, value in checked.items())
    if len(checked) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise CallerMistaken(
            f"{len(checked)} headers of {size} bytes exceed {MAX_HEADERS} or {MAX_HEADER_BYTES}", "send fewer"
        )
    return tuple(checked.items())


def _next(bounds: _Bounds, target: Target, status: int, location: str, passed: int) -> Target:
    """Decide where a redirect leads.

    Raises:
        NotPermitted: It may not be followed.
        CallerMistaken: Its URL is refused.
    """
    stays = _FOLLOWED[status]
    if stays and target.method not in stays.split():
        raise NotPermitted("the redirect turns the request into a GET", "ask for it with a right to get")
    if passed >= MAX_REDIRECTS:
        raise NotPermitted(f"more than {MAX_REDIRECTS} redirects", "ask for its location")
    following = Target.parse(location, target.method, target.url)
    if target.scheme == "https" and following.scheme != "https":
        raise NotPermitted("the redirect leads from https to http", "ask for its location")
    if following.resource != target.resource and bounds.still:
        raise NotPermitted(
            f"the redirect leads elsewhere, and the right has the limit {bounds.still}",
            "ask for its location",
        )
    return following


def _response(target: Target, answer: Answer, passed: Sequence[str]) -> Response:
    return Response(
        url=target.url,
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
        truncated=answer.truncated,
        redirects=tuple(passed),
    )


def _denied(resource: Resource, why: str, reason: str) -> NotPermitted:
    return NotPermitted(
        f"{resource.uri} {why}",
        f"ask for a grant of {resource.uri}",
        {"reason": reason, "grant": resource.uri},
    )
