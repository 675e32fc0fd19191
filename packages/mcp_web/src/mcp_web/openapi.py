"""The OpenAPI document without a node: `python -m mcp_web.openapi > ui/openapi.json`, then `npm run types`."""

import json
import sys
from pathlib import Path
from typing import Any

from mcp_core import Door
from mcp_interface.client import Client
from mcp_interface.codec import to_external
from mcp_interface.errors import NodeUnavailable


class NoDoor:
    """Leads nowhere; describing the API needs no node."""

    @property
    def owner_token(self) -> str:
        """Nothing."""
        return ""

    def client(self) -> Client:
        """Raise `NodeUnavailable`."""
        raise NodeUnavailable("there is no node behind a description")

    async def stopped(self) -> None:
        """It never ran."""

    async def close(self) -> None:
        """Nothing to close."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of this version."""
    from mcp_web.app import make_app

    door: Door = NoDoor()
    schema = make_app(door, assets=Path("/nonexistent")).openapi_schema.to_schema()
    plain: dict[str, Any] = to_external(schema)  # defaults of fields are structs
    return plain


def text() -> str:
    """The document as it is checked in."""
    return json.dumps(document(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
