"""The group commit alone, over a commit that the test holds in its hand."""

import asyncio

import pytest

from mcp_interface.errors import CallerMistaken, OurBug, StorageUnavailable, TooMuch
from mcp_persistence.group_commit import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    GroupCommit,
    Refusal,
)


class Disk:
    """Commits batches when it is let; remembers them."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failure = None
        self.abandoned = False
        self.told = []

    async def commit(self, batch):
        self.begun.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append([work(self) for work in batch])
        return self.batches[-1]

    async def abandon(self):
        self.abandoned = True


def queue_over(disk):
    return GroupCommit(disk.commit, disk.told.append, disk.abandon)


async def submit(group, *values):
    """Submit each value as work that returns itself; gives the tasks once all are queued."""
    tasks = [asyncio.create_task(group.submit(lambda _, value=value: value)) for value in values]
    await asyncio.sleep(0)
    return tasks


def run(body):
    async def bounded():
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def test_everything_that_waits_shares_one_commit():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        first = await submit(group, "first")
        await disk.begun.wait()
        rest = await submit(group, *range(100))
        disk.gate.set()
        assert await asyncio.gather(*first, *rest) == ["first", *range(100)]
        assert disk.batches == [["first"], list(range(100))]
        await group.close()

    run(body)


def test_a_batch_is_bounded_in_pieces_and_bytes():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        disk.gate.set()
        many = await submit(group, *range(MAX_BATCH + 1))
        await asyncio.gather(*many)
        assert [len(batch) for batch in disk.batches] == [MAX_BATCH, 1]
        large = [group.submit(lambda _: 0, MAX_BATCH_BYTES) for _ in range(3)]
        await asyncio.gather(*large)
        assert [len(batch) for batch in disk.batches[2:]] == [1, 1, 1]
        await group.close()

    run(body)


def test_one_too_many_is_refused_and_the_others_are_kept():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        waiting = await submit(group, *range(MAX_WAITING))
        with pytest.raises(TooMuch):
            await group.submit(lambda _: "one too many")
        disk.gate.set()
        assert await asyncio.gather(*waiting) == list(range(MAX_WAITING))
        await group.close()

    run(body)


def test_bytes_that_wait_are_bounded_too():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        taken = await submit(group, "taken")
        await disk.begun.wait()
        waiting = asyncio.create_task(group.submit(lambda _: "large", MAX_WAITING_BYTES + 1))
        await asyncio.sleep(0)
        with pytest.raises(TooMuch):
            await group.submit(lambda _: "one too many")
        disk.gate.set()
        assert await asyncio.gather(*taken, waiting) == ["taken", "large"]
        assert await group.submit(lambda _: "room again") == "room again"
        await group.close()

    run(body)


def test_cancelling_withdraws_what_was_not_taken_and_comes_too_late_for_the_rest():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        heard = []

        async def caller():
            heard.append(await group.submit(lambda _: "taken"))
            await asyncio.sleep(0)  # here the cancellation is delivered
            heard.append("never")

        taken = asyncio.create_task(caller())
        await disk.begun.wait()
        waiting = await submit(group, "withdrawn", "kept")
        taken.cancel()
        waiting[0].cancel()
        await asyncio.sleep(0)
        taken.cancel()  # a second time changes nothing
        disk.gate.set()
        outcomes = await asyncio.gather(taken, *waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2 + [str]
        assert heard == ["taken"]
        assert disk.batches == [["taken"], ["kept"]]
        await group.close()

    run(body)


def test_a_caller_that_was_cancelled_while_the_commit_failed_stays_cancelled():
    async def body():
        disk = Disk()
        disk.failure = StorageUnavailable("fsync failed")
        group = queue_over(disk)
        (taken,) = await submit(group, 1)
        await disk.begun.wait()
        taken.cancel()
        disk.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await taken
        await group.close()

    run(body)


def test_closing_finishes_what_is_queued_and_refuses_more():
    async def body():
        disk = Disk()
        group = queue_over(disk)
        waiting = await submit(group, 1, 2, 3)
        closing = asyncio.create_task(group.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="closed"):
            await group.submit(lambda _: 4)
        disk.gate.set()
        await closing
        assert [task.result() for task in waiting] == [1, 2, 3]
        await group.close()

    run(body)


@pytest.mark.parametrize(
    ("failure", "seen"), [(StorageUnavailable("fsync failed"), StorageUnavailable), (KeyError("x"), OurBug)]
)
def test_a_failed_commit_tells_everybody_and_poisons_the_queue(failure, seen):
    async def body():
        disk = Disk()
        disk.failure = failure
        group = queue_over(disk)
        taken = await submit(group, 1, 2)
        await disk.begun.wait()
        waiting = await submit(group, 3)
        disk.gate.set()
        outcomes = await asyncio.gather(*taken, *waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [seen] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        assert [type(error) for error in disk.told] == [seen]
        assert type(group.broken) is seen
        disk.failure = None
        with pytest.raises(StorageUnavailable, match="read-only since a failed commit"):
            await group.submit(lambda _: 4)
        assert disk.batches == []
        await group.close()

    run(body)


def test_an_error_of_one_piece_reaches_only_its_caller():
    async def body():
        async def commit(batch):
            return [Refusal(CallerMistaken("no")) if work(None) == 1 else 0 for work in batch]

        group = GroupCommit(commit, Disk().told.append, Disk().abandon)
        outcomes = await asyncio.gather(*await submit(group, 0, 1, 0), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [int, CallerMistaken, int]
        assert await group.submit(lambda _: 0) == 0
        await group.close()

    run(body)


def test_a_loop_that_ends_around_an_open_group_lets_go_of_the_medium():
    kept = []

    async def body():
        disk = Disk()
        kept.append((disk, queue_over(disk)))
        await asyncio.sleep(0)

    run(body)
    assert kept[0][0].abandoned


@pytest.mark.parametrize(
    ("raised", "seen"), [(StorageUnavailable("no disk"), StorageUnavailable), (NameError(), OurBug)]
)
def test_a_commit_that_does_not_even_begin_tells_everybody_too(raised, seen):
    async def body():
        disk = Disk()

        def commit(batch):
            raise raised

        group = GroupCommit(commit, disk.told.append, disk.abandon)
        for task in await submit(group, 1, 2):
            with pytest.raises(seen):
                await task
        assert len(disk.told) == 1
        with pytest.raises(StorageUnavailable, match="read-only"):
            await group.submit(lambda _: 3)
        await group.close()

    run(body)
