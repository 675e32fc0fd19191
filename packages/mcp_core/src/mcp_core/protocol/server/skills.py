"""The Skills extension: the skills among the catalog's resources, listed with their manifests.

A skill is what the catalog lists below `skill://<name>/`, from its `SKILL.md` on; digests, sizes and the front matter come
with the resources (`mcp_core.catalog.skills`). Who may read them, and within which virtual server, has been decided there.

Source: Model Context Protocol extension `io.modelcontextprotocol/skills` (SEP-2640).
"""

from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

from mcp_core.protocol.server import wire
from mcp_core.protocol.server.offered import page_of
from mcp_core.protocol.server.portal import Portal
from mcp_interface.offers import (
    CATALOG,
    SKILL_DIGEST,
    SKILL_FRONT,
    SKILL_MANIFEST,
    SKILL_SCHEME,
    ResourceInfo,
)

IDENTIFIER: Final = "io.modelcontextprotocol/skills"
SETTINGS: Final[dict[str, Any]] = {"directoryRead": True}
FOLDER: Final = "inode/directory"
FRESH: Final[dict[str, Any]] = {"ttlMs": 5_000, "cacheScope": "private"}
"""Lists differ from principal to principal."""

Context = ServerRequestContext[Any, Any]


class UriParams(RequestParams):
    """Names a skill."""

    uri: str


class FolderParams(PaginatedRequestParams):
    """Names a folder of a skill."""

    uri: str


async def list_skills(ctx: Context, params: PaginatedRequestParams, portal: Portal) -> dict[str, Any]:
    """skills/list."""
    found = _skills(await _files(portal))
    page, more = page_of(sorted(found.items()), params.cursor)
    listed: dict[str, Any] = {"skills": [entry for _, entry in page], **FRESH}
    return listed if more is None else {**listed, "nextCursor": more}


async def get_skill(ctx: Context, params: UriParams, portal: Portal) -> dict[str, Any]:
    """skills/get."""
    entry = _skills(await _files(portal)).get(params.uri)
    if entry is None:
        raise MCPError(INVALID_PARAMS, "Skill not found", {"uri": params.uri})
    return {"skill": entry, **FRESH}


async def read_folder(ctx: Context, params: FolderParams, portal: Portal) -> dict[str, Any]:
    """resources/directory/read: what is directly in a folder of a skill."""
    within = params.uri.rstrip("/") + "/"
    children: dict[str, dict[str, Any]] = {}
    for info in await _files(portal):
        if info.uri.startswith(within):
            name, slash, _ = info.uri[len(within) :].partition("/")
            uri = f"{within}{name}"
            children[uri] = _folder(uri) if slash else wire.resource(info, uri)
    if not children:
        raise MCPError(INVALID_PARAMS, "Directory not found", {"uri": params.uri})
    page, more = page_of(sorted(children.items()), params.cursor)
    listed: dict[str, Any] = {"resources": [child for _, child in page], **FRESH}
    return listed if more is None else {**listed, "nextCursor": more}


METHODS: Final = [
    ("skills/list", PaginatedRequestParams, list_skills),
    ("skills/get", UriParams, get_skill),
    ("resources/directory/read", FolderParams, read_folder),
]


async def _files(portal: Portal) -> list[ResourceInfo]:
    """The files of all skills, as far as they are offered under their own URIs."""
    return [
        info
        for public, info in await portal.catalogue.resources()
        if info.server == CATALOG and public == info.uri and public.startswith(SKILL_SCHEME)
    ]


def _skills(files: list[ResourceInfo]) -> dict[str, dict[str, Any]]:
    """Each skill's entry by the URI of its manifest."""
    found = {
        info.uri: info
        for info in files
        if SKILL_FRONT in info.meta and info.uri.endswith(f"/{SKILL_MANIFEST}")
    }
    return {
        uri: {
            "uri": uri,
            "frontmatter": manifest.meta[SKILL_FRONT],
            "resources": [
                {"uri": info.uri, "digest": info.meta[SKILL_DIGEST], "size": info.size}
                for info in files
                if info.uri.startswith(uri.removesuffix(SKILL_MANIFEST)) and SKILL_DIGEST in info.meta
            ],
        }
        for uri, manifest in found.items()
    }


def _folder(uri: str) -> dict[str, Any]:
    return {"uri": uri, "name": uri.rpartition("/")[2], "mimeType": FOLDER}
