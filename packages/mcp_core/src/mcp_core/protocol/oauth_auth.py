"""Shows an account's token on every request of a transport. Imports httpx2; imported late.

Nothing is locked while a request is under way: a slow call does not hold up the others.
"""

from collections.abc import AsyncGenerator

import httpx2

from mcp_core.protocol.oauth_account import Account
from mcp_core.protocol.oauth_rules import Challenge, challenge


class TokenAuth(httpx2.Auth):
    """The account's token as `Authorization`; another one is tried once when the server does not take it.

    Args:
        account: Whose token.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send a request with a token, and once again with a better one.

        Raises:
            LoginNeeded: A person has to log in first.
            UmbrellaError: As `Account.token` and `Account.refused`.
        """
        if not self._account.is_for(request.url.scheme, request.url.netloc.decode()):
            yield request
            return
        token = await self._account.token()
        response = yield _with(request, token)
        said = _challenge(request, response)
        if said is None:
            return
        response = yield _with(request, await self._account.refused(said, token))
        said = _challenge(request, response)
        if said is not None:
            raise self._account.still_refused(said)


def _with(request: httpx2.Request, token: str) -> httpx2.Request:
    if token:
        request.headers["authorization"] = f"Bearer {token}"
    return request


def _challenge(request: httpx2.Request, response: httpx2.Response) -> Challenge | None:
    header = response.headers.get("www-authenticate", "")
    return challenge(response.status_code, header, request.headers.get("mcp-protocol-version", ""))
