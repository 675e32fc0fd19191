"""From variables, files and the vault to a model that can be asked; every endpoint is a real one."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from memory_vault import MemoryVault

from mcp_core.providers.lender import Lender, Lent
from mcp_core.settings import ModelCard, ModelSettings
from mcp_interface.errors import ModelUnavailable
from mcp_interface.provider import ChatMessage, Chunk, Completion, Finished, ModelInfo, TextChunk
from scripted_model import KEY, MODEL, ScriptedModel, scripted_model

Start = Callable[..., ScriptedModel]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def started(*steps: dict[str, Any], **more: Any) -> ScriptedModel:
            return stack.enter_context(scripted_model({"steps": list(steps), **more}))

        yield started


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address of this machine at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


def lender(environ: dict[str, str], clock: Any, here: str = "", **more: Any) -> Lender:
    return Lender(environ, clock=clock, here=here, look_s=20.0, **more)


def lent(models: Lender, name: str = "") -> Lent:
    return asyncio.run(models.lend_model(name))


def asked(models: Lender, name: str = "") -> tuple[list[Chunk], Lent]:
    async def ask() -> tuple[list[Chunk], Lent]:
        async with asyncio.timeout(90):
            got = await models.lend_model(name)
            completion = Completion(model=got.model, messages=[ChatMessage(role="user", text="Hi")])
            return [chunk async for chunk in got.provider.stream(completion)], got

    return asyncio.run(ask())


# -- what is known of a model ------------------------------------------------------------------------------


def test_a_model_comes_with_what_is_known_of_it(clock: Any) -> None:
    got = lent(lender({"ANTHROPIC_API_KEY": "k"}, clock), "claude-opus-4-5")
    assert (got.model, got.info.name) == ("claude-opus-4-5", "anthropic:claude-opus-4-5")
    assert (got.info.context_tokens, got.info.input_price) == (200_000, 5)


def test_the_owners_file_says_more_of_a_model_than_anybody_else(start: Start, clock: Any) -> None:
    settings = ModelSettings(cards={f"openai:{MODEL}": ModelCard(context_tokens=9000, input_price=1.5)})
    got = lent(lender(start().environ(), clock, settings=settings))
    assert (got.info.context_tokens, got.info.input_price, got.info.output_price) == (9000, 1.5, None)


def test_an_endpoint_is_asked_once_how_much_its_models_read(start: Start, clock: Any) -> None:
    model = start(models=[{"id": MODEL, "max_model_len": 4096}])
    models = lender(model.environ(), clock)
    assert [lent(models).info.context_tokens for _ in range(3)] == [4096] * 3
    assert model.listings() == 1


def test_an_endpoint_that_cannot_say_it_is_left_alone_for_a_while(nowhere: str, clock: Any) -> None:
    models = lender({"OPENAI_BASE_URL": nowhere, "OPENAI_MODEL": "m"}, clock)
    assert lent(models).info == ModelInfo(name="openai:m", provider="openai")
    slept = list(clock.slept)
    lent(models)
    assert clock.slept == slept


def test_a_default_is_known_by_its_name(start: Start, clock: Any) -> None:
    model = start({"text": "Hello"}, models=["first", "second"])
    got = lent(lender(model.environ() | {"OPENAI_MODEL": ""}, clock))
    assert (got.model, got.info.name) == ("first", "openai:first")


# -- keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_key_from_the_vault_reaches_its_endpoint_and_nothing_else(
    start: Start, clock: Any, vendor: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, vault, prefix = start({"text": "Hello"}, {"status": 401}), MemoryVault(), vendor.upper()
    vault.secrets[f"{prefix}_API_KEY/127.0.0.1:{model.port}"] = KEY
    environ = model.environ(vendor) | {f"{prefix}_API_KEY": ""}
    models = lender(environ, clock, vault=vault)
    with caplog.at_level("DEBUG"):
        chunks, got = asked(models)
        assert chunks[0] == TextChunk("Hello")
        with pytest.raises(ModelUnavailable) as caught:
            asked(models)
    assert KEY in str(model.requests()[0]["headers"])
    shown = f"{models!r} {got!r} {models.variables} {models.status()} {caught.value!r} {caught.value.details}"
    assert KEY not in shown + caplog.text


def test_a_key_in_the_vault_is_enough_to_be_ready_and_its_absence_says_how(clock: Any) -> None:
    vault = MemoryVault()
    models = lender({}, clock, vault=vault)
    assert not models.status().ready
    assert "umbrella secret set OPENAI_API_KEY" in models.status().hint
    asyncio.run(vault.put("ANTHROPIC_API_KEY", "sk-ant"))
    status = models.status()
    assert (status.ready, status.provider) == (True, "anthropic")
    assert lent(models, "claude-opus-4-5").info.provider == "anthropic"
    asyncio.run(vault.remove("ANTHROPIC_API_KEY"))
    with pytest.raises(ModelUnavailable, match="umbrella secret set"):
        lent(models, "claude-opus-4-5")


def test_the_environment_counts_before_the_vault(start: Start, clock: Any) -> None:
    model, vault = start({"text": "Hello"}), MemoryVault()
    vault.secrets[f"OPENAI_API_KEY/127.0.0.1:{model.port}"] = "sk-of-the-vault"
    asked(lender(model.environ(), clock, vault=vault))
    assert KEY in str(model.requests()[0]["headers"])


# -- this machine ------------------------------------------------------------------------------------------


def test_with_nothing_configured_the_first_model_of_this_machine_answers(start: Start, clock: Any) -> None:
    here = start({"text": ["From here."]}, models=["llama3.2:1b", "qwen3:latest"])
    models = lender({}, clock, here=here.base_url("openai"))
    assert not models.status().ready, "nobody has looked yet"
    asyncio.run(models.look())
    status = models.status()
    assert (status.ready, status.provider, status.model) == (True, "ollama", "llama3.2:1b")
    chunks, got = asked(models)
    assert chunks[0] == TextChunk("From here.")
    assert got.info == ModelInfo(name="ollama:llama3.2:1b", provider="ollama")
    assert lent(models, "qwen3").info.name == "ollama:qwen3"
    with pytest.raises(ModelUnavailable, match=r"this machine offers llama3\.2:1b"):
        lent(models, "gpt-4o")
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_API_KEY"):
        lent(models, "anthropic:claude-opus-4-5")


def test_what_is_configured_counts_before_this_machine_but_it_can_be_named(start: Start, clock: Any) -> None:
    here, elsewhere = start(models=["llama"]), start(models=["far"])
    models = lender(elsewhere.environ() | {"OPENAI_MODEL": ""}, clock, here=here.base_url("openai"))
    asyncio.run(models.look())
    assert here.listings() == 0, "no need to look"
    assert lent(models).info.name == "openai:far"
    assert lent(models, "llama").info.name == "openai:llama"
    assert lent(models, "ollama:").info.name == "ollama:llama"


@pytest.mark.parametrize("off", [{"UMBRELLA_DISCOVER": "0"}, {}])
def test_nothing_is_looked_for_when_that_is_switched_off(
    start: Start, clock: Any, off: dict[str, str]
) -> None:
    here = start(models=["llama"])
    settings = ModelSettings(discover=bool(off))
    models = lender(off, clock, here=here.base_url("openai"), settings=settings)
    for name in ("", "ollama:llama"):
        with pytest.raises(ModelUnavailable):
            lent(models, name)
    assert here.listings() == 0


# -- files and the chain -----------------------------------------------------------------------------------


def test_a_file_names_the_default_and_a_variable_counts_before_it(start: Start, clock: Any) -> None:
    settings = ModelSettings(default="openai:of-the-file")
    environ = start().environ()
    assert lent(lender(environ, clock, settings=settings)).model == "of-the-file"
    environ["UMBRELLA_MODEL"] = "of-the-variable"
    assert lent(lender(environ, clock, settings=settings)).model == "of-the-variable"


def test_a_chain_answers_with_whoever_can_and_knows_whom_to_pay(start: Start, clock: Any) -> None:
    refusing, answering = start(then={"status": 401}), start({"text": "Here."})
    environ = refusing.environ("openai") | answering.environ("anthropic")
    cards = {"openai:*": ModelCard(input_price=1), "anthropic:*": ModelCard(input_price=2)}
    settings = ModelSettings(fallback=["nonsense:x", "anthropic:scripted-2", f"openai:{MODEL}"], cards=cards)
    chunks, got = asked(lender(environ, clock, settings=settings), f"openai:{MODEL}")
    end = chunks[-1]
    assert chunks[0] == TextChunk("Here.")
    assert isinstance(end, Finished)
    assert (end.provider, end.model) == ("anthropic", "scripted-2")
    assert got.info.input_price == 1
    assert got.answered_by(end).name == "anthropic:scripted-2"
    assert got.answered_by(end).input_price == 2


def test_a_choice_that_is_not_configured_is_answered_by_the_chain(start: Start, clock: Any) -> None:
    environ = start({"text": "Here."}).environ("openai")
    models = lender(environ | {"UMBRELLA_FALLBACK_MODELS": f"openai:{MODEL}"}, clock)
    chunks, got = asked(models, "anthropic:claude-opus-4-5")
    assert chunks[0] == TextChunk("Here.")
    assert got.info.name == f"openai:{MODEL}"


def test_who_answered_is_found_under_a_dated_name_too(clock: Any) -> None:
    infos = [ModelInfo(name=f"openai:{name}", provider="openai") for name in ("gpt-5", "gpt-5-mini")]
    got = Lent(provider=None, model="gpt-5", info=infos[0], others=infos[1:])  # type: ignore[arg-type]
    for model, name in (("gpt-5-2025-08-07", 0), ("gpt-5-mini-2025-08-07", 1), ("gpt-5-mini", 1)):
        end = Finished(stop_reason="end", provider="openai", model=model)
        assert got.answered_by(end) == infos[name]
    assert got.answered_by(Finished(stop_reason="end", model="whatever")) == infos[0]
    assert got.answered_by(Finished(stop_reason="end", provider="elsewhere")) == infos[0]


def test_a_script_needs_no_endpoint_at_all(tmp_path: Path, clock: Any) -> None:
    file = tmp_path / "demo.script.json"
    file.write_text(json.dumps({"answers": [{"text": "Hello {user}"}]}))
    models = lender({"UMBRELLA_MODEL": f"scripted:{file}"}, clock)
    assert models.status().ready
    chunks, got = asked(models)
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk)) == "Hello Hi"
    assert got.info.name == f"scripted:{file}"


# -- the list ----------------------------------------------------------------------------------------------


def names(models: Lender) -> list[tuple[str, bool]]:
    return [(info.name, info.default) for info in asyncio.run(models.list_models())]


def test_the_models_of_every_endpoint_are_listed_the_default_first(start: Start, clock: Any) -> None:
    first, second, here = start(models=["a", "b"]), start(models=["c"]), start(models=["d"])
    environ = first.environ("openai") | second.environ("anthropic")
    environ |= {"OPENAI_MODEL": "b", "ANTHROPIC_MODEL": ""}
    assert names(lender(environ, clock, here=here.base_url("openai"))) == [
        ("openai:b", True),
        ("openai:a", False),
        ("anthropic:c", False),
        ("ollama:d", False),
    ]
    environ["UMBRELLA_MODEL"] = "anthropic:unlisted"
    assert names(lender(environ, clock))[0] == ("anthropic:unlisted", True)


def test_an_endpoint_that_fails_hides_no_other_and_keeps_what_was_configured(
    start: Start, nowhere: str, clock: Any
) -> None:
    environ = start(models=["c"]).environ("anthropic") | {"ANTHROPIC_MODEL": ""}
    environ |= {"OPENAI_BASE_URL": nowhere, "OPENAI_MODEL": "m"}
    assert names(lender(environ, clock)) == [("openai:m", True), ("anthropic:c", False)]
    environ["OPENAI_BASE_URL"] = "no address"
    assert ("anthropic:c", False) in names(lender(environ, clock))


def test_nothing_configured_lists_nothing_and_nothing_reachable_says_why(nowhere: str, clock: Any) -> None:
    assert names(lender({}, clock)) == []
    with pytest.raises(ModelUnavailable, match="nothing answers"):
        names(lender({"OPENAI_BASE_URL": nowhere}, clock))
