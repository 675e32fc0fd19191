"""The limit `allowed_hosts`: names by label, addresses, and ports.

api.example.com          that name, at the usual port of the scheme (https 443, http 80)
*.example.com            one or more labels in front; never `example.com` itself, never `evilexample.com`
example.com:8443         that port only
example.com:*            any port
192.0.2.7, [2001:db8::1] an address, written out; no `*` ever stands for one
*                        any name, no address
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Self

import msgspec

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Question
from mcp_security.constraints.sets import Patterns
from mcp_security.constraints.values import shown

USUAL_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
ANY_PORT: Final = -1
_USUAL: Final = 0

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::(\*|[1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_REMEDY: Final = (
    "write api.example.com, *.example.com, 192.0.2.7 or [2001:db8::1], each with :port if unusual"
)


class Host(msgspec.Struct, frozen=True):
    """A set of hosts, at one port or any."""

    name: str
    """A name or an address in canonical text; with `below`, the labels that follow the `*`."""
    below: bool = False
    """Whether names with more labels in front are meant, instead of the name itself."""
    port: int = _USUAL
    """A number, `ANY_PORT`, or zero for the usual one of the scheme."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host[:port]`; case does not matter, everything else has to be in canonical form.

        Raises:
            CallerMistaken: It is no host.
        """
        match = _AUTHORITY.fullmatch(text.lower()) if text.isascii() else None
        if match is None:
            raise CallerMistaken(f"{shown(text)} is not a host", _REMEDY)
        host, port = match[1], match[2]
        number = ANY_PORT if port == "*" else int(port or _USUAL)
        if number > 65_535:
            raise CallerMistaken(f"{shown(text)} has no possible port", _REMEDY)
        if host == "*":
            return cls("", True, number)
        if host.startswith("*."):
            if _NUMERIC.fullmatch(host.rpartition(".")[2]):
                raise CallerMistaken(f"{shown(text)}: no '*' stands for an address", _REMEDY)
            return cls(_name(host[2:]), True, number)
        return cls(_address(host) or _name(host), False, number)

    @property
    def text(self) -> str:
        """The canonical text."""
        host = self.name if not self.below else f"*.{self.name}".removesuffix(".")
        return host + {_USUAL: "", ANY_PORT: ":*"}.get(self.port, f":{self.port}")

    def includes(self, inner: "Host", /) -> bool:
        """Tell whether every host of `inner` is one of these."""
        if self.port not in {ANY_PORT, inner.port}:
            return False
        if not self.below:
            return not inner.below and self.name == inner.name
        if self.name == "":
            return not _is_address(inner.name)
        return inner.name.endswith(f".{self.name}") or (inner.below and inner.name == self.name)


def hosts(key: str) -> Patterns[Host]:
    """The limit, under a name."""

    def parse(text: str) -> tuple[str, Host]:
        host = Host.parse(text)
        return host.text, host

    return Patterns(key, frozenset({"api"}), parse, _named)


def _named(question: Question) -> Sequence[Host]:
    """The host of `<scheme>/<host[:port]>/<path>`: its port by number, and as the usual one if it is that."""
    scheme, *rest = question.paths.segments or ("",)
    usual = USUAL_PORTS.get(scheme)
    if usual is None or not rest or "*" in rest[0]:
        return []  # a pattern may stand for what is no host at all
    try:
        host = Host.parse(rest[0])
    except CallerMistaken:
        return []
    if host.port not in {_USUAL, usual}:
        return [host]
    return [Host(host.name), Host(host.name, port=usual)]


def _address(host: str) -> str | None:
    """The canonical text of an address; None if it is none.

    Raises:
        CallerMistaken: Some reader takes it for an address, and it is not written as one should.
    """
    try:
        if host.startswith("["):
            six = IPv6Address(host[1:-1])
            if six.ipv4_mapped is not None:
                raise CallerMistaken(f"{host} hides an IPv4 address", "write the IPv4 address")
            return f"[{six.compressed}]"
        if _NUMERIC.fullmatch(host.rpartition(".")[2]):
            return str(IPv4Address(host))
    except ValueError as error:
        raise CallerMistaken(f"{shown(host)} is not an address: {error}", _REMEDY) from error
    return None


def _is_address(name: str) -> bool:
    # what ends in a numeric label is never a canonical name, nor what follows a `*`, see `Host.parse`
    return name.startswith("[") or _NUMERIC.fullmatch(name.rpartition(".")[2]) is not None


def _name(host: str) -> str:
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise CallerMistaken(f"{shown(host)} is not a host name", _REMEDY)
    return host
