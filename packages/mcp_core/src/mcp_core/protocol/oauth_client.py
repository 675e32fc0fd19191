"""How we appear to an authorization server: as which client, by which of the SDK's flows. Imports the SDK; imported late."""

import warnings
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import AnyUrl

from mcp_core.protocol.oauth_record import Held
from mcp_interface.errors import InvalidRecord
from mcp_interface.server import Authorization

CLIENT_NAME: Final = "Umbrella"

Redirect = Callable[[str], Awaitable[None]]
Callback = Callable[[], Awaitable[AuthorizationCodeResult]]


class Draft:
    """What a run begins with and what it ends with; the SDK's `TokenStorage`.

    Args:
        held: What is kept; the run changes nothing of it.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.tokens = (
            OAuthToken(
                access_token=held.access_token,
                refresh_token=held.refresh_token or None,
                scope=held.scope or None,
            )
            if held.access_token
            else None
        )
        self.client = None if held.client is None else OAuthClientInformationFull.model_validate(held.client)
        self.fresh = False
        """Whether new tokens came."""

    async def get_tokens(self) -> OAuthToken | None:
        """What the run begins with, then what it was given."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Take what was given."""
        self.tokens, self.fresh = tokens, True

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """How we are registered."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Take how we were registered."""
        self.client = client_info


def provider(
    spec: Authorization,
    draft: Draft,
    url: str,
    redirect: Redirect | None,
    callback: Callback | None,
    return_to: str,
) -> OAuthClientProvider:
    """Make the SDK's provider for an entry.

    Args:
        spec: The entry; its references replaced.
        draft: Gets the client that was registered before, if that is the wrong one now.
        url: Of the server.
        redirect: Told the page that a person has to open.
        callback: Waits for what comes back from it.
        return_to: Where the page leads back to; empty where nobody is asked.

    Raises:
        InvalidRecord: The private key cannot be used.
    """
    if spec.grant == "client_credentials":
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", MCPDeprecationWarning
            )  # we hold the issuer fast ourselves, in `_adapt`
            return _robot(spec, draft, url)
    if spec.client_id is not None:
        draft.client = OAuthClientInformationFull(
            client_id=spec.client_id,
            client_secret=spec.client_secret,
            redirect_uris=[AnyUrl(return_to)] if return_to else None,
            token_endpoint_auth_method="client_secret_basic" if spec.client_secret else "none",
        )
    elif (
        return_to and draft.client is not None and return_to not in map(str, draft.client.redirect_uris or ())
    ):
        draft.client = None  # registered for another place to lead back to
    metadata = OAuthClientMetadata(
        client_name=CLIENT_NAME,
        redirect_uris=[AnyUrl(return_to)] if return_to else None,
        scope=" ".join(spec.scopes) or None,
        application_type="native" if urlsplit(return_to).scheme != "https" else "web",
    )
    return OAuthClientProvider(url, metadata, draft, redirect, callback, spec.client_metadata_url)


def _robot(spec: Authorization, draft: Draft, url: str) -> OAuthClientProvider:
    client, scope = spec.client_id or "", " ".join(spec.scopes) or None
    if spec.private_key is None:
        return ClientCredentialsOAuthProvider(
            url, draft, client, spec.client_secret or "", scope=scope, issuer=spec.issuer
        )
    signed = SignedJWTParameters(
        issuer=client,
        subject=client,
        signing_key=spec.private_key,
        signing_algorithm=_algorithm(spec.private_key),
    )
    return PrivateKeyJWTOAuthProvider(
        url, draft, client, signed.create_assertion_provider(), scope=scope, issuer=spec.issuer
    )


def _algorithm(key: str) -> str:
    """How a private key signs.

    Raises:
        InvalidRecord: It is none, or of a kind that JWTs do not know.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        loaded = None
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    curve = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in curve:
        return curve[loaded.curve.name]
    raise InvalidRecord(
        "private_key", "the private key cannot be used", "give an RSA, EC or Ed25519 key as PEM"
    )
