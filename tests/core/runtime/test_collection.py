import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from mcp_core.runtime import Actor
from mcp_core.runtime.collection import THRESHOLDS, settle_memory


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Thing:
    """Something that can be in a circle, and watched."""

    other: "Thing"


class Worker(Actor):
    def on_receive(self, message: object) -> object:
        return message


def a_circle() -> tuple[Thing, "weakref.ref[Thing]"]:
    one, two = Thing(), Thing()
    one.other, two.other = two, one
    return one, weakref.ref(one)


def test_what_lives_is_settled_and_the_collector_looks_less_often() -> None:
    keep = [Thing() for _ in range(1000)]
    assert settle_memory() >= len(keep)
    assert gc.get_threshold() == THRESHOLDS
    assert not any(item is keep for item in gc.get_objects())


def test_garbage_in_circles_is_collected_before_the_rest_is_settled() -> None:
    one, watch = a_circle()
    del one
    settle_memory()
    assert watch() is None


def test_a_settled_circle_keeps_its_memory_until_it_is_settled_again() -> None:
    one, watch = a_circle()
    settle_memory()
    del one
    gc.collect()
    assert watch() is not None
    settle_memory()
    assert watch() is None


def test_a_settled_object_outside_of_circles_is_freed_at_once() -> None:
    thing = Thing()
    watch = weakref.ref(thing)
    settle_memory()
    del thing
    assert watch() is None


def test_a_circle_made_later_is_collected_as_usual() -> None:
    settle_memory()
    one, watch = a_circle()
    del one
    gc.collect()
    assert watch() is None


def test_an_actor_that_was_settled_is_freed_when_it_ends() -> None:
    async def scenario() -> None:
        ref = Worker.start()
        watch = weakref.ref(ref._actor_weakref())
        settle_memory()
        gc.disable()
        try:
            ref.stop(block=False)
            await asyncio.sleep(0)
            assert not ref.is_alive() and watch() is None
        finally:
            gc.enable()

    asyncio.run(scenario())
