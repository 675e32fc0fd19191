"""A chain of models over real endpoints: who is asked, when, and who is named."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from typing import Any

import pytest

from mcp_core.providers import choose, make_provider
from mcp_core.providers.fallback import MOST, FallbackProvider, Link, fallback_names
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import ChatMessage, Chunk, Completion, Finished, ModelInfo, TextChunk
from scripted_model import ScriptedModel, scripted_model

HI = Completion(model="", messages=[ChatMessage(role="user", text="Hi")], max_tokens=4096)
REFUSED: dict[str, Any] = {"status": 401, "error": "no"}


class Chain:
    """Endpoints in a row, and the chain over them."""

    def __init__(self, clock: Any, stack: ExitStack) -> None:
        self._clock = clock
        self._stack = stack
        self.models: list[ScriptedModel] = []
        self.links: list[Link] = []

    def add(self, vendor: str, *steps: dict[str, Any], most: int | None = None) -> None:
        model = self._stack.enter_context(scripted_model(list(steps)))
        name = f"model-{len(self.links)}"
        info = ModelInfo(name=f"{vendor}:{name}", provider=vendor, max_output_tokens=most)
        provider = make_provider(choose(model.environ(vendor)), self._clock)
        self.models.append(model)
        self.links.append(Link(provider=provider, model=name, info=info))

    def ask(self, completion: Completion = HI) -> list[Chunk]:
        async def collect() -> list[Chunk]:
            async with asyncio.timeout(90):
                return [chunk async for chunk in FallbackProvider(self.links).stream(completion)]

        return asyncio.run(collect())

    def asked(self) -> list[int]:
        return [len(model.requests()) for model in self.models]


@pytest.fixture
def chain(clock: Any) -> Iterator[Chain]:
    with ExitStack() as stack:
        yield Chain(clock, stack)


def test_the_chosen_one_answers_where_it_can_and_is_named(chain: Chain) -> None:
    chain.add("openai", {"text": "Mine."})
    chain.add("anthropic", {"text": "Never."})
    text, end = chain.ask()
    assert text == TextChunk("Mine.")
    assert isinstance(end, Finished)
    assert (end.provider, end.model) == ("openai", "model-0")
    assert chain.asked() == [1, 0]


def test_the_next_one_answers_under_its_own_name_and_within_its_own_bounds(chain: Chain) -> None:
    chain.add("openai", REFUSED)
    chain.add("anthropic", {"text": "Here."}, most=100)
    text, end = chain.ask(Completion(model="chosen", messages=HI.messages, max_tokens=4096))
    assert text == TextChunk("Here.")
    assert isinstance(end, Finished)
    assert (end.provider, end.model) == ("anthropic", "model-1")
    first, second = (model.requests()[0]["body"] for model in chain.models)
    assert (first["model"], first["max_tokens"]) == ("chosen", 4096)
    assert (second["model"], second["max_tokens"]) == ("model-1", 100)


def test_one_that_is_overloaded_is_tried_again_before_the_next_one_is_asked(chain: Chain) -> None:
    chain.add("openai", *[{"status": 503}] * 4)
    chain.add("openai", {"text": "Here."})
    assert chain.ask()[0] == TextChunk("Here.")
    assert chain.asked() == [4, 1]


def test_what_has_begun_is_not_begun_anew_by_another(chain: Chain) -> None:
    chain.add("openai", {"text": ["one ", "two"], "cut_after": 1})
    chain.add("anthropic", {"text": "other"})
    seen: list[Chunk] = []

    async def collect() -> None:
        async for chunk in FallbackProvider(chain.links).stream(HI):
            seen.append(chunk)

    with pytest.raises(ModelUnavailable, match="cut off"):
        asyncio.run(collect())
    assert seen == [TextChunk("one ")]
    assert chain.asked() == [1, 0]


def test_what_is_too_long_for_the_chosen_one_is_not_handed_on(chain: Chain) -> None:
    chain.add("openai", {"status": 400, "code": "context_length_exceeded"})
    chain.add("anthropic", {"text": "other"})
    with pytest.raises(ModelUnavailable) as caught:
        chain.ask()
    assert caught.value.details["kind"] == "too_long"
    assert chain.asked() == [1, 0]


def test_what_is_too_long_for_one_behind_it_goes_to_the_next(chain: Chain) -> None:
    chain.add("openai", REFUSED)
    chain.add("openai", {"status": 413})
    chain.add("anthropic", {"text": "Here."})
    assert chain.ask()[0] == TextChunk("Here.")


def test_when_none_answers_the_first_says_why_and_the_others_are_named(chain: Chain) -> None:
    chain.add("openai", {"status": 404, "error": "no such model"})
    chain.add("anthropic", REFUSED)
    with pytest.raises(ModelUnavailable) as caught:
        chain.ask()
    assert "no such model" in caught.value.message
    assert "anthropic:model-1" in caught.value.message
    assert "OPENAI_MODEL" in caught.value.remedy
    assert caught.value.details["status"] == 404


def test_leaving_the_chain_leaves_the_one_that_answers(chain: Chain) -> None:
    chain.add("openai", REFUSED)
    chain.add("openai", {"text": ["one", "two"], "chunk_delay": 0.3})

    async def leave() -> None:
        async with aclosing(FallbackProvider(chain.links).stream(HI)) as chunks:
            assert await anext(chunks) == TextChunk("one")
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(chain.models[1].requests))[0]["ended"] == "running":
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert chain.models[1].requests()[0]["ended"] == "disconnected"


def test_models_are_those_of_the_first_that_can_be_reached(chain: Chain) -> None:
    chain.add("openai")
    chain.links.insert(
        0, Link(provider=FallbackProvider([_Nowhere.link()]), model="x", info=ModelInfo(name="x"))
    )
    assert asyncio.run(FallbackProvider(chain.links).models()) == ["scripted-1"]
    with pytest.raises(ModelUnavailable, match="missing"):
        asyncio.run(FallbackProvider(chain.links[:1]).models())


class _Nowhere:
    @staticmethod
    def link() -> Link:
        choice = choose({}, "scripted:/missing.script.json")
        return Link(provider=make_provider(choice), model="", info=ModelInfo(name="nowhere"))


def test_the_names_behind_are_read_in_order_and_bounded() -> None:
    variable = "UMBRELLA_FALLBACK_MODELS"
    assert fallback_names({}) == []
    assert fallback_names({variable: " anthropic:a, ollama:b:1b ,,anthropic:a"}) == [
        "anthropic:a",
        "ollama:b:1b",
    ]
    assert len(fallback_names({variable: ",".join(f"m{n}" for n in range(99))})) == MOST
