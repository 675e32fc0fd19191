"""One person's login at one server: kept, renewed, begun and finished. Loads the SDK only when it has to ask.

Renewing runs in a task of its own, once for everybody who waits: whoever is cancelled meanwhile loses no token,
and two connections never spend the same refresh token twice. New tokens are durable before anybody uses them.
"""

import asyncio
import hmac
import importlib
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from mcp_core.protocol.oauth_record import Held, decode, encode, ending, secret_name
from mcp_core.protocol.oauth_rules import (
    MAX_SCOPES,
    Challenge,
    LoginNeeded,
    Returned,
    login_needed,
    require_page,
    require_return,
    returned,
    secret_in,
)
from mcp_interface.clock import Clock
from mcp_interface.errors import (
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    ServerUnavailable,
    StorageCorrupt,
    UmbrellaError,
    WrongState,
)
from mcp_interface.ids import PrincipalId
from mcp_interface.secret import Vault
from mcp_interface.server import Authorization, ServerSpec

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

LOGIN_SECONDS: Final = 900.0
"""How long a person may take."""
ANSWER_SECONDS: Final = 90.0
"""For one run of the flow as far as no person is waited for."""


class Account:
    """What one person holds at one server.

    Args:
        vault: Where it is kept.
        clock: Says when a token ends.
        person: Whose it is.
        name: The server's name here.
        spec: Its entry, with its references replaced but for those in `auth`, which are read here.
    """

    def __init__(self, vault: Vault, clock: Clock, person: PrincipalId, name: str, spec: ServerSpec) -> None:
        self.spec = spec
        self._vault = vault
        self._clock = clock
        self._name = name
        self._secret = secret_name(person, name)
        self._held: Held | None = None
        self._unsaved = False
        self._changing = asyncio.Lock()
        self._renewal: asyncio.Task[str] | None = None
        self._challenge: Challenge | None = None
        self._login: _Login | None = None

    # -- for the transport -------------------------------------------------------------------------------

    async def token(self) -> str:
        """The access token to show, renewed if it is about to end; empty when there is none.

        Raises:
            LoginNeeded: It cannot be renewed any more.
            ServerUnavailable: The authorization server does not answer.
        """
        held = await self._load()
        now = self._clock.now()
        if not held.due(now) or not (held.refresh_token or self._alone):
            return held.access_token
        try:
            return await self._renewed(None, held.access_token)
        except LoginNeeded:
            raise
        except ServerUnavailable:
            if held.expires_at is None or now >= held.expires_at:
                raise
            return held.access_token  # it is good for a little longer, and by then they may be back

    async def refused(self, said: Challenge, used: str) -> str:
        """Another token, after the server did not take this one; an empty one when it did not see any.

        Raises:
            LoginNeeded: A person has to log in, or to grant more.
            NotPermitted: The server wants what was granted already, so that asking again cannot help.
            ServerUnavailable: The authorization server does not answer.
        """
        held = await self._load()
        if held.access_token and held.access_token != used:
            return held.access_token  # renewed meanwhile
        self._challenge = said
        if said.widens:
            self._require_wider(held, said)
        if self._alone or (held.refresh_token and not said.widens):
            return await self._renewed(said, used)
        raise login_needed(self._name, said.scopes or frozenset(), wider=said.widens)

    def still_refused(self, said: Challenge) -> UmbrellaError:
        """The error for a server that does not take a fresh token either."""
        self._challenge = said
        if said.widens or self._alone:
            return NotPermitted(
                f"server {self._name!r} refuses a token that it was just given for"
                f"{''.join(f' {scope}' for scope in sorted(said.scopes or ()))}",
                "ask its authors, or for more rights there",
                {"server": self._name},
            )
        return login_needed(self._name, said.scopes or frozenset())

    def is_for(self, scheme: str, netloc: str) -> bool:
        """Whether requests to this origin are shown the token; https on the same host is, too."""
        mine = urlsplit(self._url.lower())
        return (scheme, netloc) in ((mine.scheme, mine.netloc), ("https", mine.hostname or ""))

    @property
    def _alone(self) -> bool:
        """Whether this login needs no person."""
        return self._wish.grant == "client_credentials"

    @property
    def _wish(self) -> Authorization:
        return self.spec.auth or Authorization()

    @property
    def _url(self) -> str:
        return self.spec.url or ""

    def _require_wider(self, held: Held, said: Challenge) -> None:
        wanted = said.scopes or frozenset()
        if (
            not wanted
            or (held.access_token and wanted <= held.scopes)
            or len(wanted | held.scopes) > MAX_SCOPES
        ):
            raise NotPermitted(
                f"server {self._name!r} refuses although {' '.join(sorted(wanted)) or 'all it names'} was granted",
                "ask its authors, or for more rights there",
                {"server": self._name},
            )

    # -- renewing ----------------------------------------------------------------------------------------

    async def _renewed(self, said: Challenge | None, used: str) -> str:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(said, used), name=f"oauth {self._name}")
            self._renewal.add_done_callback(_seen)
        return await asyncio.shield(self._renewal)

    async def _renew(self, said: Challenge | None, used: str) -> str:
        async with self._changing:
            held = await self._load()
            if held.access_token != used:
                return held.access_token
            flow = await _flow()
            run = flow.Run(self._name, await self._resolved(), held)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    fresh = await (run.obtain(said or Challenge(401)) if self._alone else run.renew())
            except TimeoutError:
                raise _silent(self._name) from None
            except flow.TokensRefused as error:
                if self._alone:
                    raise ServerUnavailable(
                        error.message, "mend client_id, client_secret or scopes"
                    ) from None
                await self._keep(held.without_tokens())
                log.info("the login at server %s has ended: %s", self._name, error.message)
                raise login_needed(self._name) from None
            await self._keep_fresh(fresh, run.expires_in)
            return str(fresh.access_token)

    async def _keep_fresh(self, fresh: Held, seconds: float | None) -> None:
        expires_at, renew_at = ending(self._clock.now(), seconds)
        await self._keep(msgspec.structs.replace(fresh, expires_at=expires_at, renew_at=renew_at))

    async def _load(self) -> Held:
        if self._held is None:
            try:
                self._held = decode(await self._vault.get(self._secret), self._name)
            except NotFound:
                self._held = Held(url=self._url)
        if self._held.url != self._url:
            self._held = Held(url=self._url)  # another server has this name now: it is shown nothing
        if self._unsaved:
            await self._keep(self._held)
        return self._held

    async def _keep(self, held: Held) -> None:
        self._held, self._unsaved = held, True  # even a full disk must not lose what cannot be got again
        await self._vault.put(self._secret, encode(held))
        self._unsaved = False

    async def _resolved(self) -> Authorization:
        wish = self._wish
        found = {
            field: await self._vault.get(secret_in(reference, f"auth.{field}"))
            for field in ("client_secret", "private_key")
            if (reference := getattr(wish, field)) is not None
        }
        return msgspec.structs.replace(wish, **found)

    # -- logging in --------------------------------------------------------------------------------------

    async def begin(self, return_to: str) -> str:
        """Begin a login, in place of one that was begun before; answers with the page to open.

        Raises:
            CallerMistaken: The page cannot lead back there.
            WrongState: This server's login needs no person.
            NotPermitted: What the servers say about the login is not as it must be.
            ServerUnavailable: They do not answer, or offer no login.
        """
        if self._alone:
            raise WrongState(f"server {self._name!r} is logged in to without a person", "just use it")
        return_to = self._wish.redirect_url or return_to
        require_return(return_to)
        await self.give_up()
        login = self._login = _Login()
        login.task = asyncio.create_task(self._log_in(login, return_to), name=f"login {self._name}")
        login.task.add_done_callback(_seen)
        either: set[asyncio.Future[Any]] = {login.page, login.task}
        await asyncio.wait(either, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if login.page.done():
            return login.page.result()
        login.task.cancel()
        await asyncio.wait({login.task})
        if login.task.cancelled():
            raise _silent(self._name)
        login.task.result()
        raise WrongState(f"server {self._name!r} is logged in to already", "just use it")

    async def finish(self, url: str) -> None:
        """Hand over what came back from the page; answers when the tokens are durable.

        What does not belong to the login that was begun is refused, and leaves that login open.

        Raises:
            CallerMistaken: It is not what a login leads back to.
            NotFound: No login was begun, or it took too long.
            NotPermitted: It belongs to another login; or the login was declined.
            ServerUnavailable: The authorization server does not answer.
        """
        came = returned(url)
        login = self._login
        if login is None or login.task is None or login.task.done() or not login.page.done():
            raise NotFound(
                f"no login to server {self._name!r} is open", f"begin: umbrella mcp login {self._name}"
            )
        if not login.is_of(came):
            raise NotPermitted(
                f"that belongs to another login than the one to server {self._name!r} that is open",
                "open the page of this login, or begin again",
            )
        if came.error:
            await self.give_up()
            raise NotPermitted(
                f"the login to server {self._name!r} was declined: {came.error[:100]!r}", "begin again"
            )
        if not login.answer.done():
            login.answer.set_result(came)
        await asyncio.wait({login.task}, timeout=ANSWER_SECONDS)
        if not login.task.done():
            raise _silent(self._name)
        login.task.result()
        if self._login is login:
            self._login = None

    async def give_up(self) -> None:
        """End a login that was begun; harmless when there is none."""
        login, self._login = self._login, None
        if login is not None and login.task is not None:
            login.task.cancel()
            await asyncio.wait({login.task})

    async def forget(self) -> None:
        """Lose everything that is kept."""
        await self.give_up()
        async with self._changing:
            self._held, self._unsaved = Held(url=self._url), False
            await self._vault.remove(self._secret)

    async def _log_in(self, login: "_Login", return_to: str) -> None:
        flow = await _flow()
        try:
            held = await self._load()
        except StorageCorrupt:
            held = Held(url=self._url)  # a new login is what mends it
        said = self._challenge or await flow.ask(self._name, self.spec)
        run = flow.Run(
            self._name,
            await self._resolved(),
            held,
            redirect=login.show,
            callback=login.wait,
            return_to=return_to,
        )
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                fresh = await run.obtain(said)
        except flow.TokensRefused as error:
            raise NotPermitted(error.message, "begin the login again") from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"nobody finished the login to server {self._name!r}", "begin again"
            ) from None
        async with self._changing:
            await self._keep_fresh(fresh, run.expires_in)
        self._challenge = None


class _Login:
    """One login from its page to what comes back."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.page: asyncio.Future[str] = loop.create_future()
        self.answer: asyncio.Future[Returned] = loop.create_future()
        self.task: asyncio.Task[None] | None = None

    async def show(self, page: str) -> None:
        """Hand out the page."""
        require_page(page)
        self.page.set_result(page)

    def is_of(self, came: Returned) -> bool:
        """Whether what came back belongs to this page."""
        mine = parse_qs(urlsplit(self.page.result()).query).get("state", [""])[-1]
        return bool(mine) and hmac.compare_digest(mine.encode(), came.state.encode())

    async def wait(self) -> "object":
        """Wait for what comes back, as the SDK wants it."""
        from mcp.shared.auth import AuthorizationCodeResult

        came = await self.answer
        return AuthorizationCodeResult(code=came.code, state=came.state, iss=came.issuer)


async def _flow() -> "ModuleType":
    # In a thread: importing the SDK takes seconds, which the event loop does not have.
    return await asyncio.to_thread(importlib.import_module, "mcp_core.protocol.oauth_flow")


def _silent(name: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"the authorization server of {name!r} did not answer in {ANSWER_SECONDS:g} s",
        "try again later",
        {"server": name},
    )


def _seen(task: "asyncio.Task[object]") -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has it; when nobody did, it is no news
