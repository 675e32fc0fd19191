"""Appends under load until it is killed, and says what was acknowledged.

    python appending_child.py PATH [EVENTS]

One line `<stream> <version>` for each acknowledged event; `failed <code>` when the store refuses, then what a
second try gives. With EVENTS it stops after so many and says `done`.
"""

import asyncio
import os
import sys
from pathlib import Path

from mcp_interface.clock import SystemClock
from mcp_interface.errors import UmbrellaError
from mcp_interface.testing.samples import a_message
from mcp_persistence import SqliteStore

APPENDERS = 16


def say(line):
    os.write(1, line.encode() + b"\n")


async def append(store, epoch, number, most):
    stream = f"session:{epoch}.{number}"
    version = 0
    while version < most:
        events = [a_message(version + place) for place in range(1 + number % 3)]
        records = await store.append(stream, events, expected=version, epoch=epoch)
        version = records[-1].version
        for record in records:
            say(f"{stream} {record.version}")


async def main(path, most):
    store = await SqliteStore.open(path, SystemClock())
    epoch = await store.claim()
    say("ready")
    try:
        await asyncio.gather(*(append(store, epoch, number, most) for number in range(APPENDERS)))
        say("done")
    except UmbrellaError as error:
        say(f"failed {error.code}")
        try:
            await store.append("session:again", [a_message(1)], expected=0, epoch=epoch)
        except UmbrellaError as again:
            say(f"refused {again.code}")
        await store.close()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize))
