"""Access tokens, when the issuer is away, changes its keys, or is asked for keys that it never had."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mcp_core import McpSettings, OAuthSettings
from mcp_interface.errors import LoginRequired, WorldBroken
from mcp_interface.testing import ManualClock
from mcp_web.clients import Clients
from mcp_web.entrance import Entrance
from mcp_web.tokens import ASK_AGAIN_S, KEYS_FRESH_S, KEYS_KEPT_S, LEEWAY_S, AccessTokens

KNOWN = "user_" + "b" * 32
AUDIENCE, ISSUER = "https://example.org/mcp", "https://issuer.example.org"


class Issuer:
    """An issuer whose keys lie in a file, and who can be away."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "a-private-place.json"
        self._clock = clock
        self.settings = OAuthSettings(
            issuer=ISSUER, audience=AUDIENCE, jwks=str(self.file), principals={"ann": KNOWN}
        )
        self.tokens = AccessTokens(self.settings, clock)
        self.reads = 0
        read: Any = self.tokens._read

        def counted() -> Any:
            self.reads += 1
            return read()

        self.tokens._read = counted  # type: ignore[method-assign]

    def be_there(self) -> None:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._private.public_key()))
        self.file.write_text(json.dumps({"keys": [{**public, "kid": "one", "alg": "ES256"}]}))

    def token(self, kid: str = "one", seconds: float = 1_000_000) -> str:
        end = self._clock.now().timestamp() + seconds
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": end}
        return jwt.encode(claims, self._private, algorithm="ES256", headers={"kid": kid})


@pytest.fixture
def issuer(tmp_path: Path, clock: ManualClock) -> Issuer:
    return Issuer(tmp_path, clock)


def test_an_issuer_that_is_away_is_asked_seldom_and_its_place_is_told_nobody(
    issuer: Issuer, clock: ManualClock
) -> None:
    async def scenario() -> None:
        for _ in range(50):
            with pytest.raises(WorldBroken) as caught:
                await issuer.tokens.who(issuer.token())
            assert "private-place" not in f"{caught.value} {caught.value.remedy}"
        assert issuer.reads == 1
        clock.advance(ASK_AGAIN_S + 1)
        issuer.be_there()
        assert (await issuer.tokens.who(issuer.token())).principal_id == KNOWN
        assert issuer.reads == 2

    asyncio.run(scenario())


def test_known_keys_are_kept_while_the_issuer_is_away_but_not_for_ever(
    issuer: Issuer, clock: ManualClock
) -> None:
    async def scenario() -> None:
        issuer.be_there()
        await issuer.tokens.who(issuer.token())
        issuer.file.unlink()
        clock.advance(KEYS_FRESH_S + 1)
        for number in range(50):
            assert (await issuer.tokens.who(issuer.token())).subject == "ann"
            with pytest.raises(LoginRequired, match="no such key"):
                await issuer.tokens.who(issuer.token(f"junk-{number}"))
        assert issuer.reads == 2
        clock.advance(KEYS_KEPT_S)
        with pytest.raises(WorldBroken):
            await issuer.tokens.who(issuer.token())

    asyncio.run(scenario())


def test_a_known_key_does_not_wait_for_one_that_is_looked_for(issuer: Issuer, clock: ManualClock) -> None:
    async def scenario() -> None:
        issuer.be_there()
        await issuer.tokens.who(issuer.token())
        clock.advance(KEYS_FRESH_S + 1)
        async with issuer.tokens._reading, asyncio.timeout(20):
            assert (await issuer.tokens.who(issuer.token())).subject == "ann"

    asyncio.run(scenario())


def test_an_open_stream_does_not_outlive_its_access_token(
    issuer: Issuer, clock: ManualClock, door: Any
) -> None:
    async def scenario() -> None:
        issuer.be_there()
        entrance = Entrance(door, Clients(door, clock), McpSettings(), issuer.settings, clock, loopback=True)
        shown = f"Bearer {issuer.token(seconds=60)}".encode()
        scope = {"type": "http", "headers": [(b"authorization", shown)], "client": ("127.0.0.1", 1)}
        identity = await entrance.identify(scope)
        assert await entrance.still(identity)
        clock.advance(60 + LEEWAY_S)
        assert not await entrance.still(identity)

    asyncio.run(scenario())
