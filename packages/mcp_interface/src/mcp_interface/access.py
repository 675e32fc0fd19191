"""Commands about API keys and virtual servers; see `key`."""

from typing import Annotated

from msgspec import Meta

from mcp_interface.commands import Command, Limit, Page, Wish
from mcp_interface.ids import PrincipalId
from mcp_interface.key import ApiKey, NewKey, Publication

Label = Annotated[str, Meta(min_length=1, max_length=100)]


class CreateKey(Command[NewKey], frozen=True, kw_only=True, tag="key.create"):
    """Make a key; unless a principal is named, for a new one that holds nothing but what is granted here."""

    name: Label
    principal_id: PrincipalId | None = None
    grants: Annotated[list[Wish], Meta(max_length=100)] = []
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None


class ListKeys(Command[Page[ApiKey]], frozen=True, kw_only=True, tag="key.list"):
    """All keys that work, oldest first."""

    limit: Limit = 50
    cursor: str | None = None


class RevokeKey(Command[ApiKey], frozen=True, kw_only=True, tag="key.revoke"):
    """Make a key useless at once; its principal keeps what it holds."""

    key: str
    """Id, or name if only one has it."""


# -- virtual servers -------------------------------------------------------------------------------------


class Publish(Command[Publication], frozen=True, kw_only=True, tag="publication.put"):
    """Offer a virtual server, or replace one."""

    publication: Publication


class Unpublish(Command[None], frozen=True, kw_only=True, tag="publication.remove"):
    """Take a virtual server away."""

    name: str


class ListPublications(Command[Page[Publication]], frozen=True, kw_only=True, tag="publication.list"):
    """The virtual servers that the caller finds, by name."""

    limit: Limit = 200
    cursor: str | None = None
