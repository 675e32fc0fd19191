"""The node's registry, against a list; its promises are examined by `check_registry` (tests/contract)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_core.runtime.registry import LocalRegistry
from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Registered
from mcp_interface.testing import check_registry

NAMES = st.sampled_from(["a", "b", "c", "d"])
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["worker", "llm"]),
        "key": st.sampled_from(["1", "2", None]),
        "busy": st.booleans(),
    },
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), NAMES, st.integers(0, 2), METADATA),
        st.tuples(st.just("unregister"), NAMES, st.just(0), st.just({})),
        st.tuples(st.just("update"), NAMES, st.just(0), METADATA),
        st.tuples(st.just("end"), st.just(""), st.integers(0, 2), st.just({})),
    ),
    max_size=30,
)


def _key(metadata: dict[str, Any]) -> tuple[str, str] | None:
    return None if metadata.get("key") is None else (metadata.get("type", ""), metadata["key"])


@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_a_registry_says_what_a_list_would_say(sink: Any, steps: list[Any]) -> None:
    registry: LocalRegistry[Any] = LocalRegistry()
    refs = [sink(f"ref-{number}") for number in range(3)]
    model: dict[str, Registered[Any]] = {}
    for step, name, number, metadata in steps:
        ref = refs[number]
        taken = {_key(entry.metadata): entry.name for entry in model.values()}
        try:
            if step == "register":
                registry.register(name, ref, metadata)
                if not ref.ended:
                    model[name] = Registered(name, ref, metadata)
            elif step == "unregister":
                registry.unregister(name)
                model.pop(name, None)
            elif step == "update":
                after = registry.update(name, metadata)
                model[name] = Registered(name, model[name].ref, {**model[name].metadata, **metadata})
                assert after == model[name]
            else:
                ref.end()
                model = {each: entry for each, entry in model.items() if entry.ref is not ref}
        except LostRace:
            changed = {**(model[name].metadata if step == "update" else {}), **metadata}
            other = taken.get(_key(changed), name) != name
            assert (name in model and step == "register") or (_key(changed) is not None and other)
        except NotFound:
            assert step == "update" and name not in model
        _agree(registry, model)
    for ref in refs:
        assert len(ref.watchers) == any(entry.ref is ref for entry in model.values()), "watched while named"


def _agree(registry: LocalRegistry[Any], model: dict[str, Registered[Any]]) -> None:
    assert len(registry) == len(model)
    for name in ("a", "b", "c", "d"):
        assert registry.lookup(name) == model.get(name)
    for kind in ("worker", "llm", ""):
        listed = {entry.name: entry for entry in registry.list_by_type(kind)}
        assert listed == {n: e for n, e in model.items() if e.metadata.get("type", "") == kind}
        for key in ("1", "2"):
            [found] = [e for e in model.values() if _key(e.metadata) == (kind, key)] or [None]
            assert registry.lookup_key(kind, key) == found
    wanted = {"type": "worker", "busy": True}
    found_names = {entry.name for entry in registry.match(wanted)}
    assert found_names == {n for n, e in model.items() if wanted.items() <= e.metadata.items()}
    assert list(registry.match({})) == list(model.values())


def test_the_exam_is_passed_with_refs_that_end(sink: Any) -> None:
    @asynccontextmanager
    async def maker() -> AsyncIterator[LocalRegistry[Any]]:
        yield LocalRegistry()

    asyncio.run(check_registry(maker, ref=lambda number: sink(f"ref-{number}")))
