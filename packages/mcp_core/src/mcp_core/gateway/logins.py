"""Who a connection speaks for: the node's token, one-time login codes, login keys, and API keys.

Codes and login keys are kept hashed in the key-value store; they survive a restart and can be taken back. API keys
are `Keys`.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any

from mcp_core.gateway.keys import Keys
from mcp_core.gateway.tickets import Ticket, Tickets, ended
from mcp_interface.clock import Clock, Entropy
from mcp_interface.codec import from_external, to_external
from mcp_interface.commands import Login, LoginCode, LoginKey
from mcp_interface.errors import LoginRequired, NotFound
from mcp_interface.ids import PrincipalId, is_id
from mcp_interface.key import KEY_PREFIX
from mcp_interface.store import KeyValueStore, Transaction

CODE_LIFE = timedelta(minutes=10)
KEY_LIFE = timedelta(days=7)
SECRET_BYTES = 32


class Logins:
    """Logins of one node.

    Args:
        token: The secret of the data directory; whoever can read it is the owner.
        owner: The person whose node this is.
        keys: Its API keys; None: it has none.
    """

    def __init__(
        self,
        store: KeyValueStore,
        clock: Clock,
        entropy: Entropy,
        token: str,
        owner: PrincipalId,
        keys: Keys | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._token = token
        self._keys = keys
        self._tickets = Tickets()
        if keys is not None:
            keys.listen(self._tickets.end)
        self.owner = owner

    async def admit(self, secret: str, on_behalf_of: PrincipalId | None = None) -> Ticket:
        """Let in the person behind a token, login key or API key, for as long as that is good.

        Args:
            secret: What was shown.
            on_behalf_of: Whose rights are wanted; whoever has the node's token may name any person.

        Raises:
            LoginRequired: Nobody, or somebody who may not act for others.
        """
        if hmac.compare_digest(secret.encode(), self._token.encode()):
            if on_behalf_of is not None and not is_id("user", on_behalf_of):
                raise LoginRequired(f"{on_behalf_of[:80]!r} is no person", "name a user_…")
            return Ticket(on_behalf_of or self.owner)
        if on_behalf_of is not None:
            raise LoginRequired("only the node's own token acts for others", "show the key of whom you mean")
        if self._keys is not None and secret.startswith(KEY_PREFIX):
            key = self._keys.who(secret)
            return self._tickets.issue(key.principal_id, key.id, key.id, key.expires_at)
        while True:
            before = self._tickets.ended
            login = await self.check(secret)
            if self._tickets.ended == before:  # else it may have been this one, while it was looked up
                name = _name("key", secret)
                return self._tickets.issue(login.principal_id, name, None, login.expires_at)

    def require(self, ticket: Ticket) -> None:
        """Let nobody go on whose key or login has ended since they came in.

        Raises:
            LoginRequired: It has.
        """
        left = self.seconds_left(ticket)
        good = not ticket.over and (left is None or left > 0)
        if good and ticket.key_id is not None:
            good = self._keys is not None and self._keys.works(ticket.key_id)
        if not good:
            raise ended()

    def seconds_left(self, ticket: Ticket) -> float | None:
        """Until it ends by itself; None: it does not."""
        end = ticket.expires_at
        return None if end is None else (end - self._clock.now()).total_seconds()

    async def create(self, principal: PrincipalId) -> LoginCode:
        """Make a code that can be exchanged once, within ten minutes."""
        code = self._entropy.token(SECRET_BYTES).hex()
        expires = self._clock.now() + CODE_LIFE
        await self._store.put(
            _name("code", code), to_external(Login(principal_id=principal, expires_at=expires))
        )
        await self._forget_expired()
        return LoginCode(code=code, expires_at=expires)

    async def redeem(self, code: str) -> LoginKey:
        """Exchange a code for a key; the code is used up whatever happens next.

        Raises:
            LoginRequired: The code is unknown, used or too old.
        """
        key = self._entropy.token(SECRET_BYTES).hex()
        now = self._clock.now()

        def exchange(work: Transaction) -> Login | None:
            try:
                offered: Login = from_external(work.get(_name("code", code)), Login)
            except NotFound:
                return None
            work.delete(_name("code", code))
            if offered.expires_at <= now:
                return None
            login = Login(principal_id=offered.principal_id, expires_at=now + KEY_LIFE)
            work.put(_name("key", key), to_external(login))
            return login

        login = await self._store.transaction(exchange)
        if login is None:
            raise LoginRequired(
                "this login link is unknown, used or too old", "make a new one: umbrella serve prints it"
            )
        return LoginKey(key=key, login=login)

    async def check(self, key: str) -> Login:
        """Who holds a key, an API key too; one without an end is said to hold for as long as a login would.

        Raises:
            LoginRequired: Nobody (any more).
        """
        if self._keys is not None and key.startswith(KEY_PREFIX):
            found = self._keys.who(key)
            until = found.expires_at or self._clock.now() + KEY_LIFE
            return Login(principal_id=found.principal_id, expires_at=until, key_name=found.name)
        try:
            login: Login = from_external(await self._store.get(_name("key", key)), Login)
        except NotFound:
            raise LoginRequired("not logged in", "open the login link that umbrella serve prints") from None
        if login.expires_at <= self._clock.now():
            raise LoginRequired("this login has expired", "open a new login link: umbrella serve prints one")
        return login

    async def end(self, key: str) -> None:
        """Forget a key, and end what was connected by it; harmless when repeated."""
        name = _name("key", key)
        try:
            await self._store.delete(name)
        finally:  # who cannot tell whether it is gone has to show it again
            self._tickets.end(name)

    async def _forget_expired(self) -> None:
        now = self._clock.now()
        last = ""
        while names := await self._store.list_keys("login:*", after=last):
            for name in names:
                try:
                    value: Any = await self._store.get(name)
                except NotFound:
                    continue
                if datetime.fromisoformat(value["expires_at"]) <= now:
                    await self._store.delete(name)
            last = names[-1]


def _name(kind: str, secret: str) -> str:
    return f"login:{kind}:{hashlib.sha256(secret.encode()).hexdigest()}"
