"""A key of the vault opens what it was kept for, and nothing else."""

import asyncio

import pytest
from memory_vault import MemoryVault

from mcp_core.providers.addresses import is_official, secret_name
from mcp_core.providers.keys import KeyRing
from mcp_interface.errors import ModelUnavailable, StorageCorrupt


def ring(**secrets: str) -> KeyRing:
    vault = MemoryVault()
    vault.secrets = {name.replace("__", "/"): value for name, value in secrets.items()}
    return KeyRing(vault)


def filled(keys: KeyRing, **variables: str) -> dict[str, str]:
    return asyncio.run(keys.filled(variables))


def test_the_vault_stands_in_where_the_environment_says_nothing() -> None:
    keys = ring(OPENAI_API_KEY="sk-kept", ANTHROPIC_API_KEY="sk-ant")
    assert filled(keys, OPENAI_API_KEY="sk-mine", ANTHROPIC_API_KEY=" ") == {
        "OPENAI_API_KEY": "sk-mine",
        "ANTHROPIC_API_KEY": "sk-ant",
    }
    assert asyncio.run(KeyRing(None).filled({"A": "b"})) == {"A": "b"}


def test_a_key_to_a_vendors_account_never_goes_to_another_address() -> None:
    keys = ring(OPENAI_API_KEY="sk-account")
    for elsewhere in ("http://127.0.0.1:11434/v1", "http://api.openai.com/v1", "https://openai.com.evil.org"):
        assert filled(keys, OPENAI_BASE_URL=elsewhere) == {"OPENAI_BASE_URL": elsewhere}
    own = "https://eu.api.openai.com/v1"
    assert filled(keys, OPENAI_BASE_URL=own)["OPENAI_API_KEY"] == "sk-account"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("", "OPENAI_API_KEY"),
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://OpenRouter.ai/api/v1", "OPENAI_API_KEY/openrouter.ai"),
        ("http://me:pw@gpu-box:8000/v1", "OPENAI_API_KEY/gpu-box:8000"),
        ("http://[::1]:8000/v1", "OPENAI_API_KEY/::1:8000"),
    ],
)
def test_a_key_for_another_server_is_kept_under_its_name(url: str, name: str) -> None:
    assert secret_name("openai", url) == name
    assert is_official("openai", url) is ("/" not in name)
    keys = ring(**{name.replace("/", "__"): "sk-there"})
    assert filled(keys, OPENAI_BASE_URL=url)["OPENAI_API_KEY"] == "sk-there"


def test_a_mark_says_that_there_is_a_key_without_the_key() -> None:
    keys = ring(OPENAI_API_KEY="sk-kept")
    marked = keys.marked({})
    assert set(marked) == {"OPENAI_API_KEY"}
    assert "sk-kept" not in f"{marked} {keys!r}"


def test_a_key_that_cannot_be_decrypted_says_what_to_do() -> None:
    class Damaged(MemoryVault):
        async def get(self, name: str) -> str:
            raise StorageCorrupt("the vault is damaged")

    vault = Damaged()
    vault.secrets = {"OPENAI_API_KEY": "x"}
    with pytest.raises(ModelUnavailable, match="umbrella secret set OPENAI_API_KEY"):
        asyncio.run(KeyRing(vault).filled({}))
