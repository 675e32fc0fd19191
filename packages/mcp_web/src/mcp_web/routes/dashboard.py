"""The built dashboard, from the wheel and from nowhere else; and the answer for API paths that do not exist.

The files are few and small, so they are read once. A path that is no file is one of the dashboard's own
pages and gets its index; without a built dashboard there is a page that says how to build it.
"""

import gzip
import hashlib
import html
import mimetypes
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Response, route

from mcp_interface.errors import NotFound
from mcp_web.auth import AnyRequest

MIN_GZIP: Final = 512
FOREVER: Final = "public, max-age=31536000, immutable"
BUILD: Final = "uv sync --reinstall-package mcp-umbrella-web"
NOT_BUILT: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Umbrella: dashboard not built</title></head>
<body><main><h1>The dashboard is not built</h1>
<p>This installation came without its pages. Build them with:</p>
<pre><code>{html.escape(BUILD)}</code></pre>
<p>The API works without them: <a href="/api/openapi.json">/api/openapi.json</a>.</p>
</main></body></html>
"""


class Asset(msgspec.Struct, frozen=True):
    """One file, as it is sent."""

    body: bytes
    packed: bytes | None
    """The same, gzipped, where that pays."""
    media_type: str
    etag: str
    cache: str


class Pages:
    """The files of the dashboard by URL path."""

    def __init__(self, assets: dict[str, Asset]) -> None:
        self._assets = assets

    @classmethod
    def load(cls, folder: Path) -> "Pages":
        """Read every file of a folder; a missing folder is an unbuilt dashboard."""
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return cls({path.relative_to(folder).as_posix(): _asset(path, folder) for path in files})

    @property
    def built(self) -> bool:
        """Whether there is a dashboard to show."""
        return "index.html" in self._assets

    def find(self, path: str) -> Asset | None:
        """The file of a path; the index for a page of the dashboard; None when it is neither."""
        name = path.strip("/")
        if name in self._assets:
            return self._assets[name]
        return None if "." in name.rsplit("/", 1)[-1] else self._assets.get("index.html")


def _asset(path: Path, folder: Path) -> Asset:
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    text = kind.startswith("text/") or kind.endswith(("javascript", "json", "+xml"))
    hashed = path.relative_to(folder).parts[0] == "assets"
    return Asset(
        body=body,
        packed=gzip.compress(body, mtime=0) if text and len(body) >= MIN_GZIP else None,
        media_type=kind,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        cache=FOREVER if hashed else "no-cache",
    )


@route(["/", "/{path:path}"], http_method=["GET", "HEAD"], include_in_schema=False)
async def page(request: AnyRequest) -> Response[bytes]:
    """A file of the dashboard, or its index for one of its own pages."""
    pages: Pages = request.app.state.pages
    path = request.url.path
    if not pages.built:
        return Response(NOT_BUILT.encode(), media_type="text/html", status_code=503)
    asset = pages.find(path)
    if asset is None:
        raise NotFound(f"there is no file {path[:200]!r} in the dashboard")
    headers = {"etag": asset.etag, "cache-control": asset.cache, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            asset.packed, media_type=asset.media_type, headers={**headers, "content-encoding": "gzip"}
        )
    return Response(asset.body, media_type=asset.media_type, headers=headers)


@route(
    "/api/{path:path}",
    http_method=["GET", "POST", "PUT", "PATCH", "DELETE"],
    include_in_schema=False,
    status_code=404,
)
async def unknown_api(request: AnyRequest) -> None:
    """Say that this path is not part of the API, instead of showing a page."""
    raise NotFound(f"the API has no {request.url.path[:200]!r}", "see /api/openapi.json for what there is")


ROUTES: list[Any] = [page, unknown_api]
