"""The node's variables and keys, and the models they open: chosen when needed, kept while nothing changes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from mcp_core.providers.cards import Cards
from mcp_core.providers.discovery import LOOK_S, OLLAMA_URL, Discovery
from mcp_core.providers.discovery import SWITCH as DISCOVER
from mcp_core.providers.fallback import VARIABLE as FALLBACK
from mcp_core.providers.fallback import FallbackProvider, Link, fallback_names
from mcp_core.providers.keys import KeyRing
from mcp_core.providers.selection import (
    VENDORS,
    ListingProvider,
    ProviderChoice,
    choose,
    configured,
    make_provider,
)
from mcp_core.settings import ModelSettings, Settings, read_models
from mcp_interface.clock import Clock, SystemClock
from mcp_interface.commands import ModelStatus
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import Finished, ModelInfo, Provider
from mcp_interface.secret import Vault

log = logging.getLogger(__name__)

MOST: Final = 16
"""Providers kept ready."""
MOST_LISTED: Final = 2000
"""Models in one list."""
_LISTING_S: Final = 10.0
"""Seconds that one endpoint has to list its models for a person."""
_TELLING_S: Final = 2.0
"""Seconds that one has to say how much a model reads before it is asked without knowing that."""
_SILENT_S: Final = 60.0
"""Seconds for which one that did not say is not asked again."""


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be asked now."""

    provider: Provider
    model: str
    """Its own name, as its provider wants it."""
    info: ModelInfo
    others: Sequence[ModelInfo] = ()
    """Those behind it, which may answer instead."""

    def answered_by(self, finished: Finished) -> ModelInfo:
        """Who gave an answer, for what it costs: the chosen model, or one of those behind it."""
        if not finished.provider:
            return self.info
        known = [info for info in (self.info, *self.others) if info.provider == finished.provider]
        for info in known:
            if info.name.partition(":")[2] == finished.model:
                return info
        # An endpoint may answer with the dated name of what it was asked for.
        near = [info for info in known if finished.model.startswith(info.name.partition(":")[2])]
        found = near or known
        return max(found, key=lambda info: len(info.name)) if found else self.info


class Lender:
    """Gives providers by model name.

    Args:
        environ: Where the node's variables begin; clients may lend more.
        vault: Has keys that the variables lack; None has none.
        settings: What the owner's files say; variables count before it.
        clock: Waits between attempts, and says what is old.
        here: Where models of this machine are looked for; empty: nowhere.
        look_s: Seconds that looking there may take.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        vault: Vault | None = None,
        settings: ModelSettings | None = None,
        clock: Clock | None = None,
        here: str = OLLAMA_URL,
        look_s: float = LOOK_S,
    ) -> None:
        self.variables = dict(environ)
        """Live: MCP servers read their references here too. Never logged, never journaled."""
        settings = settings or ModelSettings()
        self._files = {
            "UMBRELLA_MODEL": settings.default,
            FALLBACK: ", ".join(settings.fallback),
            DISCOVER: "" if settings.discover else "0",
        }
        self._keys = KeyRing(vault)
        self._cards = Cards(settings.cards)
        self._clock = clock or SystemClock()
        self._discovery = Discovery(here, self._clock, look_s)
        self._made: dict[ProviderChoice, ListingProvider] = {}
        self._told: dict[ProviderChoice, dict[str, ModelInfo]] = {}
        self._silent: dict[ProviderChoice, float] = {}

    def __repr__(self) -> str:
        return "Lender(…)"

    def lend(self, variables: Mapping[str, str]) -> None:
        """Take variables; an empty value removes one."""
        for name, value in variables.items():
            if value:
                self.variables[name] = value
            else:
                self.variables.pop(name, None)

    async def lend_model(self, model: str) -> Lent:
        """What a session's model choice means now, with the models behind it.

        Raises:
            ModelUnavailable: None is configured; the remedy says what to set.
        """
        variables = await self._keys.filled(self._all())
        behind = fallback_names(variables)
        links: list[Link] = []
        first: ModelUnavailable | None = None
        for name in (model, *behind):
            try:
                link = await self._link(variables, name)
            except ModelUnavailable as error:
                first = first or error
                continue
            if all(link.info.name != known.info.name for known in links):
                links.append(link)
        if not links:
            assert first is not None
            raise first
        chosen = links[0]
        provider = FallbackProvider(links) if behind else chosen.provider
        others = [link.info for link in links[1:]]
        return Lent(provider=provider, model=chosen.model, info=chosen.info, others=others)

    async def list_models(self) -> list[ModelInfo]:
        """Every model that a session can choose now, the default first; an endpoint that fails hides no other.

        Raises:
            ModelUnavailable: Endpoints are configured, and none of them lists anything.
        """
        variables = await self._keys.filled(self._all())
        default, endpoints, failures = await self._endpoints(variables)
        lists = await asyncio.gather(*(self._list(each) for each in endpoints), return_exceptions=True)
        found: dict[str, ModelInfo] = {}
        for choice, listed in zip(endpoints, lists, strict=True):
            if isinstance(listed, ModelUnavailable):
                log.info("the models of %s cannot be listed: %s", choice.source, listed.message)
                failures.append(listed)
            elif isinstance(listed, BaseException):
                raise listed
            told = _by_name(listed) if isinstance(listed, list) else {}
            if choice.model and choice.model not in told:  # is configured, whether it can be listed or not
                told = {choice.model: ModelInfo(name=choice.model, default=True), **told}
            for name, said in told.items():
                info = self._info(choice, name, said)
                info = msgspec.structs.replace(info, default=said.default and choice is default)
                found.setdefault(info.name, info)
        if failures and not found:
            raise failures[0]
        ordered = sorted(found.values(), key=lambda info: not info.default)  # stable
        return ordered[:MOST_LISTED]

    async def look(self) -> None:
        """Look for models on this machine, so that `status` knows of them; only where they would be taken."""
        if self._looks(self._keys.marked(self._all()), ""):
            await self._discovery.look(self._all())

    def status(self) -> ModelStatus:
        """Whether a model is configured or was found; nothing is sent to it."""
        variables, refused = self._keys.marked(self._all()), None
        for name in ("", *fallback_names(variables)):
            try:
                choice = self._choose(variables, name)
            except ModelUnavailable as error:
                refused = refused or error
            else:
                return ModelStatus(ready=True, provider=choice.source, model=choice.model)
        return ModelStatus(ready=False, hint=refused.remedy if refused is not None else "")

    def _all(self) -> dict[str, str]:
        """The variables, and what the files say where they say nothing."""
        said = {name: value for name, value in self.variables.items() if value.strip()}
        return {**self._files, **said}

    def _choose(self, variables: Mapping[str, str], model: str) -> ProviderChoice:
        here = self._discovery.url(variables)
        return choose(variables, model, here=here, found=self._discovery.found if here else ())

    @staticmethod
    def _looks(variables: Mapping[str, str], model: str) -> bool:
        """Whether a name can mean a model of this machine."""
        named = model.strip() or variables.get("UMBRELLA_MODEL", "").strip()
        try:
            elsewhere = any(configured(variables, vendor) is not None for vendor in VENDORS)
        except ModelUnavailable:
            elsewhere = True  # wrongly, which is said when it is used
        return named.startswith("ollama:") or not elsewhere

    async def _link(self, variables: Mapping[str, str], model: str) -> Link:
        if self._looks(variables, model):
            await self._discovery.look(variables)
        choice = self._choose(variables, model)
        provider = await self._provider(choice)
        name = choice.model or await provider.default()
        info = self._info(choice, name, await self._tell(choice, provider, name))
        return Link(provider=provider, model=name, info=info)

    async def _provider(self, choice: ProviderChoice) -> ListingProvider:
        if choice not in self._made:
            if len(self._made) >= MOST:
                for kept in (self._made, self._told, self._silent):
                    kept.clear()
            # In a thread: the first use of a vendor's SDK imports it, a second in which nothing else would move.
            self._made[choice] = await asyncio.to_thread(make_provider, choice, self._clock)
        return self._made[choice]

    def _info(self, choice: ProviderChoice, model: str, told: ModelInfo | None) -> ModelInfo:
        return self._cards.info(choice.source, model, official=choice.official, told=told)

    async def _tell(self, choice: ProviderChoice, provider: ListingProvider, model: str) -> ModelInfo | None:
        """What the endpoint says of a model of which nothing else is known; asked for once, and not waited for long."""
        known = self._told.get(choice, {}).get(model)
        if known is not None or self._info(choice, model, None).context_tokens is not None:
            return known
        now = self._clock.monotonic()
        if choice.vendor == "scripted" or choice in self._told or now < self._silent.get(choice, 0.0):
            return None
        try:
            async with asyncio.timeout(_TELLING_S):
                self._told[choice] = _by_name(await provider.listed())
        except (ModelUnavailable, TimeoutError):
            self._silent[choice] = now + _SILENT_S
            return None
        return self._told[choice].get(model)

    async def _endpoints(
        self, variables: Mapping[str, str]
    ) -> tuple[ProviderChoice | None, list[ProviderChoice], list[ModelUnavailable]]:
        """The default, each endpoint that can be asked, and what is wrong with those that cannot."""
        found = await self._discovery.look(variables)
        endpoints: list[ProviderChoice] = []
        failures: list[ModelUnavailable] = []
        for vendor in VENDORS:
            try:
                choice = configured(variables, vendor)
            except ModelUnavailable as error:
                failures.append(error)
            else:
                endpoints += [] if choice is None else [choice]
        if found:
            here = self._discovery.url(variables)
            endpoints.append(ProviderChoice(vendor="openai", base_url=here, local=True))
        try:
            default: ProviderChoice | None = self._choose(variables, "")
        except ModelUnavailable:
            return None, endpoints, failures
        # The default's endpoint with the default's model, so that it comes first of its list.
        kept = [each for each in endpoints if each.source != getattr(default, "source", None)]
        return default, [*([default] if default is not None else []), *kept], failures

    async def _list(self, choice: ProviderChoice) -> list[ModelInfo]:
        provider = await self._provider(choice)
        try:
            async with asyncio.timeout(_LISTING_S):
                listed = await provider.listed()
        except TimeoutError:
            raise ModelUnavailable(
                f"the models of {choice.source} were not listed in time", "try again", {"kind": "timeout"}
            ) from None
        self._told[choice] = _by_name(listed)
        return listed


async def open_lender(settings: Settings, vault: Vault, clock: Clock) -> Lender:
    """The lender of a node: over its variables, what its owner's files say, its vault, and what this machine offers.

    Raises:
        CallerMistaken: A file of settings breaks a rule.
    """
    told = read_models(settings.data_dir, settings.environ)
    models = Lender(settings.environ, vault=vault, settings=told, clock=clock)
    await models.look()
    return models


def _by_name(infos: Sequence[ModelInfo]) -> dict[str, ModelInfo]:
    return {info.name: info for info in infos}
