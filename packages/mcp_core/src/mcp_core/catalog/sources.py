"""What a resource holds that is not kept here: a file or a URL, reached by the right of whoever owns the resource.

The right is judged at each reading and is on record before it. Whoever makes such a resource public lends others this
one reading; when their right ends, so does the reading. What cannot be had is an error, never text.
"""

import mimetypes
import os
from collections.abc import Mapping
from typing import Any, Final

from mcp_core.tools.filesystem import FileGate
from mcp_core.tools.filesystem.content import read_up_to, require_within
from mcp_core.tools.filesystem.tool import in_thread
from mcp_core.tools.http import ResponseLike, WebGate
from mcp_interface.address import Resource, resource
from mcp_interface.capability import Context, Facts, SecurityKernel, Verdict
from mcp_interface.catalog import MAX_CONTENT, Item, ResourceKind
from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    TooMuch,
    UmbrellaError,
    WorldBroken,
)
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import Contents
from mcp_interface.trace import current_trace_id

SECONDS: Final = 30.0
"""Until a URL counts as not answering."""
UNKNOWN: Final = "application/octet-stream"
_READS: Final = Facts(size=0)
_TEXTS: Final = ("text/", "application/json", "application/xml", "application/javascript", "application/yaml")
_TEXT_ENDINGS: Final = ("+json", "+xml", "+yaml")


def media(mime_type: str) -> str:
    """A media type without its parameters, in lower case."""
    return mime_type.partition(";")[0].strip().lower()


def is_text(mime_type: str) -> bool:
    """Whether a media type is one of text."""
    found = media(mime_type)
    return found.startswith(_TEXTS) or found.endswith(_TEXT_ENDINGS)


def contents(uri: str, mime_type: str, data: bytes) -> Contents:
    """Bytes as a part of an answer: as text where they are some, else as they are."""
    if is_text(mime_type):
        try:
            return Contents(uri=uri, mime_type=mime_type, text=data.decode())
        except UnicodeDecodeError:
            pass  # not in UTF-8: nothing is guessed, and nothing replaced
    return Contents(uri=uri, mime_type=mime_type, blob=data)


class Sources:
    """Reads files and URLs for resources.

    Args:
        kernel: Judges.
        files: The only way to a file.
        web: The only way to the network.
    """

    def __init__(self, kernel: SecurityKernel, files: FileGate, web: WebGate) -> None:
        self._kernel = kernel
        self._files = files
        self._web = web

    def right(self, kind: ResourceKind, source: str) -> Resource:
        """The right that reading a source needs; pure.

        Raises:
            CallerMistaken: The source is no absolute path, or no URL that can be read in one way only.
        """
        if kind == "url":
            return self._web.resource_of("GET", source)
        if not source.startswith("/") or source.endswith("/") or "*" in source:
            raise CallerMistaken(
                f"source {source[:200]!r} is not the path of one file",
                "write it from the root, beginning with /, without '*'",
            )
        return resource("fs", "read", source)

    async def read(self, item: Item, who: PrincipalId) -> Contents:
        """Read what an item's source holds now; where that is, only the item's owner is told, in errors too.

        Args:
            item: Of kind file or url.
            who: For whom; on record, not judged: whether they may read the item has been decided.

        Raises:
            NotPermitted: The owner of the item has no right to its source, or it leads out of the right.
            NotFound: There is no such file.
            CallerMistaken: The file is too large.
            WorldBroken: The disk failed, or the server did not answer with what the item says it is.
            DeadlineExceeded: The server did not answer in full in time.
        """
        verdict = await self._judge(item, who)
        try:
            return await self._load(item, verdict)
        except UmbrellaError as error:
            if who == item.owner_id:
                raise
            raise _without_source(item, error) from error

    async def _load(self, item: Item, verdict: Verdict) -> Contents:
        covering, limits = verdict.covering or "", verdict.limits
        if item.kind == "url":
            return await self._fetch(item, covering, limits)
        data = await in_thread(lambda: self._bytes(item.source, covering, limits), item.source)
        return contents(item.uri, item.mime_type or file_type(item.source, data), data)

    async def _judge(self, item: Item, who: PrincipalId) -> Verdict:
        needed = self.right(item.kind, item.source)
        note = f"catalog {item.uri}" + ("" if who == item.owner_id else f" for {who}")
        context = Context(trace_id=current_trace_id(), note=note[:300])
        verdict = await self._kernel.authorize(item.owner_id, needed, context, facts=_READS)
        if verdict.allowed and verdict.covering is not None:
            return verdict
        if who != item.owner_id:  # what its owner may or may not is no business of others
            raise NotPermitted(f"the owner of {item.uri} may not read what is behind it", "ask its owner")
        raise NotPermitted(
            verdict.message,
            f"umbrella grant {item.owner_id} {verdict.needed or needed.uri}",
            {"reason": verdict.reason, "resource_uri": needed.uri, "audit_seq": verdict.audit_seq},
        )

    def _bytes(self, path: str, covering: str, limits: Mapping[str, Any]) -> bytes:
        file = self._files.open_file(covering, path)
        try:
            data = read_up_to(file, MAX_CONTENT + 1)
            size = max(os.fstat(file).st_size, len(data))
        finally:
            os.close(file)
        require_within(limits, path, size=size, taken=len(data))
        if len(data) > MAX_CONTENT:
            raise CallerMistaken(
                f"{path} has {size:,} bytes, at most {MAX_CONTENT:,} are read as a resource",
                "read a part of it with the tool fs/read_file",
            )
        return data

    async def _fetch(self, item: Item, covering: str, limits: Mapping[str, Any]) -> Contents:
        response = await self._web.fetch(
            covering, limits, "GET", item.source, {}, b"", max_bytes=MAX_CONTENT, timeout_s=SECONDS
        )
        given = next((value for name, value in response.headers if name == "content-type"), "")
        problem = _problem(item, response, given)
        if problem:
            raise WorldBroken(
                f"{item.source[:500]}: {problem}",
                "check the URL",
                {"status": response.status, "uri": item.uri},
            )
        return contents(item.uri, given or item.mime_type or UNKNOWN, response.body)


def file_type(path: str, data: bytes) -> str:
    """What a file probably is, by its name; text without a telling name is plain text."""
    guessed = mimetypes.guess_type(path, strict=False)[0]
    if guessed is not None:
        return guessed
    try:
        return UNKNOWN if "\0" in data.decode() else "text/plain"
    except UnicodeDecodeError:
        return UNKNOWN


def _without_source(item: Item, error: UmbrellaError) -> UmbrellaError:
    """What others than its owner are told when an item cannot be read: of what kind the trouble is, and no word of it."""
    told = f"what is behind {item.uri[:200]!r} cannot be read now"
    for kind in (NotPermitted, NotFound, DeadlineExceeded, TooMuch, CallerMistaken):
        if isinstance(error, kind):
            return kind(told, "ask its owner")
    return WorldBroken(told, "ask its owner")


def _problem(item: Item, response: ResponseLike, given: str) -> str:
    """Why an answer is not what the item stands for; empty when it is."""
    if response.stopped:
        return f"it leads elsewhere, which was not followed: {response.stopped}"
    if not 200 <= response.status < 300:
        return f"the server answered with status {response.status}"
    if response.truncated:
        return f"the answer has more than {len(response.body):,} bytes"
    if item.mime_type and given and media(given) != media(item.mime_type):
        return f"the server answered with {media(given)[:100]}, not {media(item.mime_type)}"
    return ""
