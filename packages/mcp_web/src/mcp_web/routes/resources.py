"""/api/resources: what people put into the catalog; uploads in, content out.

A URI stands at the end of a path, percent-encoded or as it is. The words that routes begin with (`search`, `stats`,
`upload`, `download`) are no URIs: a URI has a colon in its first segment.
"""

from typing import Annotated, Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Response, delete, get, post, put
from litestar.datastructures import UploadFile
from litestar.params import FromPath, FromQuery, JSONBody, MultipartBody, QueryParameter
from msgspec import Meta

from mcp_interface.catalog import MAX_CONTENT, Item, ResourceKind, Visibility
from mcp_interface.cataloging import (
    ChangeItem,
    CountItems,
    CreateItem,
    DeleteItem,
    GetItem,
    ItemUri,
    ListItems,
    Tags,
)
from mcp_interface.commands import Page
from mcp_interface.errors import CallerMistaken
from mcp_interface.offers import CATALOG
from mcp_interface.reading import ReadResource
from mcp_web.auth import AnyRequest, CallerDependency
from mcp_web.routes.shape import PROBLEMS, Cursor, Limit

MAX_UPLOAD: Final = MAX_CONTENT + 64 * 1024
"""Bytes of an upload with what frames it."""
MAX_TEXT: Final = 3 * MAX_CONTENT
"""Bytes of a body with a text, whose signs JSON may write in several."""
FETCH_S: Final = 60.0
_SHOWN: Final = frozenset(
    {
        "text/plain", "text/markdown", "text/csv", "application/json", "application/pdf", "image/png", "image/jpeg",
        "image/gif", "image/webp",
    }
)  # fmt: skip
"""Types that a browser may show here. Anything else could act with the rights of whoever looks at it."""

Words = Annotated[str, QueryParameter(name="q", max_length=1_000, description="Words that must all occur.")]
TagList = Annotated[str, QueryParameter(max_length=2_600, description="Separated by commas; all of them.")]


class NewResource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A resource that is text, a file of the node's machine, or a URL; bytes go to `/resources/upload`."""

    kind: ResourceKind
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    uri: ItemUri | None = None
    """Without it one is made."""
    description: str = ""
    mime_type: str = ""
    text: str | None = None
    source: str = ""
    tags: Tags = []
    properties: dict[str, Any] = {}
    visibility: Visibility = "private"


class ResourceChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    name: str | None = None
    description: str | None = None
    mime_type: str | None = None
    text: str | None = None
    source: str | None = None
    tags: Tags | None = None
    properties: dict[str, Any] | None = None
    visibility: Visibility | None = None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file with what is said of it, as a form."""

    file: UploadFile
    name: str = ""
    """Without it the file's own."""
    uri: str = ""
    description: str = ""
    tags: str = ""
    """Separated by commas."""
    visibility: Visibility = "private"


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are."""

    count: int


@get("/resources", responses=PROBLEMS, summary="List resources, latest change first")
async def list_resources(
    caller: CallerDependency,
    words: Words = "",
    kind: FromQuery[ResourceKind | None] = None,
    tags: TagList = "",
    mine: FromQuery[bool] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Item]:
    """Yours and what others have made public; all of `q` must occur."""
    return await caller.ask(
        ListItems(query=words, kind=kind, tags=listed(tags), mine=mine, limit=limit, cursor=cursor)
    )


@post("/resources", responses=PROBLEMS, request_max_body_size=MAX_TEXT, summary="Add a resource")
async def create_resource(caller: CallerDependency, data: JSONBody[NewResource]) -> Item:
    """It is yours; its URI must be new among what you have (409)."""
    return await caller.ask(CreateItem(**msgspec.structs.asdict(data)))


@get("/resources/search/{words:str}", responses=PROBLEMS, summary="Search resources")
async def search_resources(
    caller: CallerDependency, words: FromPath[str], limit: Limit = 100, cursor: Cursor = None
) -> Page[Item]:
    """All words must occur in URI, name, description, tags or text."""
    return await caller.ask(ListItems(query=words, limit=limit, cursor=cursor))


@get("/resources/stats/count", responses=PROBLEMS, summary="Count resources")
async def count_resources(
    caller: CallerDependency,
    words: Words = "",
    kind: FromQuery[ResourceKind | None] = None,
    tags: TagList = "",
    mine: FromQuery[bool] = False,
) -> Count:
    """How many `GET /resources` would give."""
    return Count(count=await caller.ask(CountItems(query=words, kind=kind, tags=listed(tags), mine=mine)))


@post(
    "/resources/upload",
    responses=PROBLEMS,
    request_max_body_size=MAX_UPLOAD,
    summary="Upload a file of at most 5 MB",
)
async def upload_resource(caller: CallerDependency, data: MultipartBody[Upload]) -> Item:
    """Bytes with their type and name; without a URI it is `file:///<you>/<name>`."""
    file = data.file
    try:
        content = await file.read()
    finally:
        await file.close()
    given = {} if not data.uri else {"uri": data.uri}
    command = {
        "kind": "upload",
        "name": data.name or (file.filename or "upload").replace("\\", "/").rsplit("/", 1)[-1],
        "mime_type": file.content_type or "",
        "description": data.description,
        "tags": listed(data.tags),
        "visibility": data.visibility,
        **given,
    }
    try:
        checked = msgspec.convert({"command": "catalog.resource.create", **command}, CreateItem)
    except msgspec.ValidationError as error:
        raise CallerMistaken(f"the form is wrong: {error}", "see /api/openapi.json") from error
    return await caller.ask(msgspec.structs.replace(checked, blob=content))


@get(
    "/resources/download/{uri:path}",
    responses=PROBLEMS,
    media_type="application/octet-stream",
    summary="What a resource holds",
)
async def download_resource(
    request: AnyRequest, caller: CallerDependency, uri: FromPath[str]
) -> Response[bytes]:
    """The bytes as they are; of a file or URL what it holds now. What could act in a browser comes as a mere file."""
    meant = uri_of(request, "/api/resources/download/")
    item = await caller.ask(GetItem(uri=meant))
    parts = await caller.ask(ReadResource(server=CATALOG, uri=meant), FETCH_S)
    body = b"".join(part.blob or b"" if part.text is None else part.text.encode() for part in parts)
    kind = parts[0].mime_type if parts else ""
    shown = kind.partition(";")[0].strip().lower() in _SHOWN
    name = quote(item.name, safe="")
    return Response(
        body,
        media_type=kind if shown else "application/octet-stream",
        headers={
            "content-disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
            "cache-control": "private",
        },
    )


@get("/resources/{uri:path}", responses=PROBLEMS, summary="Show a resource")
async def get_resource(request: AnyRequest, caller: CallerDependency, uri: FromPath[str]) -> Item:
    """Without what it holds, which `GET /resources/download/{uri}` gives."""
    return await caller.ask(GetItem(uri=uri_of(request, "/api/resources/")))


@put("/resources/{uri:path}", responses=PROBLEMS, request_max_body_size=MAX_TEXT, summary="Change a resource")
async def change_resource(
    request: AnyRequest, caller: CallerDependency, uri: FromPath[str], data: JSONBody[ResourceChange]
) -> Item:
    """One of yours; what is left out stays."""
    meant = uri_of(request, "/api/resources/")
    return await caller.ask(ChangeItem(uri=meant, **msgspec.structs.asdict(data)))


@delete("/resources/{uri:path}", responses=PROBLEMS, summary="Delete a resource")
async def delete_resource(request: AnyRequest, caller: CallerDependency, uri: FromPath[str]) -> None:
    """One of yours."""
    await caller.ask(DeleteItem(uri=uri_of(request, "/api/resources/")))


def uri_of(request: AnyRequest, before: str) -> str:
    """The URI at the end of a path, from the bytes that were sent: routing folds slashes, and a URI needs them all.

    Raises:
        CallerMistaken: It is none.
    """
    sent = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    # as far as the path is the route's own, nothing in it is encoded
    path = sent.partition(b"?")[0]
    if not path.startswith(before.encode()):
        raise CallerMistaken(f"{request.url.path[:200]!r} names no resource", f"write {before}<uri>")
    try:
        return msgspec.convert(unquote_to_bytes(path[len(before) :]).decode(), ItemUri)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CallerMistaken(
            f"{request.url.path[len(before) :][:200]!r} is no URI", "write for example note:shopping"
        ) from error


def listed(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


ROUTES = [
    list_resources,
    create_resource,
    search_resources,
    count_resources,
    upload_resource,
    download_resource,
    get_resource,
    change_resource,
    delete_resource,
]
"""Those with a word of their own come before those that take any URI."""
