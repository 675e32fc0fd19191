"""Which model is meant, from environment variables and a name; then the adapter for it.

`choose` is pure. A name may begin with `openai:` or `anthropic:`; without either, the vendor that is configured
counts. Only `make_provider` loads a vendor's SDK.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from mcp_interface.clock import Clock, SystemClock
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import Provider

Vendor = Literal["openai", "anthropic"]

VENDORS: Final[tuple[Vendor, ...]] = ("openai", "anthropic")
HOW_TO_SET: Final = (
    "set OPENAI_API_KEY and OPENAI_MODEL, or ANTHROPIC_API_KEY; for a model on this machine, such as Ollama's, "
    "set OPENAI_BASE_URL=http://127.0.0.1:11434/v1 and, if it offers several, OPENAI_MODEL"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderChoice:
    """A vendor's adapter and what it needs; the key is never shown."""

    vendor: Vendor
    base_url: str = ""
    """Empty is the vendor's own endpoint."""
    api_key: str = field(default="", repr=False)
    model: str = ""
    """Empty is the endpoint's default."""


def choose(environ: Mapping[str, str], model: str = "") -> ProviderChoice:
    """Decide which provider is meant.

    `model` counts before `UMBRELLA_MODEL`, which counts before `OPENAI_MODEL` and `ANTHROPIC_MODEL`. With both
    vendors configured and no prefix, a name that begins with `claude` means Anthropic; no name at all means the
    vendor whose `_MODEL` is set; everything else means OpenAI.

    Args:
        environ: Environment variables; a blank one counts as not set.
        model: `openai:<name>`, `anthropic:<name>`, a plain name, or empty.

    Raises:
        ModelUnavailable: Nothing is configured, or not what the name asks for; the remedy says what to set.
    """
    values = {key: value.strip() for key, value in environ.items() if value.strip()}
    named, name = _split(model.strip() or values.get("UMBRELLA_MODEL", ""))
    vendor = named or _configured(values, name)
    prefix = vendor.upper()
    if not _is_configured(values, vendor):
        raise ModelUnavailable(
            f"the model {vendor}:{name} is asked for, but no {vendor} endpoint is configured",
            f"set {prefix}_API_KEY, or {prefix}_BASE_URL to a compatible server",
            {"vendor": vendor, "kind": "not_configured"},
        )
    return ProviderChoice(
        vendor=vendor,
        base_url=_url(values, f"{prefix}_BASE_URL"),
        api_key=_key(values, f"{prefix}_API_KEY"),
        model=name or values.get(f"{prefix}_MODEL", ""),
    )


def make_provider(choice: ProviderChoice, clock: Clock | None = None) -> Provider:
    """Load the vendor's SDK and make the adapter; takes up to two seconds the first time, and no network.

    Args:
        choice: From `choose`.
        clock: Waits between attempts; None is the machine's.

    Raises:
        ModelUnavailable: The vendor's SDK is not installed.
    """
    clock = clock or SystemClock()
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


def _split(name: str) -> tuple[Vendor | None, str]:
    # Names of local models hold colons themselves (`llama3.2:1b`), so only our own prefixes are cut off.
    for vendor in VENDORS:
        if name.startswith(f"{vendor}:"):
            return vendor, name[len(vendor) + 1 :].strip()
    return None, name


def _configured(values: Mapping[str, str], name: str) -> Vendor:
    candidates = [vendor for vendor in VENDORS if _is_configured(values, vendor)]
    if not candidates:
        raise ModelUnavailable("no language model is configured", HOW_TO_SET, {"kind": "not_configured"})
    if len(candidates) > 1:
        if name:
            return "anthropic" if name.startswith("claude") else "openai"
        candidates.sort(
            key=lambda vendor: f"{vendor.upper()}_MODEL" not in values
        )  # stable: OpenAI stays first
    return candidates[0]


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
