"""Who comes in by `/mcp`: a key, an access token, or, where that is allowed, somebody who shows nothing.

No cookie counts here, so that no page in a browser can act for somebody who is logged in.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcp_core import Door, McpSettings, OAuthSettings
from mcp_interface.access import ListPublications
from mcp_interface.client import ClientInfo
from mcp_interface.clock import Clock
from mcp_interface.errors import LoginRequired
from mcp_interface.ids import PrincipalId
from mcp_interface.key import KEY_PREFIX
from mcp_web.boundary import LOOPBACK_NAMES, bearer, header
from mcp_web.clients import Clients
from mcp_web.tokens import AccessTokens

CLIENT: Final = "mcp"
_FORWARDED: Final = (
    b"x-forwarded",
    b"forwarded",
    b"x-real",
    b"x-client",
    b"x-envoy",
    b"cf-",
    b"true-client",
    b"tailscale-",
    b"via",
)
"""How the names of headers begin that only proxies and tunnels send."""
FOREVER: Final = float("inf")
REMEDY: Final = "send Authorization: Bearer <key>; make one with: umbrella key create NAME"


class Identity(msgspec.Struct, frozen=True):
    """Somebody who has come in."""

    owner: str
    """Tells identities apart; not secret, and not to be shown."""
    name: str
    """Under which their calls are recorded."""
    secret: str
    """What opens the node for them; empty: the node's own token, on behalf of `principal`."""
    principal: PrincipalId | None = None
    ends_at: float = FOREVER
    """When an access token is over, in seconds of the epoch."""

    def __repr__(self) -> str:
        return f"Identity({self.name!r})"


class Entrance:
    """Judges who comes.

    Args:
        door: The way to the node.
        clients: Check keys.
        mcp: Who may come in without showing anything.
        oauth: Whose access tokens are taken; None: nobody's.
        loopback: Whether the server can be reached from this machine only.
        clock: For the ends of tokens.
    """

    def __init__(
        self,
        door: Door,
        clients: Clients,
        mcp: McpSettings,
        oauth: OAuthSettings | None,
        clock: Clock,
        *,
        loopback: bool,
    ) -> None:
        self._door = door
        self._clients = clients
        self._clock = clock
        self._anonymous = mcp.anonymous_principal if loopback else None
        self.oauth = oauth
        self._tokens = None if oauth is None else AccessTokens(oauth, clock)

    async def identify(self, scope: Mapping[str, Any], publication: str | None = None) -> Identity:
        """Say who sends a request, to one virtual server or to all of them.

        Raises:
            LoginRequired: Nobody who may come in.
            UmbrellaError: It could not be found out.
        """
        secret = bearer(scope)
        if secret is None:
            if header(scope, "authorization") is None and self._anonymous and _is_near(scope):
                return Identity("anonymous", "anonymous", "", PrincipalId(self._anonymous))
            raise LoginRequired("this needs a key or an access token", REMEDY)
        if self._tokens is not None and not secret.startswith(KEY_PREFIX) and secret.count(".") == 2:
            holder = await self._tokens.who(secret, publication)
            mark = f"oauth {holder.principal_id} {holder.subject}"
            return Identity(mark, holder.subject, "", holder.principal_id, holder.ends_at)
        login = await self._clients.check(secret)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        return Identity(f"key {digest}", login.key_name or "login", secret, login.principal_id)

    async def still(self, identity: Identity) -> bool:
        """Whether what was good when somebody came in is still so."""
        if not identity.secret:
            return self._clock.now().timestamp() < identity.ends_at
        try:
            await self._clients.check(identity.secret)
        except LoginRequired:
            return False
        return True

    async def published(self) -> set[str]:
        """The names of all virtual servers there are."""
        found: set[str] = set()
        command = ListPublications(limit=1000)
        while True:
            page = await self._clients.ask_owner(command)
            found |= {each.name for each in page.items}
            if page.cursor is None:
                return found
            command = ListPublications(limit=1000, cursor=page.cursor)

    def info(self, identity: Identity) -> ClientInfo:
        """How to connect to the node as somebody who has come in."""
        if identity.secret:
            return ClientInfo(name=CLIENT, token=identity.secret)
        return ClientInfo(name=CLIENT, token=self._door.owner_token, on_behalf_of=identity.principal)


def _is_near(scope: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine, and was not handed on by a proxy on it."""
    if scope.get("http_version") == "1.0":  # as proxies speak that were told no better; no MCP client does
        return False
    if any(name.lower().startswith(_FORWARDED) for name, _ in scope.get("headers", ())):
        return False
    client = scope.get("client")
    try:
        near = client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
    host = (header(scope, "host") or "").rsplit(":", 1)[0].strip("[]").lower()
    return near and host in LOOPBACK_NAMES
