"""What can go wrong between us and a model's endpoint, and what we tell the person. Pure.

An adapter turns its SDK's exceptions into a `Failure` at once; whether it is worth another try and how it reads
is decided here, the same for every vendor. No message holds a key: what an endpoint says is shown with the key
cut out, without control characters, and short.
"""

import re
from typing import Final, Literal

import msgspec

from mcp_core.providers.addresses import secret_name
from mcp_interface.errors import ModelUnavailable

MAX_DETAIL: Final = 300
"""Characters that are kept of what an endpoint says."""
LONGEST_WAIT: Final = 30.0
"""Seconds; an endpoint that asks for more is not waited for."""

_TRANSIENT: Final = frozenset({408, 425, 429})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_MIN_SECRET: Final = 4
TOO_LONG: Final = "too_long"
"""`details["kind"]` of a `ModelUnavailable` for a request that is longer than the model reads: the same conversation can be
asked again once it is shorter."""
_TOO_LONG_CODES: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
)
# Compatible servers have no code for it; each says it in words of its own.
_TOO_LONG_WORDS: Final = re.compile(
    r"prompt is too long|request too large|input is too long|too many input tokens"
    r"|(maximum|max|available|exceeds?( the)?|(larger|greater|longer) than the) (context|model) (length|size|window|limit)"
    r"|context (length|size|window|limit) (exceeded|of only|is only)"
    r"|input token count.{0,40} exceeds the maximum",
    re.IGNORECASE,
)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One refused or broken request."""

    kind: Literal["connect", "timeout", "status", "cut", "garbled"]
    """`cut`: the answer ended before it was finished; `garbled`: it is not in the vendor's format."""
    status: int = 0
    """HTTP status, for kind `status`."""
    code: str = ""
    """The vendor's own code of the error, such as `insufficient_quota`."""
    detail: str = ""
    """What the endpoint or the network said, untrusted."""
    retry_after: float = 0.0
    """Seconds that the endpoint asks us to wait."""

    @property
    def too_long(self) -> bool:
        """Whether the request is longer than what the model, or the account, takes at once."""
        if self.kind != "status" or self.status in (401, 403, 404):
            return False
        return (
            self.status == 413
            or self.code in _TOO_LONG_CODES
            or _TOO_LONG_WORDS.search(self.detail) is not None
        )

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        if self.too_long:
            return False
        if self.kind == "status":
            busy = self.status in _TRANSIENT or self.status >= 500
            return busy and self.code != "insufficient_quota" and self.retry_after <= LONGEST_WAIT
        return self.kind in ("connect", "cut")


class FailedRequest(Exception):
    """Carries a `Failure` from an adapter to the retry loop; never leaves the package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a vendor's requests go, as it may be shown; holds no secret."""

    vendor: Literal["openai", "anthropic"]
    url: str
    """The base URL, without user and password."""

    @property
    def variables(self) -> str:
        """Beginning of the environment variables that configure it."""
        return self.vendor.upper()


def explain(failure: Failure, endpoint: Endpoint, model: str, secret: str) -> ModelUnavailable:
    """Say what happened and what to set.

    Args:
        failure: What happened.
        endpoint: Where.
        model: The model that was asked for; empty when none was.
        secret: The key, to be cut out of whatever the endpoint said.
    """
    said = clean(failure.detail, secret)
    message, remedy = _words(failure, endpoint, model)
    return ModelUnavailable(
        f"{message}: {said}" if said else message,
        remedy,
        {
            "vendor": endpoint.vendor,
            "kind": TOO_LONG if failure.too_long else failure.kind,
            "status": failure.status,
            "model": model,
        },
    )


def clean(text: str, secret: str) -> str:
    """Make an endpoint's words fit to be shown: no key, no control characters, bounded."""
    if len(secret) >= _MIN_SECRET:
        text = text.replace(secret, "***")
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_DETAIL else f"{text[:MAX_DETAIL]}…"


def _words(failure: Failure, endpoint: Endpoint, model: str) -> tuple[str, str]:
    at, name = endpoint.url, endpoint.variables
    if failure.kind == "connect":
        return (
            f"nothing answers at {at}",
            f"start the model server, or set {name}_BASE_URL to where it listens",
        )
    if failure.kind == "timeout":
        return f"{at} did not answer in time", "try again, or choose a faster model"
    if failure.kind == "cut":
        return f"the answer from {at} was cut off before its end", "try again"
    if failure.kind == "garbled":
        return (
            f"{at} did not answer in the {endpoint.vendor} format",
            f"check {name}_BASE_URL: it must lead to an {endpoint.vendor}-compatible endpoint",
        )
    return _status_words(failure, endpoint, model)


def _status_words(failure: Failure, endpoint: Endpoint, model: str) -> tuple[str, str]:
    name, status = endpoint.variables, failure.status
    if failure.too_long:
        said, remedy = "takes no conversation of this length", "compact it, or choose a model that reads more"
    elif status in (401, 403):
        secret = secret_name(endpoint.vendor, endpoint.url)
        said = "refused the key"
        remedy = f"set {name}_API_KEY to a key that is valid there, or: umbrella secret set {secret}"
    elif status == 404:
        ending = "usually ends in /v1" if endpoint.vendor == "openai" else "must not end in /v1"
        said = f"knows no model {model!r}, or no such path" if model else "has no such path"
        remedy = f"set {name}_MODEL to a model it offers, and check {name}_BASE_URL, which {ending}"
    elif failure.code == "insufficient_quota":
        said, remedy = "says that the account has no quota left", "check its plan and billing"
    elif status == 429:
        wait = f"wait {failure.retry_after:.0f} s" if failure.retry_after else "wait a little"
        said, remedy = "is being asked too often", f"{wait} and try again"
    elif status >= 500:
        said, remedy = "is out of order or overloaded", "try again later"
    elif status < 400:
        # Not followed: a redirect would carry the key to a host that nobody configured.
        said, remedy = "redirects elsewhere", f"set {name}_BASE_URL to the final address"
    else:
        said, remedy = "does not accept the request", "change what it names, or choose another model"
    return f"{endpoint.url} {said} (HTTP {status})", remedy
