"""Appends and puts under load until it is ended, and says what was acknowledged.

    python -m persistence.appending_child KIND PATH [EVENTS]        (with `tests` on the path)

`ready`, then a line `<stream> <version>` for each acknowledged event and `put <key> <version>` for each key;
`failed <code>` when the journal refuses and `refused <code>` when it refuses a second try as well. Histories
that are there already are continued. With EVENTS each appender stops after so many, and `done` is the last word.
With UMBRELLA_TEST_PATIENCE it waits so many seconds for a journal that refused to come back by itself, and then
says `well` and goes on.

What is written says itself what belongs together, for the checker: the events of one append, a key that never
runs ahead of its stream, and twins that are put in one transaction.
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp_interface.errors import NotFound, StorageUnavailable, UmbrellaError
from mcp_interface.testing.samples import a_message
from persistence.engines import open_journal

APPENDERS = 16
PATIENCE = float(os.environ.get("UMBRELLA_TEST_PATIENCE", "0"))
AFTERWARDS = 24
"""Events of each appender once the journal is well again."""


def an_event(stream, version):
    """Make the event that belongs at this place and at no other; sizes differ."""
    return a_message(version, f"{stream} {version} " + "." * (version * 37 % 400))


def batch_size(stream):
    """How many events go into a stream at a time."""
    number = stream.rpartition(":")[2]
    return 1 + int(number) % 3 if number.isdecimal() else 1


def say(line):
    os.write(1, line.encode() + b"\n")


async def length(journal, stream):
    try:
        return (await journal.stream_info(stream)).version
    except NotFound:
        return 0


def put_twins(number, version):
    def work(transaction):
        transaction.put(f"twin/{number}/left", version)
        transaction.put(f"twin/{number}/right", version)

    return work


async def append(journal, epoch, number, most):
    stream = f"session:{number}"
    size = batch_size(stream)
    version = await length(journal, stream)
    last = version + most
    while version < last:
        events = [an_event(stream, version + place) for place in range(1, size + 1)]
        for record in await journal.append(stream, events, expected=version, epoch=epoch):
            version = record.version
            say(f"{stream} {version}")
        if version // size % 4 == 0:
            await journal.put(f"key/{number}", version)
            say(f"put key/{number} {version}")
            await journal.transaction(put_twins(number, version))
            say(f"put twin/{number}/left {version}")


async def try_again(journal, epoch):
    try:
        await journal.append("session:again", [an_event("session:again", 1)], expected=0, epoch=epoch)
        say("session:again 1")
    except UmbrellaError as again:
        say(f"refused {again.code}")


async def recovered(journal):
    """Wait until the journal takes something again; gives the new epoch."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await journal.claim()
            except StorageUnavailable:
                await asyncio.sleep(
                    0.001
                )  # at once: what the old medium still does must not hurt the new one


async def append_all(journal, epoch, most):
    await asyncio.gather(*(append(journal, epoch, number, most) for number in range(APPENDERS)))
    say("done")


async def work(journal, most):
    epoch = 0
    try:
        epoch = await journal.claim()
        say("ready")
        await append_all(journal, epoch, most)
    except UmbrellaError as error:
        say(f"failed {error.code}")
        await try_again(journal, epoch)
        if PATIENCE:
            epoch = await recovered(journal)
            say("well")
            await append_all(journal, epoch, AFTERWARDS)


async def main(kind, path, most):
    try:
        journal = await open_journal(kind, path)
    except UmbrellaError as error:
        say(f"failed {error.code}")
        return
    try:
        await work(journal, most)
    finally:
        await journal.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize))
