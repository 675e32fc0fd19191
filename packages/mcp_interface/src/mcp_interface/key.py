"""API keys: secrets by which programs come in, each with the rights of one principal; and virtual servers.

A key is shown once and stored hashed. A virtual server is a named selection of what the node offers, for MCP
clients: they see what is in the selection and what they hold rights on, whichever is less.
"""

import re
from typing import Final

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.errors import InvalidRecord
from mcp_interface.ids import KeyId, PrincipalId

KEY_PREFIX: Final = "umbrella_"
"""How every key begins, so that scanners for leaked secrets can know one."""
PUBLICATION_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as listed; the secret is not kept."""

    id: KeyId
    name: str
    principal_id: PrincipalId
    """With whose rights it acts."""
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Instant | None = None
    """To the minute."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at the only moment in which its secret is known."""

    secret: str
    key: ApiKey


# -- virtual servers -------------------------------------------------------------------------------------


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual server: under `/mcp/<name>`, a selection of what the node offers."""

    name: str
    tools: list[str] = []
    """Globs over `server/tool`, as in `git/*`."""
    resources: list[str] = []
    """Globs over `server/uri`."""
    prompts: list[str] = []
    """Globs over `server/prompt`."""
    principal_id: PrincipalId | None = None
    """The only one who finds it; None: everybody who can come in."""
    bare_names: bool = False
    """Tools and prompts keep their own names instead of `server__name`; of two with one name neither is offered."""
    instructions: str = ""
    """What a client is told about it."""

    def validate(self) -> None:
        """Check the name.

        Raises:
            InvalidRecord: invalid_publication_name.
        """
        if PUBLICATION_NAME.fullmatch(self.name) is None:
            raise InvalidRecord(
                "invalid_publication_name",
                f"{self.name[:80]!r} cannot be the name of a virtual server",
                "use 1 to 63 lower-case letters, digits, '_', '-', beginning with a letter or digit",
            )
