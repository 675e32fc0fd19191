"""The exam of a `Registry`: unique names, honest look-ups, types in order."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp_interface.errors import LostRace, NotFound
from mcp_interface.registry import Registry
from mcp_interface.testing.exams.asserting import refuses, within


async def check_registry(
    maker: Callable[[], AbstractAsyncContextManager[Registry[Any]]],
    *,
    ref: Callable[[int], Any] = lambda number: (None, 0, "", "ref", 4)[number],
) -> None:
    """Examine a registry.

    Args:
        maker: Opens an empty registry.
        ref: Makes the n-th of five different refs; plain values by default, falsy ones among them.

    Raises:
        AssertionError: Names the broken promise.
    """
    refs = [ref(number) for number in range(5)]
    for part in (_finds, _keeps_names_unique, _forgets, _lists_types):
        async with maker() as registry:
            await within(part(registry, refs), f"check_registry.{part.__name__.strip('_')}")


async def _finds(registry: Registry[Any], refs: list[Any]) -> None:
    assert registry.lookup("nobody") is None, "an unknown name is not found"
    with refuses(NotFound, what="whereis of an unknown name"):
        registry.whereis("nobody")
    for number, ref in enumerate(refs):
        metadata = {"type": "worker", "number": number, "none": None}
        registry.register(f"name-{number}", ref, metadata)
        metadata["number"] = -1
        found = registry.lookup(f"name-{number}")
        assert found is not None, f"name-{number} was registered with the ref {ref!r}"
        assert (found.name, found.ref) == (f"name-{number}", ref), f"found something else: {found!r}"
        assert dict(found.metadata) == {"type": "worker", "number": number, "none": None}, "metadata is kept"
        assert registry.whereis(f"name-{number}") is ref, "whereis gives the very ref"
    for odd in ("", "name with ü and /", "x" * 300):
        registry.register(odd, refs[3], {})
        assert registry.whereis(odd) is refs[3], f"the name {odd[:20]!r} is found"


async def _keeps_names_unique(registry: Registry[Any], refs: list[Any]) -> None:
    registry.register("name", refs[0], {"type": "worker"})
    with refuses(LostRace, what="taking a name twice"):
        registry.register("name", refs[1], {"type": "llm"})
    assert registry.whereis("name") is refs[0], "the first one keeps the name"
    assert list(registry.list_by_type("llm")) == [], "the second one leaves no trace"
    registry.register("other", refs[0], {"type": "worker"})
    assert len(registry.list_by_type("worker")) == 2, "one ref may have two names"


async def _forgets(registry: Registry[Any], refs: list[Any]) -> None:
    registry.unregister("nobody")
    registry.register("name", refs[0], {"type": "worker"})
    registry.unregister("name")
    registry.unregister("name")
    assert registry.lookup("name") is None, "a forgotten name is not found"
    with refuses(NotFound, what="whereis of a forgotten name"):
        registry.whereis("name")
    assert list(registry.list_by_type("worker")) == [], "a forgotten name is not listed"
    registry.register("name", refs[1], {"type": "llm"})
    assert registry.whereis("name") is refs[1], "a forgotten name can be given again"
    registry.register("without type", refs[2], {})
    registry.unregister("without type")
    assert registry.lookup("without type") is None, "a forgotten name is not found"


async def _lists_types(registry: Registry[Any], refs: list[Any]) -> None:
    assert list(registry.list_by_type("worker")) == [], "an unknown type has no entries"
    for name, kind in (("c", "worker"), ("a", "llm"), ("b", "worker"), ("d", "worker")):
        registry.register(name, refs[3], {"type": kind})
    registry.register("e", refs[3], {})
    assert [entry.name for entry in registry.list_by_type("worker")] == ["c", "b", "d"], "in order"
    registry.unregister("c")
    registry.register("c", refs[3], {"type": "worker"})
    assert [entry.name for entry in registry.list_by_type("worker")] == ["b", "d", "c"], "in order"
    assert [entry.name for entry in registry.list_by_type("llm")] == ["a"], "other types stay apart"
    before = registry.list_by_type("llm")
    registry.unregister("a")
    assert len(before) == 1, "a list that was handed out does not change"
