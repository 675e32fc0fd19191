"""Which IP addresses may be connected to: a table of our own, and the rule for the machines nearby.

Deny by default: an address is public only inside the space that is handed out to networks, and outside every
range that a registry sets aside. Where an IPv6 address carries an IPv4 address that will be reached through
it, the inner one is judged. `ipaddress` is used for its arithmetic alone: its `is_global` calls multicast,
NAT64 and 6to4 addresses global, and so lets the machine's own network be reached through them.

A *local* address (loopback, private use) is reached only by designation: the granted pattern itself names
`localhost` or that very address. Never through a wildcard, and never through a name that resolves to it.

Pure; resolves nothing. Source: IANA special-purpose address registries (RFC 6890), RFC 4291, RFC 6052.
"""

import ipaddress
import re
from typing import Final, Literal

import msgspec

from mcp_security.patterns import Paths

LOCALHOST: Final = "localhost"
LOOPBACK: Final = ("127.0.0.1", "::1")
"""What `localhost` means, whatever a resolver says (RFC 6761)."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HANDED_OUT: Final = ("0.0.0.0/0", "2000::/3")
"""Beyond this no network has addresses; what follows are the holes in it."""

_LOCAL: Final = {
    "10.0.0.0/8": "private use",
    "100.64.0.0/10": "shared between a carrier and its customers",
    "127.0.0.0/8": "loopback",
    "172.16.0.0/12": "private use",
    "192.168.0.0/16": "private use",
    "::1/128": "loopback",
    "fc00::/7": "private use",
}

_REFUSED: Final = {
    "0.0.0.0/8": "this network",
    "169.254.0.0/16": "link-local, where clouds keep their secrets",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112 sink",
    "192.52.193.0/24": "multicast relays",
    "192.88.99.0/24": "6to4 relays",
    "192.175.48.0/24": "AS112 sink",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, and broadcast",
    "::/128": "unspecified",
    "::/96": "deprecated IPv4-compatible",
    "64:ff9b:1::/48": "NAT64 of a local network",
    "100::/64": "discarded",
    "100:0:0:1::/64": "dummy",
    "2001::/23": "protocol assignments, Teredo among them",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112 sink",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fe80::/10": "link-local",
    "fec0::/10": "deprecated site-local",
    "ff00::/8": "multicast",
}

_CARRIERS: Final = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""Prefixes (mapped, NAT64) whose last 32 bits are the IPv4 address that is reached."""

_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""Third quarter of an IPv6 address whose last 32 bits are the IPv4 address of a tunnel's end."""


class Standing(msgspec.Struct, frozen=True):
    """What the table says of one address."""

    kind: Literal["public", "local", "refused"]
    range: str
    """What the range is for, in words; for a person."""


def _read(table: dict[str, str]) -> tuple[tuple[_Network, str], ...]:
    return tuple((ipaddress.ip_network(network), meaning) for network, meaning in table.items())


_LOCAL_RANGES: Final = _read(_LOCAL)
_REFUSED_RANGES: Final = _read(_REFUSED)
_SPACE: Final = _read(dict.fromkeys(_HANDED_OUT, "handed out"))


def standing(address: str) -> Standing:
    """Judge one address as text; what is not an address, or has a zone, is refused."""
    if "%" in address:
        return Standing("refused", "bound to one interface")
    try:
        return _standing(ipaddress.ip_address(address))
    except ValueError:
        return Standing("refused", "not an IP address")


def is_address(host: str) -> bool:
    """Tell whether a host, as a WHATWG parser writes it, is an IP address; no name ends in a number there."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


def _standing(address: _Address) -> Standing:
    inner = _carried(address)
    if inner is not None:
        return _no_less(_standing(inner))
    near, far = _find(address, _LOCAL_RANGES), _find(address, _REFUSED_RANGES)
    if near is not None:
        return Standing("local", near)
    if far is not None:
        return Standing("refused", far)
    if _find(address, _SPACE) is None:
        return Standing("refused", "never handed out")
    return Standing("public", "public")


def _carried(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is reached through an IPv6 address."""
    if address.version == 4:
        return None
    value = int(address)
    if any(address in prefix for prefix in _CARRIERS) or (value >> 32) & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(value & 0xFFFFFFFF)
    return None


def _no_less(inner: Standing) -> Standing:
    """A local address in disguise has not been designated: it is refused like any other."""
    if inner.kind == "public":
        return inner
    return Standing("refused", f"an IPv4 address inside: {inner.range}")


def _find(address: _Address, ranges: tuple[tuple[_Network, str], ...]) -> str | None:
    for network, meaning in ranges:
        if address.version == network.version and address in network:
            return meaning
    return None


_LABEL: Final = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def host_of(authority: str) -> str:
    """Return the host of `host[:port]`, an IPv6 address without its brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_local(authority: str) -> bool:
    """Tell whether `host[:port]` names a local machine literally; a wildcard or any other name does not."""
    host = host_of(authority)
    return host == LOCALHOST or (is_address(host) and standing(host).kind == "local")


def is_far(authority: str) -> bool:
    """Tell whether `host[:port]` names something elsewhere, in the one spelling that its name has.

    Another spelling may be a local machine to whoever reads it (`127.1`, `0x7f.1`, `LOCALHOST`), so in doubt it
    is not far. A wildcard is: it never becomes, or reaches, what is near.
    """
    host = host_of(authority)
    if "*" in host:
        return True
    if is_address(host):
        return standing(host).kind == "public" and str(ipaddress.ip_address(host)) == host
    labels = host.split(".")
    number = labels[-1].isdigit() or labels[-1].startswith("0x")  # the URL standard reads an address then
    return labels[-1] != LOCALHOST and not number and all(_LABEL.fullmatch(label) for label in labels)


def keeps_local(outer: Paths, inner: Paths) -> bool:
    """Tell whether a right on `outer` may become, or cover, one on `inner` as far as local hosts go.

    A wildcard does not reach them, so nobody can turn one into a name by narrowing it. Both are paths of api
    resources, `<scheme>/<host[:port]>/…`; that `outer` includes `inner` otherwise is not looked at here.
    """
    named = inner.segments[1] if len(inner.segments) > 1 else ""
    if not named or is_far(named):
        return True
    granted = outer.segments[1] if len(outer.segments) > 1 else ""
    return host_of(granted) == host_of(named)
