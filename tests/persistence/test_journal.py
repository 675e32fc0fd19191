"""The group commit alone, over a commit that the test holds in its hand."""

import asyncio

import pytest

from mcp_interface.errors import CallerMistaken, OurBug, StorageUnavailable, TooMuch
from mcp_persistence.journal import MAX_BATCH, MAX_BATCH_BYTES, MAX_WAITING, Journal, Outcome


class Disk:
    """Commits batches when it is let; remembers them."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failure = None
        self.abandoned = False

    async def commit(self, batch):
        self.begun.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append([work(self) for work in batch])
        return [Outcome(result) for result in self.batches[-1]]

    async def abandon(self):
        self.abandoned = True


def journal_over(disk):
    return Journal(disk.commit, disk.abandon)


async def queue(journal, *values):
    """Submit each value as work that returns itself; gives the tasks once all are queued."""
    tasks = [asyncio.create_task(journal.submit(lambda _, value=value: value)) for value in values]
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
        journal = journal_over(disk)
        first = await queue(journal, "first")
        await disk.begun.wait()
        rest = await queue(journal, *range(100))
        disk.gate.set()
        assert await asyncio.gather(*first, *rest) == ["first", *range(100)]
        assert disk.batches == [["first"], list(range(100))]
        await journal.close()

    run(body)


def test_a_batch_is_bounded_in_pieces_and_bytes():
    async def body():
        disk = Disk()
        journal = journal_over(disk)
        disk.gate.set()
        many = await queue(journal, *range(MAX_BATCH + 1))
        await asyncio.gather(*many)
        assert [len(batch) for batch in disk.batches] == [MAX_BATCH, 1]
        large = [journal.submit(lambda _: 0, MAX_BATCH_BYTES) for _ in range(3)]
        await asyncio.gather(*large)
        assert [len(batch) for batch in disk.batches[2:]] == [1, 1, 1]
        await journal.close()

    run(body)


def test_one_too_many_is_refused_and_the_others_are_kept():
    async def body():
        disk = Disk()
        journal = journal_over(disk)
        waiting = await queue(journal, *range(MAX_WAITING))
        with pytest.raises(TooMuch):
            await journal.submit(lambda _: "one too many")
        disk.gate.set()
        assert await asyncio.gather(*waiting) == list(range(MAX_WAITING))
        await journal.close()

    run(body)


def test_cancelling_one_caller_withdraws_only_what_was_not_taken():
    async def body():
        disk = Disk()
        journal = journal_over(disk)
        taken = await queue(journal, "taken", "neighbour")
        await disk.begun.wait()
        waiting = await queue(journal, "withdrawn", "kept")
        taken[0].cancel()
        waiting[0].cancel()
        disk.gate.set()
        assert await taken[1] == "neighbour"
        assert await waiting[1] == "kept"
        assert disk.batches == [["taken", "neighbour"], ["kept"]]
        await journal.close()

    run(body)


def test_closing_finishes_what_is_queued_and_refuses_more():
    async def body():
        disk = Disk()
        journal = journal_over(disk)
        waiting = await queue(journal, 1, 2, 3)
        closing = asyncio.create_task(journal.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="closed"):
            await journal.submit(lambda _: 4)
        disk.gate.set()
        await closing
        assert [task.result() for task in waiting] == [1, 2, 3]
        await journal.close()

    run(body)


@pytest.mark.parametrize(
    ("failure", "seen"), [(StorageUnavailable("fsync failed"), StorageUnavailable), (KeyError("x"), OurBug)]
)
def test_a_failed_commit_tells_everybody_and_poisons_the_journal(failure, seen):
    async def body():
        disk = Disk()
        disk.failure = failure
        journal = journal_over(disk)
        taken = await queue(journal, 1, 2)
        await disk.begun.wait()
        waiting = await queue(journal, 3)
        disk.gate.set()
        outcomes = await asyncio.gather(*taken, *waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [seen] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        disk.failure = None
        with pytest.raises(StorageUnavailable, match="stopped after a failed commit"):
            await journal.submit(lambda _: 4)
        assert disk.batches == []
        await journal.close()

    run(body)


def test_an_error_of_one_piece_reaches_only_its_caller():
    async def body():
        async def commit(batch):
            return [Outcome(error=CallerMistaken("no")) if work(None) == 1 else Outcome(0) for work in batch]

        journal = Journal(commit, Disk().abandon)
        outcomes = await asyncio.gather(*await queue(journal, 0, 1, 0), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [int, CallerMistaken, int]
        assert await journal.submit(lambda _: 0) == 0
        await journal.close()

    run(body)


def test_a_loop_that_ends_around_an_open_journal_lets_go_of_the_medium():
    kept = []

    async def body():
        disk = Disk()
        kept.append((disk, journal_over(disk)))
        await asyncio.sleep(0)

    run(body)
    assert kept[0][0].abandoned
