"""The exam of a `Registry`: unique names, honest look-ups, types in order, no names for what has ended."""

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
    parts = (
        _finds,
        _keeps_names_unique,
        _forgets,
        _lists_types,
        _updates,
        _finds_virtual_names,
        _matches,
        _forgets_what_ended,
    )
    for part in parts:
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


async def _updates(registry: Registry[Any], refs: list[Any]) -> None:
    with refuses(NotFound, what="an update of an unknown name"):
        registry.update("nobody", {"busy": True})
    for name in ("a", "b", "c"):
        registry.register(name, refs[0], {"type": "worker", "busy": False})
    registry.register("d", refs[1], {"type": "llm"})
    before = registry.lookup("a")
    assert before is not None, "a was registered"
    changed = registry.update("a", {"busy": True})
    assert changed == registry.lookup("a"), "an update returns the entry as it is now"
    assert dict(changed.metadata) == {"type": "worker", "busy": True}, "what is not named stays"
    assert before.metadata["busy"] is False, "an entry that was handed out does not change"
    assert changed.ref is refs[0], "the ref stays"
    assert [entry.name for entry in registry.list_by_type("worker")] == ["a", "b", "c"], "places are kept"
    assert registry.list_by_type("worker")[0].metadata["busy"] is True, "lists show the new metadata"
    registry.update("a", {"type": "llm"})
    assert [entry.name for entry in registry.list_by_type("worker")] == ["b", "c"], "it left its old type"
    assert [entry.name for entry in registry.list_by_type("llm")] == ["d", "a"], "the last of its new type"
    registry.unregister("a")
    assert [entry.name for entry in registry.list_by_type("llm")] == ["d"], (
        "it is forgotten under its new type"
    )


async def _finds_virtual_names(registry: Registry[Any], refs: list[Any]) -> None:
    assert registry.lookup_key("order", "17") is None, "an unknown virtual name is not found"
    registry.register("a", refs[0], {"type": "order", "key": "17"})
    registry.register("b", refs[1], {"type": "customer", "key": "17"})
    for kind, name in (("order", "a"), ("customer", "b")):
        found = registry.lookup_key(kind, "17")
        assert found is not None and found.name == name, f"{kind} 17 is {name}"
    with refuses(LostRace, what="taking a virtual name twice"):
        registry.register("c", refs[2], {"type": "order", "key": "17"})
    assert registry.lookup("c") is None, "who did not get its virtual name has no name either"
    with refuses(LostRace, what="changing to a virtual name that is taken"):
        registry.update("b", {"type": "order"})
    kept = registry.lookup_key("customer", "17")
    assert kept is not None and kept.name == "b", "a refused update changes nothing"
    assert [entry.name for entry in registry.list_by_type("order")] == ["a"], (
        "a refused update changes nothing"
    )
    registry.update("a", {"key": "18"})
    assert registry.lookup_key("order", "17") is None, "the old virtual name is free"
    moved = registry.lookup_key("order", "18")
    assert moved is not None and moved.name == "a", "the new one is found"
    registry.unregister("a")
    assert registry.lookup_key("order", "18") is None, "a forgotten virtual name is not found"
    registry.register("c", refs[2], {"type": "order", "key": "18"})


async def _matches(registry: Registry[Any], refs: list[Any]) -> None:
    for number in range(6):
        kind = "worker" if number % 2 else "llm"
        registry.register(f"{9 - number}", refs[0], {"type": kind, "third": number % 3, "some": [number]})

    def names(limit: int = 100, **metadata: Any) -> list[str]:
        return [entry.name for entry in registry.match(metadata, limit=limit)]

    assert names() == ["9", "8", "7", "6", "5", "4"], "everything fits nothing, in order of registration"
    assert names(third=0) == ["9", "6"], "one of them is enough to ask for"
    assert names(third=0, type="worker") == ["6"], "all of them have to fit"
    assert names(some=[2]) == ["7"], "values are compared, whatever they are"
    assert names(third=7) == names(other=None) == names(type="none") == [], "what nobody has fits nobody"
    assert names(type="worker", limit=2) == ["8", "6"], "the first ones, when there are too many"


async def _forgets_what_ended(registry: Registry[Any], refs: list[Any]) -> None:
    lives, dies, dead = _Mortal(), _Mortal(), _Mortal()
    dead.end()
    registry.register("lives", lives, {"type": "worker"})
    for name in ("a", "b", "c"):
        registry.register(name, dies, {"type": "worker", "key": name})
    registry.unregister("b")
    registry.register("b", lives, {"type": "worker"})
    registry.register("dead", dead, {})
    assert registry.lookup("dead") is None, "what has ended gets no name"
    dies.end()
    assert [entry.name for entry in registry.list_by_type("worker")] == ["lives", "b"], (
        "names end with their ref"
    )
    assert registry.lookup("a") is None and registry.lookup_key("worker", "c") is None, "all of them"
    assert registry.whereis("b") is lives, "a name that was given again is not taken away"


class _Mortal:
    """A ref that ends when it is told to."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any, Any], object]] = []
        self._ended = False

    def on_exit(self, callback: Callable[[Any, Any], object]) -> Callable[[], object]:
        if self._ended:
            callback(self, "ended")
            return lambda: None
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def end(self) -> None:
        self._ended = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self, "ended")
