"""The node's own resources and prompts, each owned by a person; the server `catalog` to those who read them.

Who asks is taken from the login, never from what is sent. What somebody else owns does not exist for whoever asks,
unless it is public. Prompts are versioned: every version is kept, and going back makes a new one.
"""

from typing import Any, Final, Literal

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.ids import PrincipalId
from mcp_interface.offers import PromptArgument

ResourceKind = Literal["text", "file", "url", "upload"]
"""text: kept as written; file: read from a folder that its owner may read; url: fetched when read; upload: bytes
that were handed over."""
Visibility = Literal["private", "public"]

MAX_CONTENT: Final = 5 * 1024 * 1024
"""Bytes of what a resource holds or fetches."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A resource of the catalog, without what it holds."""

    uri: str
    """Unique among what its owner has."""
    owner_id: PrincipalId
    kind: ResourceKind
    name: str
    description: str = ""
    mime_type: str = ""
    source: str = ""
    """Of a file its path; of a URL the URL. Empty for everybody but its owner."""
    size: int | None = None
    """Bytes, of what is kept here."""
    sha256: str = ""
    """Of what is kept here, hex."""
    tags: list[str] = []
    properties: dict[str, Any] = {}
    visibility: Visibility = "private"
    created_at: Instant
    updated_at: Instant


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a prompt of the catalog."""

    name: str
    """Unique among what its owner has."""
    owner_id: PrincipalId
    version: int
    """From 1."""
    template: str
    """Text with `{{name}}` placeholders."""
    title: str = ""
    description: str = ""
    arguments: list[PromptArgument] = []
    tags: list[str] = []
    visibility: Visibility = "private"
    uses: int = 0
    """How often it was rendered, as far as that is known; a crash may lose the last ones."""
    source: str = ""
    """The file it comes from; such prompts are changed there."""
    created_at: Instant
    updated_at: Instant
    warnings: list[str] = []
    """Placeholders that are not declared, arguments that are not used."""
