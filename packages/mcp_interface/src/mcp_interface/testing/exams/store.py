"""The exam of a `Store`: its keys, decisions, reports, and its end."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from mcp_interface.errors import CallerMistaken, NotFound, StorageUnavailable, UmbrellaError
from mcp_interface.store import PAGE, Append, Decision, Store, Transaction
from mcp_interface.testing.exams import deciding, keeping
from mcp_interface.testing.exams.appending import messages
from mcp_interface.testing.exams.asserting import refuses, same, within
from mcp_interface.testing.exams.subscribing import ends_with_its_store

K = TypeVar("K", bound=Store)
VALUES: Final[dict[str, Any]] = {
    "none": None,
    "false": False,
    "true": True,
    "zero": 0,
    "float": 0.5,
    "large": 2**53 + 1,
    "empty text": "",
    "empty list": [],
    "empty map": {},
    "text": "ü\u2028\n🎉\x00",
    "deep": {"list": [1, [2, {"three": None}]]},
}


async def check_store(
    maker: Callable[[], AbstractAsyncContextManager[K]],
    *,
    reopen: Callable[[K], AbstractAsyncContextManager[K]] | None = None,
) -> None:
    """Examine a store beyond its history: keys, decisions, reports, closing.

    Args:
        maker: Opens a store over a fresh, empty medium and closes it.
        reopen: As `check_journal`.

    Raises:
        AssertionError: Names the broken promise.
    """
    for part in (
        _keeps_values,
        _keeps_its_own_copy,
        _lists_keys,
        _commits_whole_transactions,
        _rolls_back,
        _runs_transactions_one_by_one,
        *deciding.PARTS,
        *keeping.PARTS,
        ends_with_its_store,
        _closes,
    ):
        async with maker() as store:
            await within(part(store), f"check_store.{part.__name__.strip('_')}")
    if reopen is not None:
        async with maker() as store:
            await within(_outlives_its_process(store, reopen), "check_store.outlives_its_process")


async def _keeps_values(store: Store) -> None:
    for key, value in VALUES.items():
        with refuses(NotFound, what=f"reading {key!r} before it is set"):
            await store.get(key)
        await store.put(key, value)
        same(await store.get(key), value, f"the value {key!r}")
    await store.put("none", 1)
    same(await store.get("none"), 1, "a value that was replaced")
    await store.delete("none")
    await store.delete("none")
    with refuses(NotFound, what="reading a deleted key"):
        await store.get("none")
    for name in ("", "x" * 513, "a\n"):
        with refuses(CallerMistaken, what=f"the name {name[:20]!r}"):
            await store.put(name, 1)
    with refuses(CallerMistaken, what="a value that is not JSON-compatible"):
        await store.put("zero", object())
    same(await store.get("zero"), 0, "a value whose replacement was refused")


async def _keeps_its_own_copy(store: Store) -> None:
    given = {"list": [1]}
    await store.put("key", given)
    given["list"].append(2)
    read = await store.get("key")
    assert read == {"list": [1]}, "what is stored does not change with the caller's own objects"
    read["list"].append(3)
    assert await store.get("key") == {"list": [1]}, "a reader cannot change what is stored"


async def _lists_keys(store: Store) -> None:
    assert await store.list_keys() == [], "an empty store has no keys"
    for key in ("b:2", "a:1", "a:2", "a:10", "A:1", "a_c", "abc"):
        await store.put(key, None)
    for glob, expected in (
        ("*", ["A:1", "a:1", "a:10", "a:2", "a_c", "abc", "b:2"]),
        ("a:*", ["a:1", "a:10", "a:2"]),
        ("a:?", ["a:1", "a:2"]),
        ("[ab]:2", ["a:2", "b:2"]),
        ("a_c", ["a_c"]),
        ("%", []),
    ):
        found = await store.list_keys(glob)
        assert found == expected, f"keys over {glob!r}: {found}, expected {expected}"
    assert await store.list_keys("a:*", after="a:1", limit=1) == ["a:10"], "pages go on behind `after`"
    assert await store.list_keys(after="zzz") == [], "nothing is behind the end"
    assert await store.list_keys(limit=0) == [], "limit zero gives nothing"

    def fill(draft: Transaction) -> None:
        for number in range(PAGE + 1):
            draft.put(f"many:{number:05}", number)

    await store.transaction(fill)
    found = await store.list_keys("many:*", limit=PAGE * 5)
    assert len(found) == PAGE, f"one list gives at most {PAGE}, gave {len(found)}"
    assert await store.list_keys("many:*", after=found[-1]) == [f"many:{PAGE:05}"], (
        "the next page has the rest"
    )


async def _commits_whole_transactions(store: Store) -> None:
    await store.put("old", "before")
    await store.put("doomed", 1)

    def work(draft: Transaction) -> dict[str, Any]:
        seen = {"old": draft.get("old")}
        draft.put("old", None)
        draft.put("new", 0)
        draft.delete("doomed")
        draft.delete("unknown")
        seen |= {"own": draft.get("old"), "new": draft.get("new")}
        for key in ("doomed", "unknown"):
            with refuses(NotFound, what=f"reading {key!r} inside a transaction"):
                draft.get(key)
        return seen

    seen = await store.transaction(work)
    assert seen == {"old": "before", "own": None, "new": 0}, f"a transaction sees its own writes: {seen}"
    same(await store.get("old"), None, "a value written by a transaction")
    same(await store.get("new"), 0, "a value written by a transaction")
    assert await store.list_keys() == ["new", "old"], "a transaction deletes"
    for value in (None, 0, False, ""):
        same(await store.transaction(lambda _, value=value: value), value, "what the work returned")  # type: ignore[misc]


async def _rolls_back(store: Store) -> None:
    await store.put("kept", 1)

    class Abandoned(Exception):
        """Raised by the work itself."""

    def work(draft: Transaction) -> None:
        draft.put("kept", 2)
        draft.put("new", 1)
        draft.delete("kept")
        raise Abandoned

    try:
        await store.transaction(work)
    except Abandoned:
        same(await store.get("kept"), 1, "a value after a transaction that raised")
        assert await store.list_keys() == ["kept"], "a transaction that raised leaves no trace"
    else:
        raise AssertionError("what the work raises reaches the caller")
    await store.put("kept", 3)
    same(await store.get("kept"), 3, "the store works on after a transaction that raised")


async def _runs_transactions_one_by_one(store: Store) -> None:
    await store.put("count", 0)

    def add(draft: Transaction) -> int:
        draft.put("count", draft.get("count") + 1)
        return int(draft.get("count"))

    counts = await asyncio.gather(*(store.transaction(add) for _ in range(20)))
    assert sorted(counts) == list(range(1, 21)), f"transactions saw each other half done: {counts}"
    same(await store.get("count"), 20, "a counter after twenty transactions")


async def _closes(store: Store) -> None:
    epoch = await store.claim()
    await store.put("key", 1)
    await store.close()
    await store.close()
    with refuses(UmbrellaError, what="reading from a closed store"):
        await store.get("key")
    with refuses(StorageUnavailable, what="deciding in a closed store"):
        await store.commit(Decision(puts={"key": 2}), epoch=epoch)


async def _outlives_its_process(store: K, reopen: Callable[[K], AbstractAsyncContextManager[K]]) -> None:
    old = await store.claim()
    for key, value in VALUES.items():
        await store.put(key, value)
    await store.transaction(lambda draft: draft.put("by transaction", 0))
    await store.delete("deep")
    append = Append(stream="session:a", events=messages(2), expected=0)
    decision = Decision(appends=[append], puts={"zero": 1}, deletes=["none"], key="order 1")
    decided = await store.commit(decision, epoch=old)
    kept = {key: value for key, value in VALUES.items() if key not in ("deep", "none")} | {"zero": 1}
    async with reopen(store) as again:
        assert set(await again.list_keys()) == kept.keys() | {"by transaction"}, (
            "keys are there after opening again"
        )
        for key, value in kept.items():
            same(await again.get(key), value, f"{key!r} after opening again")
        assert await again.read_all() == decided, "what was decided is there after opening again"
        await again.put("zero", 2)
        repeated = await again.commit(decision, epoch=await again.claim())
        assert repeated == decided, "a decision's key is known after opening again"
        same(await again.get("zero"), 2, "a key that was set after the decision")
        assert await again.verify() == 2, "what was opened again is sound"
        report = await again.report()
        assert (report.state, report.head) == ("writable", 2), f"a store opened again is writable: {report}"
