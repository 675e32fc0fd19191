"""Appends and follows until it is killed; says the position of each acknowledged event.

python -m persistence.projections.following_child KIND FOLDER        (with `tests` on the path)
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp_interface.errors import NotFound
from mcp_interface.testing.samples import a_message
from persistence.projections.rows import following, open_store


async def append(store, epoch, number):
    stream = f"session:{number}"
    try:
        version = (await store.stream_info(stream)).version
    except NotFound:
        version = 0
    while True:
        size = 1 + version % 3
        events = [a_message(version + place) for place in range(1, size + 1)]
        records = await store.append(stream, events, expected=version, epoch=epoch)
        version += size
        os.write(1, f"{records[-1].position}\n".encode())


async def main(kind, folder):
    store = await open_store(kind, folder)
    async with following(store, folder):
        epoch = await store.claim()
        await asyncio.gather(*(append(store, epoch, number) for number in range(4)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
