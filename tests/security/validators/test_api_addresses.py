"""The table of addresses, against the registries written down a second time, and against the standard library."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_security.addresses import host_of, is_address, is_local, keeps_local, standing
from mcp_security.patterns import Paths

# network, name in the registry, globally reachable there
REGISTRY = [
    ("0.0.0.0/8", "This network", False),
    ("0.0.0.0/32", "This host on this network", False),
    ("10.0.0.0/8", "Private-Use", False),
    ("100.64.0.0/10", "Shared Address Space", False),
    ("127.0.0.0/8", "Loopback", False),
    ("169.254.0.0/16", "Link Local", False),
    ("172.16.0.0/12", "Private-Use", False),
    ("192.0.0.0/24", "IETF Protocol Assignments", False),
    ("192.0.0.0/29", "IPv4 Service Continuity Prefix", False),
    ("192.0.0.8/32", "IPv4 dummy address", False),
    ("192.0.0.9/32", "Port Control Protocol Anycast", True),
    ("192.0.0.10/32", "TURN Anycast", True),
    ("192.0.0.170/31", "NAT64/DNS64 Discovery", False),
    ("192.0.2.0/24", "Documentation (TEST-NET-1)", False),
    ("192.31.196.0/24", "AS112-v4", True),
    ("192.52.193.0/24", "AMT", True),
    ("192.88.99.0/24", "Deprecated (6to4 Relay Anycast)", False),
    ("192.168.0.0/16", "Private-Use", False),
    ("192.175.48.0/24", "Direct Delegation AS112 Service", True),
    ("198.18.0.0/15", "Benchmarking", False),
    ("198.51.100.0/24", "Documentation (TEST-NET-2)", False),
    ("203.0.113.0/24", "Documentation (TEST-NET-3)", False),
    ("224.0.0.0/4", "Multicast", False),
    ("240.0.0.0/4", "Reserved", False),
    ("255.255.255.255/32", "Limited Broadcast", False),
    ("::1/128", "Loopback", False),
    ("::/128", "Unspecified", False),
    ("64:ff9b:1::/48", "IPv4-IPv6 Translation, local", False),
    ("100::/64", "Discard-Only", False),
    ("100:0:0:1::/64", "Dummy IPv6 Prefix", False),
    ("2001::/23", "IETF Protocol Assignments", False),
    ("2001::/32", "TEREDO", False),
    ("2001:1::1/128", "Port Control Protocol Anycast", True),
    ("2001:1::2/128", "TURN Anycast", True),
    ("2001:1::3/128", "DNS-SD SRP Anycast", True),
    ("2001:2::/48", "Benchmarking", False),
    ("2001:3::/32", "AMT", True),
    ("2001:4:112::/48", "AS112-v6", True),
    ("2001:10::/28", "Deprecated (ORCHID)", False),
    ("2001:20::/28", "ORCHIDv2", True),
    ("2001:30::/28", "Drone Remote ID", True),
    ("2001:db8::/32", "Documentation", False),
    ("2002::/16", "6to4", False),
    ("2620:4f:8000::/48", "Direct Delegation AS112 Service", True),
    ("3fff::/20", "Documentation", False),
    ("5f00::/16", "Segment Routing SIDs", False),
    ("fc00::/7", "Unique-Local", False),
    ("fe80::/10", "Link-Local Unicast", False),
    ("fec0::/10", "Deprecated site-local", False),
    ("ff00::/8", "Multicast", False),
]
CARRIERS = ["::ffff:0:0", "64:ff9b::", "2606:4700:0:0:0:5efe::", "2606:4700:0:0:200:5efe::"]
TRICKY = [  # what a check by `is_global` alone would let through stands first
    "224.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "192.88.99.1", "192.0.0.8", "5f00::1", "::ffff:169.254.169.254",
    "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "2001:0:7f00:1::", "64:ff9b:1::7f00:1", "fe80::1%eth0",
    "0.0.0.0", "::", "255.255.255.255", "169.254.169.254", "192.0.0.192", "ff02::1", "fec0::1", "3fff::1",
    "2606:4700::200:5efe:10.0.0.1", "2606:4700::5efe:169.254.169.254", "2002:7f00:1::1", "2001:db8::1", "100::1",
    "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "4000::1", "1::1", "e000::1",
    "", "x", "127.1", "0x7f.1", "2130706433", "0", "0177.0.0.1", "1.2.3.4.5", "\uff11\uff12\uff17.0.0.1", " 127.0.0.1", "[::1]",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "11.0.0.0",
    "126.255.255.255", "128.0.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111",
    "2001:4860:4860::8888", "2a00:1450::1", "2620:fe::fe", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
]  # fmt: skip
LOCAL = ["127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1",
         "fc00::1", "fdff::1"]  # fmt: skip


def inside(network: ipaddress.IPv4Network | ipaddress.IPv6Network, source: random.Random) -> list[str]:
    low, high = int(network[0]), int(network[-1])
    kind = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return [str(kind(value)) for value in (low, high, *(source.randint(low, high) for _ in range(50)))]


@pytest.mark.parametrize(("network", "name", "reachable"), REGISTRY, ids=[row[0] for row in REGISTRY])
def test_no_address_of_a_special_purpose_registry_is_public(network, name, reachable) -> None:
    for address in inside(ipaddress.ip_network(network), random.Random(7)):
        assert standing(address).kind != "public", f"{address} is {name}"


@pytest.mark.parametrize("address", TRICKY)
def test_a_tricky_address_is_refused(address) -> None:
    assert standing(address).kind == "refused"


@pytest.mark.parametrize("address", PUBLIC)
def test_an_ordinary_address_is_public(address) -> None:
    assert standing(address).kind == "public"


@pytest.mark.parametrize("address", LOCAL)
def test_an_address_nearby_is_local(address) -> None:
    assert standing(address).kind == "local"
    assert is_local(f"[{address}]:80" if ":" in address else f"{address}:80")


@given(st.ip_addresses())
def test_what_is_public_here_is_global_for_the_standard_library_too(address) -> None:
    if standing(str(address)).kind == "public":
        mapped = getattr(address, "ipv4_mapped", None) or address
        assert mapped.is_global and not mapped.is_multicast


@pytest.mark.parametrize("prefix", CARRIERS)
@given(inner=st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_if_it_stood_alone(prefix, inner) -> None:
    outer = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner)))
    assert (standing(outer).kind == "public") == (standing(str(inner)).kind == "public")
    assert standing(outer).kind != "local", "a local address in disguise cannot be designated"


@pytest.mark.parametrize(
    ("authority", "host"),
    [("a.b", "a.b"), ("a.b:80", "a.b"), ("[::1]", "::1"), ("[::1]:8080", "::1"), ("", ""), ("*:80", "*")],
)
def test_the_host_of_an_authority(authority, host) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize("authority", ["*", "*:8080", "127.0.0.*", "localhost*", "local*", "a.localhost", "**", "", "8.8.8.8",
                                       "localhost.", "169.254.169.254", "127.1"])  # fmt: skip
def test_neither_a_wildcard_nor_another_name_names_a_local_host(authority) -> None:
    assert not is_local(authority)


def test_an_address_is_told_from_a_name() -> None:
    assert all(is_address(host) for host in ["1.2.3.4", "::1", "10.0.0.1"])
    assert not any(is_address(host) for host in ["a", "a1", "a.b2", "localhost", "*", "1.2.3.*", ""])


@pytest.mark.parametrize(
    ("outer", "inner", "kept"),
    [
        ("**", "http/127.0.0.1/x", False),
        ("http/**", "http/127.0.0.1/x", False),
        ("http/*/**", "http/localhost:8080/**", False),
        ("http/*:8080/**", "http/localhost:8080/**", False),
        ("http/localhost*/**", "http/localhost:8080/x", False),
        ("http/127.0.0.*/x", "http/127.0.0.1/x", False),
        ("http/[*]/x", "http/[::1]/x", False),
        ("http/localhost/**", "http/127.0.0.1/x", False),
        ("http/localhost:*/**", "http/localhost:8080/x", True),
        ("http/localhost:8080/**", "http/localhost:8080/x", True),
        ("*/10.1.2.3/**", "https/10.1.2.3/x", True),
        ("http/[::1]:80/**", "http/[::1]:80/x", True),
        ("http/**", "http/example.com/x", True),
        ("http/**", "http/8.8.8.8/x", True),
        ("**", "**", True),
    ],
)
def test_a_wildcard_does_not_become_a_local_host(outer, inner, kept) -> None:
    assert keeps_local(Paths.of(outer), Paths.of(inner)) is kept


HOSTS = st.sampled_from(
    ["**", "*", "localhost", "localhost:*", "local*", "127.0.0.1", "127.*", "[::1]", "example.com", "8.8.8.8"]
)


@given(HOSTS, HOSTS, HOSTS)
def test_what_a_chain_keeps_its_ends_keep_too(first, second, third) -> None:
    paths = [Paths.of("http/**" if host == "**" else f"http/{host}/**") for host in (first, second, third)]

    def holds(outer: Paths, inner: Paths) -> bool:
        return outer.includes(inner) and keeps_local(outer, inner)

    if holds(paths[0], paths[1]) and holds(paths[1], paths[2]):
        assert holds(paths[0], paths[2])
