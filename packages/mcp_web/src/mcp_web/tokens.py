"""Access tokens of an OAuth issuer, as a resource server takes them: signed by it, made for us, and not yet over.

Source: RFC 9068 (JWT access tokens), RFC 8707 (resource indicators); Model Context Protocol 2026-07-28, authorization:
a token that was made for somebody else must be refused.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

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
"""How soon the issuer is asked again for a key that it did not have, or when it could not be asked."""
KEYS_KEPT_S: Final = 86_400.0
"""How long keys are believed of an issuer that cannot be asked."""
FETCH_S: Final = 10.0
MAX_TOKEN: Final = 16 * 1024


class Holder(msgspec.Struct, frozen=True):
    """Whom an access token speaks for."""

    principal_id: PrincipalId
    subject: str
    ends_at: float
    """When it is over, in seconds of the epoch."""


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
        self._asked_at: float | None = None
        """When the keys were last asked for, had or not."""
        self._reading = asyncio.Lock()

    async def who(self, token: str, publication: str | None = None) -> Holder:
        """Whom a token speaks for.

        Args:
            token: As it was sent.
            publication: The virtual server it was sent to; a token may be for that one alone.

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
                audience=self._audiences(publication),
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
        ends_at = self._end_of(claims)
        subject = str(claims["sub"])
        principal = self._settings.principals.get(subject)
        if principal is None:
            raise _refused("its subject has no principal here")
        return Holder(PrincipalId(principal), subject, ends_at)

    def _audiences(self, publication: str | None) -> list[str]:
        """For whom a token may be made."""
        whole = self._settings.audience
        if publication is None or not whole.startswith(("https://", "http://")):
            return [whole]
        return [whole, resource_of(whole, publication)]

    def _end_of(self, claims: dict[str, Any]) -> float:
        now = self._clock.now().timestamp()
        try:
            end = float(claims["exp"]) + LEEWAY_S
            if not end > now:
                raise _refused("it has expired")
            if float(claims.get("nbf", 0)) - LEEWAY_S > now:
                raise _refused("it is not valid yet")
        except (TypeError, ValueError) as error:
            raise _refused("its times are no numbers") from error
        return end

    async def _key(self, name: str) -> "PyJWK":
        known = self._find(name)
        # whose key is known does not wait for an issuer that somebody else is asking about theirs
        if self._is_due(known) and not (known is not None and self._reading.locked()):
            async with self._reading:
                if self._is_due(self._find(name)):
                    await self._refresh()
            known = self._find(name)
        if known is not None:
            return known
        if self._read_at is None:
            raise WorldBroken(
                "the keys of the issuer cannot be read at present",
                "try again later; the server's log says why",
            )
        raise _refused("its issuer has no such key")

    def _is_due(self, known: "PyJWK | None") -> bool:
        """Whether the issuer is to be asked: seldom for what is known, and never at every token that comes."""
        now = self._clock.monotonic()
        if self._asked_at is None or self._read_at is None:
            return self._asked_at is None or now - self._asked_at > ASK_AGAIN_S
        stale = known is None or now - self._read_at > KEYS_FRESH_S
        return stale and now - self._asked_at > ASK_AGAIN_S

    async def _refresh(self) -> None:
        """Ask the issuer; what it said last is kept for a day while it cannot be asked."""
        self._asked_at = self._clock.monotonic()
        try:
            self._keys = await asyncio.to_thread(self._read)
        except WorldBroken as error:
            log.warning("%s", error)
            if self._read_at is not None and self._asked_at - self._read_at > KEYS_KEPT_S:
                self._keys, self._read_at = {}, None
        else:
            self._read_at = self._clock.monotonic()

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


def resource_of(whole: str, publication: str | None) -> str:
    """The URL of a virtual server below that of all of them."""
    return whole if publication is None else f"{whole.rstrip('/')}/{quote(publication, safe='')}"


def _refused(why: str) -> LoginRequired:
    return LoginRequired(f"this access token is refused: {why}", "get another one from the issuer")
