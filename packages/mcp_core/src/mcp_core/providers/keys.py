"""Which key goes to which endpoint: from the environment, else from the vault.

A key in the vault is bound to where it may go. `OPENAI_API_KEY` is for OpenAI itself, and `OPENAI_API_KEY/<host>` or
`OPENAI_API_KEY/<host>:<port>` for the server of that name: a terminal that lends the node another base URL, a model
server in the next room for example, must not be sent the key to the vendor's account.
"""

from collections.abc import Mapping
from typing import Final

from mcp_core.providers.addresses import secret_name
from mcp_interface.errors import ModelUnavailable, NotFound, StorageCorrupt
from mcp_interface.secret import Vault

_VENDORS: Final = ("openai", "anthropic")
_KEPT: Final = "in-the-vault"
"""Stands for a key where it only matters that there is one."""


class KeyRing:
    """The node's variables with the keys that the vault adds to them.

    Args:
        vault: None has none.
    """

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    def __repr__(self) -> str:
        return "KeyRing(…)"

    def marked(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables, with a mark in place of each key that the vault would give; asks nothing but its names."""
        return {**variables, **dict.fromkeys(self._missing(variables), _KEPT)}

    async def filled(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables, with the keys of the vault where the environment has none.

        Raises:
            ModelUnavailable: A key cannot be decrypted.
        """
        filled = dict(variables)
        for variable, name in self._missing(variables).items():
            assert self._vault is not None
            try:
                filled[variable] = await self._vault.get(name)
            except NotFound:
                continue  # removed a moment ago
            except StorageCorrupt as error:
                raise ModelUnavailable(
                    f"the secret {name} cannot be read: {error.message}",
                    f"set it again: umbrella secret set {name}",
                    {"kind": "not_configured"},
                ) from None
        return filled

    def _missing(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Variables without a value, and the secrets that stand in for them."""
        if self._vault is None:
            return {}
        kept = set(self._vault.names())
        wanted = {
            f"{vendor.upper()}_API_KEY": secret_name(vendor, variables.get(f"{vendor.upper()}_BASE_URL", ""))
            for vendor in _VENDORS
            if not variables.get(f"{vendor.upper()}_API_KEY", "").strip()
        }
        return {variable: name for variable, name in wanted.items() if name in kept}
