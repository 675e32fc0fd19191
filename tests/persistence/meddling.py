"""A journal to look at, and ways to look into its file and to change it behind its back."""

import sqlite3
from contextlib import closing

from mcp_interface.testing.samples import a_message


async def fill(store, streams=3, events=10):
    """Write streams of equal length, one after the other; gives the epoch."""
    epoch = await store.claim()
    for name in range(streams):
        for version in range(events):
            await store.append(f"session:{name}", [a_message(version)], expected=version, epoch=epoch)
    return epoch


def ask(path, question):
    """Give the first value of the first row."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(question).fetchone()[0]


def change(path, statement, *parameters):
    """Do what no journal would."""
    with sqlite3.connect(path) as db:
        db.execute(statement, parameters)
    db.close()
