"""An audit in several files: one chain, whatever happens between two of them."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from mcp_interface.commands import ReadAudit
from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_interface.ids import SYSTEM
from mcp_interface.testing import ManualClock
from mcp_security import AuditLog
from mcp_security.audit import Draft
from mcp_security.chain import closed_numbers, closed_path, head_path
from mcp_security.trail import export
from mcp_security.verifier import verify

CLOCK = ManualClock()
SEGMENT = 2_000


def opened(path: Path, work):
    async def scenario():
        log = await AuditLog.open(path, CLOCK, seal_every=7, segment=SEGMENT)
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(scenario())


async def append(log: AuditLog, count: int) -> None:
    for _ in range(count):
        await log.append(kind="k", principal_id=SYSTEM)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Some full files and one that is not."""
    path = tmp_path / "audit.jsonl"
    opened(path, lambda log: append(log, 30))
    assert len(closed_numbers(path)) >= 3
    return path


def test_the_chain_goes_on_from_file_to_file(path: Path) -> None:
    files = [*(closed_path(path, number) for number in closed_numbers(path)), path]
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == [*range(1, len(lines) + 1)]
    assert [line["previous"] for line in lines] == ["", *(line["hash"] for line in lines[:-1])]
    for file in files[:-1]:
        seal, end = map(json.loads, file.read_bytes().splitlines()[-2:])
        assert (seal["kind"], end["kind"]) == ("audit_seal", "audit_rotated")
        assert end["details"]["file"] == file.name
    checked = verify(path)
    assert (checked.report.ok, checked.report.entries) == (True, len(lines))
    assert b"".join(export(path, ReadAudit())) == b"".join(file.read_bytes() for file in files)


def test_it_goes_on_over_restarts(path: Path) -> None:
    before = len(closed_numbers(path))
    for _ in range(8):
        opened(path, lambda log: append(log, 3))
    assert len(closed_numbers(path)) > before
    assert verify(path).report.ok
    report = opened(path, lambda log: log.verify())
    assert report.ok, report
    assert report.entries == verify(path).report.entries


def test_a_batch_is_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        await log.append_all([Draft(kind="k", principal_id=SYSTEM) for _ in range(50)])
        assert closed_numbers(path) == []
        await append(log, 1)
        assert closed_numbers(path) == [1]

    opened(path, work)


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_file_that_is_gone_is_found(path: Path, which: int) -> None:
    gone = closed_path(path, closed_numbers(path)[which])
    gone.unlink()
    assert not verify(path).report.ok
    with pytest.raises(StorageCorrupt, match=gone.name if which != -1 else "does not follow|head file"):
        opened(path, lambda log: log.verify())


def test_the_last_file_that_is_gone_is_found(path: Path) -> None:
    path.unlink()
    assert "is missing" in verify(path).report.problem
    with pytest.raises(StorageCorrupt, match="is missing"):
        opened(path, lambda log: log.verify())


def test_two_files_that_changed_places_are_found(path: Path) -> None:
    one, two = closed_path(path, 1), closed_path(path, 2)
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert verify(path).report.problem == f"{one.name}: line 1 does not follow the line before it"


def test_damage_in_a_full_file_is_found_by_the_check_and_names_the_file(path: Path) -> None:
    one = closed_path(path, 2)
    sound = one.read_bytes()
    one.write_bytes(sound.replace(b'"kind":"k"', b'"kind":"x"', 1))
    assert one.name in verify(path).report.problem
    assert one.name in opened(path, lambda log: log.verify()).problem
    one.write_bytes(sound[:-5])
    assert f"{one.name}: line" in verify(path).report.problem
    assert "is unfinished" in verify(path).report.problem


def test_a_changed_end_of_the_last_full_file_is_refused_at_the_start(path: Path) -> None:
    last = closed_path(path, closed_numbers(path)[-1])
    for content in (last.read_bytes()[:-9], last.read_bytes().replace(b"earliest", b"eariestl"), b""):
        sound = last.read_bytes()
        last.write_bytes(content)
        with pytest.raises(StorageCorrupt, match=f"{last.name}: the last line was changed"):
            opened(path, lambda log: log.verify())
        last.write_bytes(sound)


def until_full(path: Path, closed: int) -> None:
    async def work(log: AuditLog) -> None:
        while path.stat().st_size < SEGMENT:
            await append(log, 1)
        assert len(closed_numbers(path)) == closed

    opened(path, work)


@pytest.mark.parametrize("step", ["rename", "open", "fsync"])
def test_a_kill_at_any_step_of_a_rotation_loses_nothing(tmp_path: Path, monkeypatch, step: str) -> None:
    path = tmp_path / "audit.jsonl"

    class Killed(BaseException):
        pass

    def killed(*args, **fields):
        raise Killed

    async def work() -> None:
        log = await AuditLog.open(path, CLOCK, segment=SEGMENT)
        while path.stat().st_size < SEGMENT:
            await append(log, 1)
        entries = log.head[0]
        with monkeypatch.context() as patch:
            if step == "rename":
                patch.setattr(Path, "rename", killed)
            elif step == "open":
                patch.setattr("mcp_security.writing._open_private", killed)
            else:
                patch.setattr("mcp_security.writing._sync_directory", killed)
            try:
                # the thread is stopped where a kill would have stopped it; nothing is put in order afterwards
                log._writer._end_file(CLOCK.now())
                log._writer._next_file()
            except Killed:
                pass
        assert log.head[0] == entries + 2
        log._release()

    asyncio.run(work())
    assert verify(path).report.ok
    opened(path, lambda log: append(log, 1))
    assert closed_numbers(path) == [1]
    checked = verify(path)
    assert checked.report.ok, checked
    entries = [json.loads(line)["kind"] for line in export(path, ReadAudit(kind="k"))]
    assert len(entries) == len(closed_path(path, 1).read_bytes().splitlines()) - 2 + 1


def test_a_rotation_that_fails_is_tried_again_and_nothing_is_recorded_meanwhile(
    tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "audit.jsonl"

    def full(*args, **fields):
        raise OSError(28, "No space left on device")

    async def work(log: AuditLog) -> None:
        while path.stat().st_size < SEGMENT:
            await append(log, 1)
        for target in ((Path, "rename"), (os, "write")):
            with monkeypatch.context() as patch:
                patch.setattr(*target, full)
                with pytest.raises(StorageUnavailable, match="No space left"):
                    await append(log, 1)
        await append(log, 1)
        assert closed_numbers(path) == [1]
        assert (await log.verify()).ok

    opened(path, work)


def test_a_foreign_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        while path.stat().st_size < SEGMENT:
            await append(log, 1)
        closed_path(path, 1).write_text("mine")
        with pytest.raises(StorageUnavailable, match="another file is there"):
            await append(log, 1)
        assert closed_path(path, 1).read_text() == "mine"
        closed_path(path, 1).unlink()
        await append(log, 1)

    opened(path, work)
    assert verify(path).report.ok


def test_a_head_of_the_file_before_is_compared(path: Path) -> None:
    until_full(path, len(closed_numbers(path)))
    opened(path, lambda log: append(log, 1))
    last = closed_path(path, closed_numbers(path)[-1])
    end = json.loads(last.read_bytes().splitlines()[-1])
    path.write_bytes(b"")
    head_path(path).write_bytes(f"{end['seq']:020d} {'0' * 63}1\n".encode())
    with pytest.raises(StorageCorrupt, match="head file"):
        opened(path, lambda log: log.verify())
    head_path(path).write_bytes(f"{end['seq']:020d} {end['hash']}\n".encode())
    assert opened(path, lambda log: log.verify()).ok


def test_a_second_process_cannot_open_it_after_a_rotation(path: Path) -> None:
    async def work(log: AuditLog) -> None:
        before = len(closed_numbers(path))
        while len(closed_numbers(path)) == before:
            await append(log, 1)
        with pytest.raises(StorageUnavailable, match="another process"):
            await AuditLog.open(path, CLOCK)

    opened(path, work)


def test_it_can_be_checked_and_read_while_it_rotates(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        await append(log, 1)
        writing = asyncio.create_task(append(log, 150))
        checks = 0
        while not writing.done():
            checked = await asyncio.to_thread(verify, path)
            assert checked.report.ok, checked
            report = await log.verify()
            assert report.ok, report
            entries = (await log.query(ReadAudit(limit=1000, oldest_first=True))).items
            assert [entry.seq for entry in entries] == [*range(1, len(entries) + 1)]
            checks += 1
        assert checks > 1
        await writing

    opened(path, work)
    assert len(closed_numbers(path)) > 5


def test_other_files_of_a_similar_name_are_left_alone(path: Path) -> None:
    for name in (
        "audit-1.jsonl",
        "audit-000001.txt",
        "audit-notes.jsonl",
        "audit2-000001.jsonl",
        "audit-0000x1.jsonl",
    ):
        (path.parent / name).write_text("mine")
    assert verify(path).report.ok
    assert opened(path, lambda log: log.verify()).ok
