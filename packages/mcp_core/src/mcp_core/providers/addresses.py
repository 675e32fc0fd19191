"""Where an endpoint is: on this machine, at its vendor, or elsewhere. Pure."""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

_DOMAINS: Final = {"openai": "openai.com", "anthropic": "anthropic.com"}


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this very machine."""
    host = _split(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_official(vendor: str, base_url: str) -> bool:
    """Tell whether a base URL is the vendor's own endpoint; an empty one is."""
    if not base_url.strip():
        return True
    parts, domain = _split(base_url), _DOMAINS[vendor]
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == domain or host.endswith(f".{domain}"))


def shown_url(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def secret_name(vendor: str, base_url: str) -> str:
    """The name in the vault of the key for an endpoint; see `keys`."""
    plain = f"{vendor.upper()}_API_KEY"
    if is_official(vendor, base_url):
        return plain
    place = _split(base_url).netloc.rpartition("@")[2].lower()
    return f"{plain}/{place.replace('[', '').replace(']', '')}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url.strip())
    except ValueError:  # no address at all, which is said where it is used
        return urlsplit("")
