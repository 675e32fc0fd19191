"""The built-in server `http`: fetch a URL, or send any request to a web API.

Each needs the right to the very method and URL, and reaches it only through the gate, which is given the pattern
and the limits of the right that allowed it. Knows no rights, no addresses and no way to read a URL of its own.
"""

import codecs
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from mcp_interface.address import Resource
from mcp_interface.capability import Facts, Need, Verdict
from mcp_interface.errors import CallerMistaken, NotPermitted
from mcp_interface.tool import Tool, ToolContext, ToolInfo, ToolResult, text_result

SERVER: Final = "http"
MAX_BODY: Final = 1024 * 1024
"""Most bytes of an answer that are shown."""
MAX_SENT: Final = 4 * 1024 * 1024
MAX_SECONDS: Final = 120
MAX_SHOWN_HEADERS: Final = 40
LONGEST_HEADER: Final = 500
_SNIFFED: Final = 8_192
_TEXTS: Final = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-ndjson",
)
_TEXT_ENDINGS: Final = ("+json", "+xml", "x-www-form-urlencoded", "yaml", "graphql")
_UNPACKED: Final = frozenset({"gzip", "x-gzip", "deflate", "identity"})
_CHARSETS: Final = frozenset(
    {
        "utf-8", "us-ascii", "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-15", "windows-1250", "windows-1251",
        "windows-1252", "koi8-r", "shift_jis", "euc-jp", "euc-kr", "gb2312", "gbk", "gb18030", "big5",
    }
)  # fmt: skip
"""Encodings of text that an answer may choose: Python knows others that unpack archives."""

T = TypeVar("T", "_FetchArgs", "_RequestArgs")


class ResponseLike(Protocol):
    """An answer, after the redirects that were followed."""

    @property
    def url(self) -> str:
        """Where it came from."""
        ...

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """The body, unpacked."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether there was more."""
        ...

    @property
    def redirects(self) -> Sequence[str]:
        """URLs that led here."""
        ...

    @property
    def stopped(self) -> str:
        """Why the redirect that this is was not followed; else empty."""
        ...


class WebGate(Protocol):
    """Sends what a right covers and nothing else; the real one is `mcp_security`'s `ApiGate`."""

    def resource_of(self, method: str, url: str) -> Resource:
        """Return the right that a request needs, or refuse a URL that can be read in two ways; pure."""
        ...

    def check_headers(self, headers: Mapping[str, str]) -> object:
        """Refuse headers that are malformed, or that make a request look like another one; pure."""
        ...

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
    ) -> ResponseLike:
        """Send a request, and follow redirects as far as the right reaches."""
        ...


class _Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[
        str,
        Meta(min_length=8, max_length=8192, description="Absolute URL, http or https, without a user name."),
    ]
    headers: Annotated[
        dict[str, str], Meta(max_length=64, description="Request headers, such as Accept or Authorization.")
    ] = {}
    max_bytes: Annotated[
        int, Meta(ge=1, le=MAX_BODY, description="Read at most so many bytes of the answer.")
    ] = MAX_BODY
    timeout_s: Annotated[int, Meta(ge=1, le=MAX_SECONDS, description="Give up after so many seconds.")] = 30


class _FetchArgs(_Args, frozen=True, forbid_unknown_fields=True):
    method: Annotated[Literal["GET", "HEAD"], Meta(description="HEAD asks for the headers alone.")] = "GET"

    @property
    def payload(self) -> bytes:
        """What to send: nothing."""
        return b""


class _RequestArgs(_Args, frozen=True, forbid_unknown_fields=True, kw_only=True):
    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        Meta(description="The HTTP method."),
    ]
    body: Annotated[
        str,
        Meta(max_length=MAX_SENT, description="Text to send, as UTF-8; name its Content-Type in headers."),
    ] = ""

    @property
    def payload(self) -> bytes:
        """What to send."""
        try:
            body = self.body.encode()
        except UnicodeEncodeError as error:
            raise CallerMistaken(
                "argument 'body' holds half a surrogate pair", "send valid Unicode"
            ) from error
        if len(body) > MAX_SENT:
            raise CallerMistaken(f"a body of {len(body)} bytes exceeds {MAX_SENT}", "send less")
        return body


class _HttpTool(Generic[T]):
    """What both tools share: arguments as a struct, the URL's right, the answer as a result.

    Args:
        gate: The only way to the network.
    """

    _name: str
    _title: str
    _description: str
    _operations: tuple[str, ...]
    _reads: bool
    _args: type[T]

    def __init__(self, gate: WebGate) -> None:
        self._gate = gate

    def info(self) -> ToolInfo:
        """Describe the tool."""
        _, parts = msgspec.json.schema_components([self._args])
        parameters = dict(parts[self._args.__name__])
        parameters.pop("title", None)
        return ToolInfo(
            server=SERVER,
            name=self._name,
            title=self._title,
            description=self._description,
            parameters=parameters,
            required_capabilities=[f"mcp://api/{operation}/**" for operation in self._operations],
            read_only=self._reads,
            destructive=not self._reads,
            idempotent=self._reads,
        )

    def validate_args(self, args: dict[str, Any]) -> None:
        """Check types, limits, headers, and that the URL can be read in one way only.

        Raises:
            CallerMistaken: Naming the argument and the rule.
        """
        self._gate.check_headers(self._read(args).headers)
        self.needs(args)

    def needs(self, args: dict[str, Any]) -> Sequence[Need]:
        """The right to this method on this URL, with this many bytes to send."""
        given = self._read(args)
        wanted = self._gate.resource_of(given.method, given.url)
        return [Need(wanted, Facts(arguments=dict(args), size=len(given.payload)))]

    async def execute(self, args: dict[str, Any], context: ToolContext) -> ToolResult:
        """Send it, and return status and text; an answer of 400 or above is an error.

        Raises:
            UmbrellaError: As the gate.
        """
        given = self._read(args)
        verdict = self._allowed(context)
        response = await self._gate.fetch(
            verdict.covering or "",
            verdict.limits,
            given.method,
            given.url,
            given.headers,
            given.payload,
            max_bytes=given.max_bytes,
            timeout_s=given.timeout_s,
        )
        return _result(given.method, response)

    def _read(self, args: dict[str, Any]) -> T:
        try:
            return msgspec.convert(args, self._args)
        except msgspec.ValidationError as error:
            raise CallerMistaken(f"arguments of http/{self._name}: {error}", "see its parameters") from error

    def _allowed(self, context: ToolContext) -> Verdict:
        verdict = context.verdicts[0] if context.verdicts else None
        if verdict is None or not verdict.allowed or verdict.covering is None:
            raise NotPermitted(
                f"http/{self._name} was started without the right it needs", "call it through the node"
            )
        return verdict


class Fetch(_HttpTool[_FetchArgs]):
    """Reads a URL."""

    _name = "fetch"
    _title = "Fetch URL"
    _description = (
        "Read a web page or API with GET or HEAD. Text and JSON are shown, binary data is only described."
    )
    _operations = ("get", "head")
    _reads = True
    _args = _FetchArgs


class SendRequest(_HttpTool[_RequestArgs]):
    """Sends any request."""

    _name = "request"
    _title = "Send HTTP request"
    _description = "Send an HTTP request with any method, headers and body, and show the answer."
    _operations = ("get", "head", "post", "put", "patch", "delete", "options")
    _reads = False
    _args = _RequestArgs


def http_tools(gate: WebGate) -> list[Tool]:
    """All tools of the server `http`."""
    return [Fetch(gate), SendRequest(gate)]


def _result(method: str, response: ResponseLike) -> ToolResult:
    kind = next((value for name, value in response.headers if name == "content-type"), "")
    encoded = any(
        name == "content-encoding" and value.strip().lower() not in _UNPACKED
        for name, value in response.headers
    )
    text, facts = _show(response, kind, encoded=encoded)
    lines = [f"{method} {response.url}: {response.status}"]
    if response.stopped:
        location = next((value for name, value in response.headers if name == "location"), "")
        lines.append(f"[redirect to {location[:LONGEST_HEADER]} not followed: {response.stopped}]")
    shown = text_result("\n".join([*lines, *([text] if text else [])]), is_error=response.status >= 400)
    return msgspec.structs.replace(
        shown,
        structured={
            "url": response.url,
            "status": response.status,
            "headers": _shown_headers(response.headers),
            "redirects": list(response.redirects),
            "stopped": response.stopped,
            "size": len(response.body),
            "truncated": response.truncated,
            **facts,
        },
    )


def _show(response: ResponseLike, kind: str, *, encoded: bool) -> tuple[str, dict[str, Any]]:
    """The body as text, or a description of it; and what was found out."""
    media, _, parameters = kind.lower().partition(";")
    media = media.strip()
    body = response.body
    is_text = not encoded and b"\0" not in body[:_SNIFFED] and (not media or _is_text(media))
    if not is_text:
        more = "more than " if response.truncated else ""
        return (
            f"a binary answer ({media or 'unknown type'}) of {more}{len(body)} bytes; it is not shown"
            if body
            else ""
        ), {"binary": bool(body), "undecodable": False}
    text, damaged = _decode(body, parameters, whole=not response.truncated)
    if response.truncated:
        text += f"\n[cut after {len(body)} bytes]"
    return text, {"binary": False, "undecodable": damaged}


def _is_text(media: str) -> bool:
    return media.startswith(_TEXTS) or media.endswith(_TEXT_ENDINGS)


def _decode(body: bytes, parameters: str, *, whole: bool) -> tuple[str, bool]:
    """Text, and whether bytes had to be replaced; a character cut in two at the end is left out."""
    given = parameters.partition("charset=")[2].partition(";")[0].strip(" \"'")
    charset = given if given in _CHARSETS else "utf-8"
    try:
        return codecs.getincrementaldecoder(charset)().decode(body, whole), False
    except UnicodeDecodeError:
        return body.decode(charset, "replace"), True


def _shown_headers(headers: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[name[:LONGEST_HEADER], value[:LONGEST_HEADER]] for name, value in headers[:MAX_SHOWN_HEADERS]]
