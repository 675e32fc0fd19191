"""What a thread rings reaches whoever waits on the loop, also when the bell is being taken down."""

import asyncio
import os
import threading

import pytest

from mcp_persistence.sqlite.bell import Bell

LIMIT = 20


def rung_by_threads(bell, futures):
    """One thread each, all at once."""
    begin = threading.Barrier(len(futures))

    def ring(number):
        begin.wait()
        bell.ring(futures[number], number, None)

    threads = [threading.Thread(target=ring, args=(number,)) for number in range(len(futures))]
    for thread in threads:
        thread.start()
    return threads


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("hang_up", [False, True])
def test_everybody_gets_an_answer_also_while_it_is_being_hung_up(hang_up):
    async def body():
        loop = asyncio.get_running_loop()
        for _ in range(20):
            bell = Bell(loop)
            futures = [loop.create_future() for _ in range(8)]
            threads = rung_by_threads(bell, futures)
            if hang_up:
                bell.hang_up()
            async with asyncio.timeout(LIMIT):
                assert await asyncio.gather(*futures) == list(range(8))
            for thread in threads:
                thread.join(LIMIT)
            bell.hang_up()

    asyncio.run(body())


def test_an_error_is_raised_where_it_is_waited_for_and_who_gave_up_is_passed_over():
    async def body():
        loop = asyncio.get_running_loop()
        bell = Bell(loop)
        gone, wrong, right = (loop.create_future() for _ in range(3))
        gone.cancel()
        bell.ring(gone, 1, None)
        bell.ring(wrong, None, OSError(5, "broken"))
        bell.ring(right, 3, None)
        async with asyncio.timeout(LIMIT):
            assert await right == 3
        with pytest.raises(OSError, match="broken"):
            await wrong
        assert gone.cancelled()
        bell.hang_up()

    asyncio.run(body())


def test_hanging_up_lets_go_of_the_descriptor_and_may_be_repeated():
    async def body():
        before = descriptors()
        bell = Bell(asyncio.get_running_loop())
        assert descriptors() == before + 1
        bell.hang_up()
        bell.hang_up()
        assert descriptors() == before

    asyncio.run(body())
