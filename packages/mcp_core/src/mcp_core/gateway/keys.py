"""API keys: secrets by which programs come in, each with the rights of one principal.

A secret is shown once and kept as its hash. Secrets are random, so a plain hash is enough: there is nothing to guess.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec

from mcp_core.gateway.access import Access, AccessState
from mcp_interface.clock import Clock, Entropy, Instant
from mcp_interface.errors import CallerMistaken, LoginRequired, NotFound, TooMuch
from mcp_interface.events import AccessEvent, KeyCreated, KeyRevoked
from mcp_interface.ids import KeyId, PrincipalId, new_id
from mcp_interface.key import KEY_PREFIX, ApiKey, NewKey

SECRET_BYTES: Final = 32
MAX_KEYS: Final = 1_000
_NOT_YET: Final = "make one with: umbrella key create NAME"


class Keys:
    """The keys of one node.

    Args:
        access: Remembers them.
        clock: For their ends, and when they were used.
        entropy: Makes ids and secrets.
    """

    def __init__(self, access: Access, clock: Clock, entropy: Entropy) -> None:
        self._access = access
        self._clock = clock
        self._entropy = entropy
        self._used: dict[KeyId, Instant] = {}
        """To the minute; in memory, because a journal entry for each use would cost more than it tells."""
        self._on_revoked: list[Callable[[KeyId], None]] = []

    def listen(self, on_revoked: Callable[[KeyId], None]) -> None:
        """Call a function with each key that is revoked."""
        self._on_revoked.append(on_revoked)

    async def create(
        self, name: str, principal: PrincipalId, expires_in: timedelta | None, by: PrincipalId
    ) -> NewKey:
        """Make a key; durable when this returns.

        Raises:
            CallerMistaken: A key that works has this name already, or it would end beyond time.
            TooMuch: There are too many.
        """
        now = self._clock.now()
        try:
            expires = None if expires_in is None else now + expires_in
        except OverflowError as error:
            raise CallerMistaken("the key would end beyond all time", "leave the end out") from error
        secret = KEY_PREFIX + self._entropy.token(SECRET_BYTES).hex()
        key = ApiKey(
            id=KeyId(new_id("key", self._entropy)),
            name=name,
            principal_id=principal,
            created_at=now,
            expires_at=expires,
        )

        def decide(state: AccessState) -> list[AccessEvent]:
            live = [known for known in state.keys.values() if not self._is_over(known)]
            if any(known.name == name for known in live):
                raise CallerMistaken(f"a key named {name!r} exists", "take another name, or revoke that one")
            if len(live) >= MAX_KEYS:
                raise TooMuch(f"there are {MAX_KEYS} keys", "revoke some: umbrella key list")
            return [KeyCreated(timestamp=now, key=key, digest=_digest(secret), by=by)]

        await self._access.decide(decide)
        return NewKey(secret=secret, key=key)

    def listed(self) -> list[ApiKey]:
        """Those that work, oldest first."""
        return [
            msgspec.structs.replace(key, last_used_at=self._used.get(key.id))
            for key in self._access.state.keys.values()
            if not self._is_over(key)
        ]

    async def revoke(self, named: str, by: PrincipalId) -> ApiKey:
        """Make a key useless at once, also where it was used to connect.

        Args:
            named: Its id, or its name.
            by: Who does it.

        Raises:
            NotFound: None that works is named so.
            CallerMistaken: Several are.
        """
        fits = [key for key in self.listed() if named in {key.id, key.name}]
        if not fits:
            raise NotFound(f"no key {named[:100]!r}", "list them: umbrella key list")
        if len(fits) > 1:
            raise CallerMistaken(f"{len(fits)} keys are named {named!r}", "give the id")
        key = fits[0]
        event = KeyRevoked(timestamp=self._clock.now(), key_id=key.id, by=by)
        try:
            await self._access.decide(lambda state: [event] if key.id in state.keys else [])
        finally:  # whoever asked may have left meanwhile
            if not self.works(key.id):
                for tell in self._on_revoked:
                    tell(key.id)
        return key

    def works(self, key_id: KeyId) -> bool:
        """Whether a key was neither revoked nor has expired."""
        key = self._access.state.keys.get(key_id)
        return key is not None and not self._is_over(key)

    def who(self, secret: str) -> ApiKey:
        """The key of a secret; notes that it was used.

        Raises:
            LoginRequired: It opens nothing (any more).
        """
        state = self._access.state
        key = state.keys.get(state.digests.get(_digest(secret), KeyId("")))
        if key is None:
            raise LoginRequired("this key is unknown or was revoked", _NOT_YET)
        if self._is_over(key):
            raise LoginRequired(f"the key {key.name!r} has expired", _NOT_YET)
        self._used[key.id] = self._clock.now().replace(second=0, microsecond=0)
        return key

    def _is_over(self, key: ApiKey) -> bool:
        return key.expires_at is not None and key.expires_at <= self._clock.now()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
