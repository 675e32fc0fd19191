"""One HTTP/1.1 request over one connection to one of the addresses that were judged, everything bounded.

The name is used for the Host header, for SNI and to check the certificate, and never to connect. No proxy, no
cookie jar, no redirect, no connection that outlives the answer. Who may ask is decided elsewhere.
"""

import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_interface.errors import WorldBroken
from mcp_security.validators.targets import Target, missing_extra

if TYPE_CHECKING:
    import httpcore2

MAX_ANSWER_HEADERS: Final = 200
"""Most header lines of an answer; their bytes, and those of each chunk's head, are bounded at 100 KiB by the parser."""
SLACK: Final = 64 * 1024
"""Bytes that an answer may arrive in beyond those that are wanted of it, for what unpacks to nothing."""

Headers = tuple[tuple[str, str], ...]
Connect = Callable[[str, int], Awaitable[Any]]
"""Opens a connection to an IP address and a port, and returns an `httpcore2.AsyncNetworkStream`."""

_WITH_BODY: Final = frozenset({"post", "put", "patch"})
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back."""

    status: int
    headers: Headers
    """Names in lower case, in the order in which they came."""
    body: bytes
    """Unpacked if it was gzip; any other encoding is left as it is."""
    truncated: bool
    """Whether there was more than was wanted."""

    def header(self, name: str) -> str | None:
        """The first value of a header; the name in lower case."""
        return next((value for key, value in self.headers if key == name), None)


async def connect_tcp(address: str, port: int) -> Any:
    """Open a TCP connection to an IP address."""
    from httpcore2 import AnyIOBackend

    return await AnyIOBackend().connect_tcp(address, port)


def default_tls() -> ssl.SSLContext:
    """Check certificates against the system's trusted roots, and names."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def exchange(
    target: Target,
    addresses: Sequence[str],
    headers: Headers,
    body: bytes,
    *,
    max_bytes: int,
    connect: Connect,
    tls: Callable[[], ssl.SSLContext],
) -> Answer:
    """Send a request and read its answer, at most `max_bytes` of it.

    Args:
        target: What to ask for.
        addresses: Where to connect; the next is tried when one does not accept.
        headers: Beyond Host, User-Agent and those that frame the message.
        body: Bytes to send.
        max_bytes: Most bytes of the answer, unpacked; the rest is not read.
        connect: Opens the connection.
        tls: Makes the context for https.

    Raises:
        WorldBroken: No address accepts, the certificate is not the name's, or the answer is not HTTP.
    """
    try:
        import httpcore2
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
    with _translated(target):
        stream = await _connected(target, addresses, connect)
        try:
            if target.scheme == "https":
                stream = await stream.start_tls(tls(), server_hostname=target.host)
            url = httpcore2.URL(
                scheme=target.scheme.encode(),
                host=target.host.encode(),
                port=target.port,
                target=target.request.encode(),
            )
            connection = httpcore2.AsyncHTTP11Connection(url.origin, stream)
            request = httpcore2.Request(
                target.method.upper(), url, headers=_framed(target, headers, body), content=body
            )
            return await _read(await connection.handle_async_request(request), max_bytes)
        finally:
            await stream.aclose()


async def _connected(
    target: Target, addresses: Sequence[str], connect: Connect
) -> "httpcore2.AsyncNetworkStream":
    import httpcore2

    refused: Exception | None = None
    for address in addresses:
        try:
            stream: httpcore2.AsyncNetworkStream = await connect(address, target.port)
        except httpcore2.NetworkError as error:
            refused = error
        else:
            return stream
    raise WorldBroken(
        f"{target.authority} does not accept connections", "check that it is up, and the port"
    ) from refused


async def _read(response: "httpcore2.Response", max_bytes: int) -> Answer:
    headers = tuple(
        (key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in response.headers
    )
    if response.status == 101 or len(headers) > MAX_ANSWER_HEADERS:
        raise WorldBroken(
            f"an answer of status {response.status} with {len(headers)} headers is not read",
            f"at most {MAX_ANSWER_HEADERS} headers and no change of protocol are accepted",
        )
    found = next((value for key, value in headers if key == "content-encoding"), "")
    body = _Body(max_bytes, packed=found.strip().lower() in _PACKED)
    # closed by hand: a generator left half-read would close the connection whenever it is collected
    async with aclosing(response.aiter_stream()) as pieces:
        async for piece in pieces:
            if not body.take(piece):
                break
    return Answer(status=response.status, headers=headers, body=bytes(body.data), truncated=body.cut)


class _Body:
    """Collects a body up to a limit, unpacking as it comes and never further than the limit."""

    def __init__(self, limit: int, *, packed: bool) -> None:
        self.data = bytearray()
        self.truncated = False
        self._limit = limit
        self._received = 0
        self._packed = packed
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    @property
    def cut(self) -> bool:
        """Whether bytes are missing at the end, also because the gzip data ends too early."""
        return self.truncated or (self._packed and self._received > 0 and not self._inflate.eof)

    def take(self, piece: bytes) -> bool:
        """Add a piece; tell whether more is wanted."""
        self._received += len(piece)
        while piece and not self.truncated:
            piece = self._add(piece)
        if self._received > self._limit + SLACK:
            self.truncated = True
        return not self.truncated

    def _add(self, piece: bytes) -> bytes:
        rest = b""
        if self._packed:
            if self._inflate.eof:  # the next of several members
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            # one byte more than is wanted tells that there is more
            unpacked = self._inflate.decompress(piece, self._limit - len(self.data) + 1)
            rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        else:
            unpacked = piece
        self.data += unpacked
        if len(self.data) > self._limit:
            del self.data[self._limit :]
            self.truncated = True
        return rest


def _framed(target: Target, headers: Headers, body: bytes) -> list[tuple[bytes, bytes]]:
    framed = {"host": target.authority, "connection": "close", "accept-encoding": "gzip"}
    if body or target.method in _WITH_BODY:
        framed["content-length"] = str(len(body))
    named = {name for name, _ in headers}
    asked = {"accept": "*/*", "user-agent": "mcp-umbrella"}
    everything = (
        *framed.items(),
        *((name, value) for name, value in asked.items() if name not in named),
        *headers,
    )
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in everything]


@contextmanager
def _translated(target: Target) -> Iterator[None]:
    """Turn the library's errors into ours, once."""
    import httpcore2

    try:
        yield
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
        raise _broken(target, error) from error
    except (ssl.SSLError, OSError) as error:
        raise _broken(target, error) from error
    except zlib.error as error:
        raise WorldBroken(
            f"{target.authority} sent a damaged gzip answer", "try again, or ask its owner"
        ) from error


def _broken(target: Target, error: Exception) -> WorldBroken:
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WorldBroken(
            f"{target.authority}: its certificate does not hold: {cause.verify_message}",
            "check the name and the trusted roots; it is not connected to without",
        )
    return WorldBroken(f"{target.authority}: the exchange failed: {error}", "try again when it answers")
