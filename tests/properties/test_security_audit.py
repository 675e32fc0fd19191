"""Whatever is done to an audit file is found: any bit, any line, any cut."""

import asyncio
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.ids import SYSTEM
from mcp_interface.testing import ManualClock
from mcp_security import AuditLog
from mcp_security.chain import head_path, verify

ENTRIES = 6


@cache
def sound() -> tuple[bytes, bytes]:
    async def scenario(path: Path) -> None:
        log = await AuditLog.open(path, ManualClock())
        for number in range(ENTRIES):
            await log.append(
                kind="access_denied",
                principal_id=SYSTEM,
                resource_uri=f"mcp://fs/read/ü/{number}",
                details={"b": [1, {"z": None, "a": "\n"}], "a": 0.5},
            )
        await log.close()

    with TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        asyncio.run(scenario(path))
        return path.read_bytes(), head_path(path).read_bytes()


def found(log: bytes, head: bytes) -> bool:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        path.write_bytes(log)
        head_path(path).write_bytes(head)
        return not verify(path).ok


def test_the_untouched_file_is_sound() -> None:
    assert not found(*sound())


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_single_flipped_bit_is_found(data: st.DataObject) -> None:
    log, head = sound()
    at = data.draw(st.integers(0, (len(log) + len(head)) * 8 - 1))
    both = bytearray(log + head)
    both[at // 8] ^= 1 << at % 8
    assert found(bytes(both[: len(log)]), bytes(both[len(log) :]))


@settings(deadline=None)
@given(st.data())
def test_a_cut_is_found(data: st.DataObject) -> None:
    log, head = sound()
    assert found(log[: data.draw(st.integers(0, len(log) - 1))], head)


@settings(deadline=None)
@given(st.data())
def test_a_deleted_doubled_or_moved_line_is_found(data: st.DataObject) -> None:
    log, head = sound()
    lines = log.splitlines(keepends=True)
    order = data.draw(
        st.lists(st.integers(0, ENTRIES - 1), max_size=ENTRIES + 2).filter(lambda o: o != [*range(ENTRIES)])
    )
    assert found(b"".join(lines[at] for at in order), head)


def test_every_flipped_bit_of_the_last_two_lines_is_found() -> None:
    log, head = sound()
    begin = len(b"".join(log.splitlines(keepends=True)[:-2]))
    for at in range(begin * 8, len(log) * 8, 3):
        changed = bytearray(log)
        changed[at // 8] ^= 1 << at % 8
        assert found(bytes(changed), head), at
