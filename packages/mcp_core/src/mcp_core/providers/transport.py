"""The HTTP client that both vendors' SDKs are given, and the one reading of their exceptions.

Imported late, with an adapter: it loads `httpx2`. A client lives for one request: agents may run on event loops
of their own, and a pool of connections belongs to one loop. A handshake is small beside a model's first token.
"""

import ssl
from functools import cache
from typing import Final

import httpx2

from mcp_core.providers.addresses import is_loopback
from mcp_core.providers.failures import Failure

TIMEOUT: Final = httpx2.Timeout(300.0, connect=10.0)
"""Seconds; the long one is between two pieces of an answer, for a local model that reads a long prompt."""

_IN_STREAM: Final = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}
"""Statuses that a vendor would have sent, had the answer not begun with 200."""


def http_client(base_url: str) -> httpx2.AsyncClient:
    """Make a client for one request.

    Proxies from the environment are used, but never towards this machine. Redirects are not followed: they
    could carry the key to a host that nobody configured.
    """
    here = is_loopback(base_url)
    return httpx2.AsyncClient(verify=_tls(), trust_env=not here, timeout=TIMEOUT, follow_redirects=False)


@cache
def _tls() -> ssl.SSLContext:
    # 20 ms to build, and the same for everybody.
    return httpx2.create_ssl_context()


def read_failure(error: Exception) -> Failure:
    """Read an exception of a vendor's SDK, of `httpx2`, or of a decoder inside them.

    Both SDKs wrap the transport's exceptions before the answer begins; within it one of them does not.
    """
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response):
        return _refusal(error, response)
    if getattr(error, "body", None) is not None:  # an error object in the middle of a stream
        kind, detail = _told(error)
        return Failure(kind="status", status=_IN_STREAM.get(kind, 500), code=kind, detail=detail)
    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return Failure(kind="connect", detail=str(cause))
    if isinstance(cause, httpx2.TimeoutException):
        return Failure(kind="timeout")
    if isinstance(cause, httpx2.TransportError):
        return Failure(kind="cut")
    return Failure(kind="garbled", detail=f"{type(error).__name__}: {error}")


def _refusal(error: Exception, response: httpx2.Response) -> Failure:
    code, detail = _told(error)
    status = response.status_code
    if status < 300:
        status = _IN_STREAM.get(code, 500)
    return Failure(
        kind="status", status=status, code=code, detail=detail, retry_after=_retry_after(response.headers)
    )


def _told(error: Exception) -> tuple[str, str]:
    """Find the vendor's code and words: `{"error": {"type", "code", "message"}}`, with or without the wrapping."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if not isinstance(body, dict):
        return "", str(body or "")
    code = body.get("code") if isinstance(body.get("code"), str) else body.get("type")
    return str(code or ""), str(body.get("message") or body.get("error") or "")


def _retry_after(headers: httpx2.Headers) -> float:
    # The other form of the header, a date, would need a wall clock shared with the endpoint.
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if 0.0 < seconds < float("inf") else 0.0
