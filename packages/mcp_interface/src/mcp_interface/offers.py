"""What a server offers beside tools: resources, templates of them, prompts, completions.

Servers are the connected ones and `catalog`, the node's own (see `catalog`). Reading a resource or a prompt of a
connected server needs the right that `resource_right` or `prompt_right` names.

Source: Model Context Protocol 2026-07-28, server features.
"""

from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from mcp_interface.address import Resource, resource
from mcp_interface.question import Inquiry

CATALOG: Final = "catalog"
"""The name of the server that is the node's own collection."""
SKILL_SCHEME: Final = "skill://"
"""How the URI of a skill's file in the catalog begins: `skill://<name>/<path>`."""
SKILL_MANIFEST: Final = "SKILL.md"
"""The file that a skill begins with."""
SKILL_FRONT: Final = "io.modelcontextprotocol.skills/frontmatter"
"""Under which key of such a file's meta stands the front matter of its skill; of the manifest only."""
SKILL_DIGEST: Final = "io.modelcontextprotocol.skills/digest"
"""And under which the digest of what it holds, `sha256:<hex>`."""


class ResourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A resource as offered."""

    server: str
    uri: str
    name: str
    title: str = ""
    description: str = ""
    mime_type: str = ""
    size: int | None = None
    """Bytes, when known."""
    annotations: dict[str, Any] = {}
    icons: list[dict[str, Any]] = []
    """In MCP's wire form."""
    meta: dict[str, Any] = {}


class ResourceTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A family of resources by an RFC 6570 template."""

    server: str
    uri_template: str
    name: str
    title: str = ""
    description: str = ""
    mime_type: str = ""
    annotations: dict[str, Any] = {}
    icons: list[dict[str, Any]] = []
    """In MCP's wire form."""
    meta: dict[str, Any] = {}


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """One part of what a resource holds: text or bytes."""

    uri: str
    mime_type: str = ""
    text: str | None = None
    blob: bytes | None = None
    meta: dict[str, Any] = {}


class PromptArgument(msgspec.Struct, frozen=True, kw_only=True):
    """One value that a prompt takes."""

    name: str
    title: str = ""
    description: str = ""
    required: bool = False
    default: str | None = None
    """Taken when the value is not given; of prompts in the catalog only."""


class PromptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as offered."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    arguments: list[PromptArgument] = []
    icons: list[dict[str, Any]] = []
    """In MCP's wire form."""
    meta: dict[str, Any] = {}


class PromptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a prompt."""

    role: Literal["user", "assistant"]
    content: dict[str, Any]
    """A content block in MCP's wire form."""


class PromptResult(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with its values in place."""

    description: str = ""
    messages: list[PromptMessage] = []
    inquiries: list[Inquiry] = []
    """What its server wants to know first; with these there are no messages yet."""
    state: str = ""
    """With `inquiries`: to be handed back with the answers."""
    meta: dict[str, Any] = {}


class Suggestions(msgspec.Struct, frozen=True, kw_only=True):
    """What could stand for a value that is being typed."""

    values: list[str] = []
    """At most a hundred."""
    total: int | None = None
    has_more: bool = False


def resource_right(server: str, uri: str) -> Resource:
    """The right to read one resource of a connected server."""
    return resource("tool", "read", f"{quote(server, safe='')}/resource/{quote(uri, safe='')}")


def prompt_right(server: str, name: str) -> Resource:
    """The right to read one prompt of a connected server."""
    return resource("tool", "read", f"{quote(server, safe='')}/prompt/{quote(name, safe='')}")
