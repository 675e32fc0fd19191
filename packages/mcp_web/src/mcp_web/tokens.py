"""Access tokens of an OAuth issuer, as a resource server takes them: signed by it, made for us, and not yet over.

Source: RFC 9068 (JWT access tokens), RFC 8707 (resource indicators); Model Context Protocol 2026-07-28, authorization:
a token that was made for somebody else must be refused.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp_core import OAuthSettings
from mcp_interface.clock import Clock
from mcp_interface.errors import LoginRequired, WorldBroken
from mcp_interface.ids import PrincipalId

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures only: with a shared secret, whoever can check a token can make one."""
LEEWAY_S: Final = 30.0
KEYS_FRESH_S: Final = 600.0
ASK_AGAIN_S: Final = 30.0
"""How soon the issuer is asked again for a key that it did not have."""
FETCH_S: Final = 10.0
MAX_TOKEN: Final = 16 * 1024


class AccessTokens:
    """Checks access tokens.

    Args:
        settings: Whose, and for what.
        clock: Says when they are over.
    """

    def __init__(self, settings: OAuthSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def who(self, token: str) -> tuple[PrincipalId, str]:
        """The principal and the subject of a token.

        Raises:
            LoginRequired: It is none of the issuer's, is not made for us, is over, or its subject is not known here.
            WorldBroken: The issuer's keys cannot be read.
        """
        import jwt

        if len(token) > MAX_TOKEN:
            raise _refused("it is too long")
        try:
            head = jwt.get_unverified_header(token)
            key = await self._key(str(head.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,  # by our own clock, below
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise _refused(str(error)) from error
        self._check_times(claims)
        subject = str(claims["sub"])
        principal = self._settings.principals.get(subject)
        if principal is None:
            raise _refused("its subject has no principal here")
        return PrincipalId(principal), subject

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        try:
            if float(claims["exp"]) + LEEWAY_S <= now:
                raise _refused("it has expired")
            if float(claims.get("nbf", 0)) - LEEWAY_S > now:
                raise _refused("it is not valid yet")
        except (TypeError, ValueError) as error:
            raise _refused("its times are no numbers") from error

    async def _key(self, name: str) -> "PyJWK":
        async with self._reading:
            age = None if self._read_at is None else self._clock.monotonic() - self._read_at
            known = self._find(name)
            if age is None or age > KEYS_FRESH_S or (known is None and age > ASK_AGAIN_S):
                self._keys = await asyncio.to_thread(self._read)
                self._read_at = self._clock.monotonic()
                known = self._find(name)
        if known is None:
            raise _refused("its issuer has no such key")
        return known

    def _find(self, name: str) -> "PyJWK | None":
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    def _read(self) -> "dict[str, PyJWK]":
        import jwt

        place = self._settings.jwks
        try:
            if place.startswith("/"):
                data = json.loads(Path(place).read_text("utf-8"))
            else:
                data = jwt.PyJWKClient(place, timeout=FETCH_S).fetch_data()
            found = jwt.PyJWKSet.from_dict(data)
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise WorldBroken(
                f"the issuer's keys cannot be read from {place}: {error}", "see [oauth] jwks in config.toml"
            ) from error
        return {key.key_id or "": key for key in found.keys}


def _refused(why: str) -> LoginRequired:
    return LoginRequired(f"this access token is refused: {why}", "get another one from the issuer")
