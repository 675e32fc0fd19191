"""Which model is meant, from environment variables and a name; then the provider for it.

`choose` is pure. A name may begin with `openai:`, `anthropic:`, `ollama:` (this machine's) or `scripted:` (a file of
answers); without any, the vendor that is configured counts, and where none is, what was found on this machine. Only
`make_provider` loads a vendor's SDK.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from mcp_core.providers.addresses import is_official
from mcp_core.providers.scripted import ScriptedFile
from mcp_interface.clock import Clock, SystemClock
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import ModelInfo, Provider

Vendor = Literal["openai", "anthropic"]
Source = Literal["openai", "anthropic", "ollama", "scripted"]

VENDORS: Final[tuple[Vendor, ...]] = ("openai", "anthropic")
SOURCES: Final[tuple[Source, ...]] = ("openai", "anthropic", "ollama", "scripted")
HOW_TO_SET: Final = (
    "keep a key: umbrella secret set OPENAI_API_KEY, or ANTHROPIC_API_KEY; or set the variable of that name, and "
    "OPENAI_MODEL; or start Ollama, which is found by itself; for another model server, set "
    "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 to its address and, if it offers several, OPENAI_MODEL"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderChoice:
    """Where a model is asked, and what that needs; the key is never shown."""

    vendor: Vendor | Literal["scripted"]
    """Whose protocol is spoken."""
    base_url: str = ""
    """Empty is the vendor's own endpoint."""
    api_key: str = field(default="", repr=False)
    model: str = ""
    """Empty is the endpoint's default; of a script, its file."""
    local: bool = False
    """Whether it was found on this machine instead of being configured."""

    @property
    def source(self) -> Source:
        """How a session's model name begins that means this."""
        return "ollama" if self.local else self.vendor

    @property
    def official(self) -> bool:
        """Whether it is the vendor's own endpoint."""
        return self.vendor != "scripted" and not self.local and is_official(self.vendor, self.base_url)


class ListingProvider(Provider, Protocol):
    """A provider that says of its models what it knows; each provider that `make_provider` makes does."""

    async def listed(self) -> list[ModelInfo]:
        """The models by their own names, the default first and marked, if there is one; raises as `models`."""
        ...

    async def default(self) -> str:
        """The model for completions that name none; raises as `models`."""
        ...


def choose(
    environ: Mapping[str, str], model: str = "", *, here: str = "", found: Sequence[str] = ()
) -> ProviderChoice:
    """Decide which provider is meant.

    `model` counts before `UMBRELLA_MODEL`, which counts before `OPENAI_MODEL` and `ANTHROPIC_MODEL`. With both
    vendors configured and no prefix, a name that begins with `claude` means Anthropic; no name at all means the
    vendor whose `_MODEL` is set; everything else means OpenAI.

    Args:
        environ: Environment variables; a blank one counts as not set.
        model: `<source>:<name>`, a plain name, or empty.
        here: Where models of this machine are asked; empty: they are not looked for.
        found: Their names. They count without a prefix where no vendor is configured, the first for no name at all.

    Raises:
        ModelUnavailable: Nothing is configured, or not what the name asks for; the remedy says what to set.
    """
    values = {key: value.strip() for key, value in environ.items() if value.strip()}
    named, name = _split(model.strip() or values.get("UMBRELLA_MODEL", ""))
    if named == "scripted":
        return ProviderChoice(vendor="scripted", model=name)
    if named == "ollama":
        return _on_this_machine(name, here, found)
    vendor = named or _configured(values, name)
    if vendor is None:
        if here and found and (not name or name in found or f"{name}:latest" in found):
            return _on_this_machine(name, here, found)
        offers = f"; this machine offers {', '.join(found[:10])}" if found else ""
        raise ModelUnavailable(
            f"no language model is configured{offers}", HOW_TO_SET, {"kind": "not_configured"}
        )
    choice = configured(values, vendor, name)
    if choice is None:
        prefix = vendor.upper()
        raise ModelUnavailable(
            f"the model {vendor}:{name} is asked for, but no {vendor} endpoint is configured",
            f"set {prefix}_API_KEY, or keep it: umbrella secret set {prefix}_API_KEY; or set {prefix}_BASE_URL to a "
            "compatible server",
            {"vendor": vendor, "kind": "not_configured"},
        )
    return choice


def configured(environ: Mapping[str, str], vendor: Vendor, model: str = "") -> ProviderChoice | None:
    """The endpoint of a vendor, as the variables describe it; None when they do not.

    Raises:
        ModelUnavailable: They describe none that can be used.
    """
    values = {key: value.strip() for key, value in environ.items() if value.strip()}
    if not _is_configured(values, vendor):
        return None
    prefix = vendor.upper()
    return ProviderChoice(
        vendor=vendor,
        base_url=_url(values, f"{prefix}_BASE_URL"),
        api_key=_key(values, f"{prefix}_API_KEY"),
        model=model or values.get(f"{prefix}_MODEL", ""),
    )


def make_provider(choice: ProviderChoice, clock: Clock | None = None) -> ListingProvider:
    """Load the vendor's SDK and make the adapter, or open a script; takes up to two seconds the first time, and no network.

    Args:
        choice: From `choose`.
        clock: Waits between attempts; None is the machine's.

    Raises:
        ModelUnavailable: The vendor's SDK is not installed.
    """
    clock = clock or SystemClock()
    if choice.vendor == "scripted":
        return ScriptedFile(choice.model, clock)
    try:
        if choice.vendor == "openai":
            from mcp_core.providers.openai import OpenAICompatible

            return OpenAICompatible(
                base_url=choice.base_url, api_key=choice.api_key, model=choice.model, clock=clock
            )
        from mcp_core.providers.anthropic import AnthropicCompatible

        return AnthropicCompatible(
            base_url=choice.base_url, api_key=choice.api_key, model=choice.model, clock=clock
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != choice.vendor:
            raise
        raise ModelUnavailable(
            f"the Python package {choice.vendor!r} is not installed",
            f"pip install 'mcp-umbrella-core[{choice.vendor}]'",
            {"vendor": choice.vendor, "kind": "not_installed"},
        ) from None


def _split(name: str) -> tuple[Source | None, str]:
    # Names of local models hold colons themselves (`llama3.2:1b`), so only our own prefixes are cut off.
    for source in SOURCES:
        if name.startswith(f"{source}:"):
            return source, name[len(source) + 1 :].strip()
    return None, name


def _on_this_machine(name: str, here: str, found: Sequence[str]) -> ProviderChoice:
    if not here:
        raise ModelUnavailable(
            f"the model ollama:{name} is asked for, but models of this machine are not looked for",
            "unset UMBRELLA_DISCOVER, or set OPENAI_BASE_URL to where they are",
            {"kind": "not_configured"},
        )
    if not (name or found):
        raise ModelUnavailable(
            f"no model is offered at {here}", "start Ollama, and pull a model", {"kind": "not_configured"}
        )
    return ProviderChoice(vendor="openai", base_url=here, model=name or found[0], local=True)


def _configured(values: Mapping[str, str], name: str) -> Vendor | None:
    candidates = [vendor for vendor in VENDORS if _is_configured(values, vendor)]
    if len(candidates) > 1:
        if name:
            return "anthropic" if name.startswith("claude") else "openai"
        candidates.sort(
            key=lambda vendor: f"{vendor.upper()}_MODEL" not in values
        )  # stable: OpenAI stays first
    return next(iter(candidates), None)


def _is_configured(values: Mapping[str, str], vendor: Vendor) -> bool:
    return f"{vendor.upper()}_API_KEY" in values or f"{vendor.upper()}_BASE_URL" in values


def _url(values: Mapping[str, str], variable: str) -> str:
    url = values.get(variable, "")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (reading it checks it)
    except ValueError:
        parts = urlsplit("")
    if url and not (parts.scheme in ("http", "https") and parts.hostname):
        # The text itself is not repeated: an address can carry a password.
        raise ModelUnavailable(
            f"{variable} is not an http or https address",
            f"set {variable} to an address such as http://127.0.0.1:11434/v1",
            {"kind": "not_configured"},
        )
    return url.rstrip("/")


def _key(values: Mapping[str, str], variable: str) -> str:
    key = values.get(variable, "")
    if not all("!" <= letter <= "~" for letter in key):
        # Caught here, because an HTTP library would show the whole header in its complaint.
        raise ModelUnavailable(
            f"{variable} holds a character that cannot be sent: a space, a line end, or one beyond ASCII",
            f"set {variable} again, without quotation marks or line ends",
            {"kind": "not_configured"},
        )
    return key
