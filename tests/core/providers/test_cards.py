"""What is known of models, and above all what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_core.providers.cards import Cards
from mcp_core.settings import ModelCard
from mcp_interface.provider import ModelInfo


def test_a_known_model_tells_what_its_vendor_publishes() -> None:
    info = Cards().info("anthropic", "claude-sonnet-4-5", official=True)
    assert info == ModelInfo(
        name="anthropic:claude-sonnet-4-5",
        provider="anthropic",
        context_tokens=200_000,
        max_output_tokens=64_000,
        input_price=3,
        output_price=15,
        cached_price=0.3,
        cache_write_price=3.75,
    )


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-11-20", True),
        ("gpt-5-mini-2025-08-07", True),
        ("gpt-5-pro", False),
        ("gpt-5.9", False),
        ("gpt-4o-audio-preview", False),
        ("", False),
    ],
)
def test_a_dated_name_is_the_same_model_and_any_other_ending_is_another(model: str, known: bool) -> None:
    assert (Cards().info("openai", model, official=True).input_price is not None) is known


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-0", True),
        ("claude-3-haiku-20240307", True),
        ("claude-opus-4-9", False),
        ("claude-opus-9", False),
    ],
)
def test_a_next_release_is_not_taken_for_the_one_before(model: str, known: bool) -> None:
    assert (Cards().info("anthropic", model, official=True).input_price is not None) is known


def test_a_snapshot_of_its_own_price_has_its_own_card() -> None:
    assert Cards().info("openai", "gpt-4o-2024-05-13", official=True).input_price == 5


@given(
    st.sampled_from(["gpt-4o", "claude-opus-4-5", "x"]), st.sampled_from(["openai", "anthropic", "ollama"])
)
def test_at_another_endpoint_a_famous_name_says_nothing(model: str, provider: str) -> None:
    info = Cards().info(provider, model, official=False)
    assert info == ModelInfo(name=f"{provider}:{model}", provider=provider)


def test_the_owners_card_counts_before_the_table_and_the_table_before_the_endpoint() -> None:
    cards = Cards({"openai:gpt-4*": ModelCard(input_price=0.0, context_tokens=1000)})
    told = ModelInfo(name="gpt-4o", context_tokens=7, max_output_tokens=8, cache_write_price=9)
    info = cards.info("openai", "gpt-4o", official=True, told=told)
    assert (info.context_tokens, info.input_price) == (1000, 0.0), "nothing is a price, too"
    assert (info.max_output_tokens, info.output_price) == (16_384, 10)
    assert info.cache_write_price == 9
    assert cards.info("openai", "o3", official=True).input_price == 2


def test_the_owner_may_name_a_model_without_its_prefix() -> None:
    cards = Cards({"llama3.2:1b": ModelCard(context_tokens=8192)})
    assert cards.info("ollama", "llama3.2:1b", official=False).context_tokens == 8192
    assert cards.info("ollama", "llama3.2:3b", official=False).context_tokens is None
