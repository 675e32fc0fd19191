"""How the index follows the journal: a checkpoint puts down, in one transaction, what changed since the last."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from mcp_persistence.index.state import Head, State
from mcp_persistence.index.tables import (
    FORMAT,
    Meta,
    digest,
    mix,
    write_meta,
)
from mcp_persistence.segment.frame import ZERO
from mcp_persistence.segment.values import Checkpoint

_encode = msgspec.msgpack.Encoder().encode


def blank(journal: bytes) -> Meta:
    """The summary of an index that has read nothing."""
    return Meta(FORMAT, journal, Checkpoint(0, 0, 0, 0, 0, ZERO), 0)


def write(db: sqlite3.Connection, meta: Meta, state: State, checkpoint: Checkpoint) -> Meta:
    """Put down what `state.changes` holds, and how far that is; to be used within a transaction."""
    changes = state.changes
    streams = _write_streams(
        db, meta.streams, [state.heads[name] for name in changes.touched | changes.spots.keys()]
    )
    wiped = [(state.heads[name].number,) for name in changes.wiped]
    db.executemany("DELETE FROM places WHERE stream = ?", wiped)
    places = []
    for name, spots in changes.spots.items():
        body = _encode(spots)
        row = (state.heads[name].number, spots[0].version, spots[0].position, body)
        places.append((*row, digest(*row)))
    db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)", places)
    keys = _write_named(db, "keys", "value", meta.keys, list(changes.keys.items()))
    made = [(key, _encode(each)) for key, each in changes.decisions.items()]
    decisions = _write_named(db, "decisions", "body", meta.decisions, made)
    fresh = Meta(FORMAT, meta.journal, checkpoint, state.epoch, streams, keys, decisions)
    write_meta(db, fresh)
    return fresh


def _write_streams(db: sqlite3.Connection, total: bytes, heads: Sequence[Head]) -> bytes:
    rows = []
    for head in heads:
        old = db.execute("SELECT digest FROM streams WHERE number = ?", (head.number,)).fetchone()
        body = _encode(head)
        fresh = digest(head.number, body)
        total = mix(total, fresh) if old is None else mix(total, old[0], fresh)
        rows.append((head.number, body, fresh))
    db.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?, ?)", rows)
    return total


def _write_named(
    db: sqlite3.Connection, table: str, column: str, total: bytes, changes: Sequence[tuple[str, bytes | None]]
) -> bytes:
    gone: list[Any] = []
    rows = []
    for key, content in changes:
        old = db.execute(f"SELECT digest FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        if old is not None:
            total = mix(total, old[0])
        if content is None:
            gone.append((key,))
            continue
        fresh = digest(key, content)
        total = mix(total, fresh)
        rows.append((key, content, fresh))
    db.executemany(f"DELETE FROM {table} WHERE key = ?", gone)  # noqa: S608
    db.executemany(f"INSERT OR REPLACE INTO {table} (key, {column}, digest) VALUES (?, ?, ?)", rows)  # noqa: S608
    return total
