"""Which model is meant, and what a person is told when none is."""

import subprocess
import sys

import pytest

from mcp_core.providers import ProviderChoice, choose, make_provider
from mcp_interface.errors import ModelUnavailable

LOCAL = {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}
OPENAI = {"OPENAI_API_KEY": "sk-open"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "sk-ant"}


def test_with_nothing_configured_the_remedy_says_exactly_what_to_set() -> None:
    for environ in ({}, {"OPENAI_API_KEY": "  "}):
        with pytest.raises(ModelUnavailable) as caught:
            choose(environ, "")
        for words in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL=http://127.0.0.1:11434/v1"):
            assert words in caught.value.remedy


@pytest.mark.parametrize(
    ("environ", "model", "vendor", "name"),
    [
        (LOCAL, "", "openai", ""),
        (LOCAL, "llama3.2:1b", "openai", "llama3.2:1b"),
        (OPENAI, "openai:gpt-x", "openai", "gpt-x"),
        (OPENAI | {"OPENAI_MODEL": "gpt-y"}, "", "openai", "gpt-y"),
        (OPENAI | {"OPENAI_MODEL": "gpt-y", "UMBRELLA_MODEL": "gpt-z"}, "", "openai", "gpt-z"),
        (OPENAI | {"UMBRELLA_MODEL": "gpt-z"}, "gpt-x", "openai", "gpt-x"),
        (ANTHROPIC, "", "anthropic", ""),
        (ANTHROPIC, "opus", "anthropic", "opus"),
        (OPENAI | ANTHROPIC, "", "openai", ""),
        (OPENAI | ANTHROPIC, "claude-x", "anthropic", "claude-x"),
        (OPENAI | ANTHROPIC, "mistral", "openai", "mistral"),
        (OPENAI | ANTHROPIC | {"ANTHROPIC_MODEL": "claude-y"}, "", "anthropic", "claude-y"),
        (OPENAI | ANTHROPIC | {"UMBRELLA_MODEL": "anthropic:claude-z"}, "", "anthropic", "claude-z"),
        (OPENAI | ANTHROPIC | {"ANTHROPIC_MODEL": "claude-y"}, "anthropic:", "anthropic", "claude-y"),
    ],
)
def test_the_model_is_found(environ: dict[str, str], model: str, vendor: str, name: str) -> None:
    choice = choose(environ, model)
    assert (choice.vendor, choice.model) == (vendor, name)
    assert choice.base_url == environ.get(f"{vendor.upper()}_BASE_URL", "")
    assert choice.api_key == environ.get(f"{vendor.upper()}_API_KEY", "")


def test_a_vendor_that_is_named_but_not_configured_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="set ANTHROPIC_API_KEY"):
        choose(OPENAI, "anthropic:claude-x")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:11434", "ftp://host/v1", "http://", "http://[::1", "http://h:port"]
)
def test_a_base_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ModelUnavailable, match="OPENAI_BASE_URL is not") as caught:
        choose({"OPENAI_BASE_URL": url}, "")
    assert url not in caught.value.message


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk secret", "sk-sécret"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY") as caught:
        choose({"OPENAI_API_KEY": key}, "")
    assert key not in str(caught.value)


def test_a_choice_does_not_show_its_key() -> None:
    assert "sk-open" not in repr(choose(OPENAI, ""))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_missing_sdk_names_the_extra_to_install(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, vendor, None)
    monkeypatch.delitem(sys.modules, f"mcp_core.providers.{vendor}", raising=False)
    with pytest.raises(ModelUnavailable) as caught:
        make_provider(ProviderChoice(vendor=vendor))
    assert caught.value.remedy == f"pip install 'mcp-umbrella-core[{vendor}]'"


def test_importing_the_package_loads_no_sdk_and_no_http_client() -> None:
    code = (
        "import sys, mcp_core.providers as p; p.choose({'OPENAI_API_KEY': 'k'}, '');"
        "print([m for m in ('openai', 'anthropic', 'httpx2', 'httpx', 'mcp', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
