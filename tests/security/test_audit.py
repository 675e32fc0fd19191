import asyncio
import json
import os
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import ReadAudit
from mcp_interface.errors import CallerMistaken, OurBug, StorageCorrupt, StorageUnavailable, TooMuch
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.testing import ManualClock
from mcp_security import AuditLog, trail
from mcp_security import audit as audit_module
from mcp_security.audit import Draft
from mcp_security.chain import seal_line
from mcp_security.trail import export
from mcp_security.verifier import verify

CLOCK = ManualClock()


def write(path: Path, count: int, **fields) -> None:
    async def scenario() -> None:
        log = await AuditLog.open(path, CLOCK)
        await asyncio.gather(
            *(log.append(kind=f"kind_{at}", principal_id=SYSTEM, **fields) for at in range(count))
        )
        await log.close()

    asyncio.run(scenario())


def opened(path: Path, work):
    async def scenario():
        log = await AuditLog.open(path, CLOCK)
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(scenario())


def test_the_chain_continues_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 3)
    write(path, 2)
    lines = path.read_bytes().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert [entry["kind"] for entry in entries[3::3]] == ["audit_seal"] * 2
    assert [entry["previous"] for entry in entries] == ["", *(entry["hash"] for entry in entries[:-1])]
    for line, entry in zip(lines, entries, strict=True):
        unsealed = line.replace(f'"hash":"{entry["hash"]}"'.encode(), b'"hash":""')
        assert sha256(unsealed).hexdigest() == entry["hash"]
    report = opened(path, lambda log: log.verify())
    assert (report.ok, report.entries, report.head) == (True, 7, entries[-1]["hash"])


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch(mode=0o644)
    write(path, 1)
    files = list(tmp_path.iterdir())
    assert {file.suffix for file in files} == {".jsonl", ".head", ".key", ".pub"}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_appended_entry_is_on_disk_and_appends_at_once_share_a_sync(tmp_path: Path, monkeypatch) -> None:
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (syncs.append(file), sync(file)))
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        entries = await asyncio.gather(
            *(log.append(kind="k", principal_id=SYSTEM, details={"n": n}) for n in range(500))
        )
        assert [entry.seq for entry in entries] == list(range(1, 501))
        assert [entry.details["n"] for entry in entries] == list(range(500))
        assert len(path.read_bytes().splitlines()) == 500
        assert log.head == (500, entries[-1].hash)

    opened(path, work)
    assert len(syncs) <= 3


def test_a_torn_last_line_is_cut_off_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 2)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"ti')
    page = opened(path, lambda log: log.query(ReadAudit()))
    assert [(entry.seq, entry.kind) for entry in page.items] == [
        (4, "audit_torn_tail"),
        (3, "audit_seal"),
        (2, "kind_1"),
        (1, "kind_0"),
    ]
    assert page.items[0].details == {"bytes": 12}
    assert opened(path, lambda log: log.verify()).ok


def test_damage_in_the_middle_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 3)
    path.write_bytes(path.read_bytes().replace(b"kind_1", b"kind_9"))
    with pytest.raises(StorageCorrupt, match="line 2 was changed") as caught:
        opened(path, lambda log: log.verify())
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[:-1], "line 4 is missing"),
        (lambda lines: lines[:1], "line 2 is missing"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 does not follow"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], b"not json"], "line 3 does not end with a hash"),
        (lambda lines: [*lines[:2], b"x" * 300_000], "longer than"),
        (lambda lines: [], "line 1 is missing"),
    ],
)
def test_what_was_taken_or_added_is_found(tmp_path: Path, change, problem: str) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 3)
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))
    with pytest.raises(StorageCorrupt, match=problem):
        opened(path, lambda log: log.verify())
    assert problem in verify(path).report.problem


@pytest.mark.parametrize(
    ("changes", "problem"), [({"seq": 5}, "has number 5"), ({"previous": "x"}, "follow")]
)
def test_a_line_with_a_right_hash_in_the_wrong_place_is_found(tmp_path: Path, changes, problem: str) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 2)
    last = msgspec.json.decode(path.read_bytes().splitlines()[-1], type=AuditEntry)
    forged = msgspec.structs.replace(last, **{"seq": 4, "previous": last.hash, "hash": "", **changes})
    with path.open("ab") as file:
        file.write(seal_line(forged))
    assert problem in verify(path).report.problem


def test_a_line_with_a_right_hash_that_is_no_entry_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 1)
    body = b'{"seq":"two","hash":""}'
    with path.open("ab") as file:
        file.write(body.replace(b'""', b'"' + sha256(body).hexdigest().encode() + b'"') + b"\n")
    assert "line 3 is not an entry" in verify(path).report.problem


def test_a_recomputed_end_does_not_match_the_head(tmp_path: Path) -> None:
    path, other = tmp_path / "audit.jsonl", tmp_path / "other.jsonl"
    write(path, 3)
    write(other, 3, reason="another story")
    path.write_bytes(other.read_bytes())
    (tmp_path / "audit.pub").unlink()
    assert "head file" in verify(path).report.problem


@pytest.mark.parametrize("content", [None, b"", b"0", b"x" * 86])
def test_a_missing_or_damaged_head_is_found(tmp_path: Path, content: bytes | None) -> None:
    path, head = tmp_path / "audit.jsonl", tmp_path / "audit.head"
    write(path, 3)
    head.unlink()
    if content is not None:
        head.write_bytes(content)
    assert "audit.head" in verify(path).report.problem
    with pytest.raises(StorageCorrupt, match=r"audit\.head"):
        opened(path, lambda log: log.verify())


def test_a_head_that_lags_behind_is_no_damage(tmp_path: Path) -> None:
    path, head = tmp_path / "audit.jsonl", tmp_path / "audit.head"
    write(path, 2)
    before = head.read_bytes()
    write(path, 2)
    head.write_bytes(before)
    assert verify(path).report.ok
    assert opened(path, lambda log: log.verify()).entries == 6


def test_a_running_log_notices_that_its_files_were_changed(tmp_path: Path) -> None:
    path, head = tmp_path / "audit.jsonl", tmp_path / "audit.head"

    async def work(log: AuditLog) -> None:
        for n in range(3):
            await log.append(kind="k", principal_id=SYSTEM, details={"n": n})
        content, mark = path.read_bytes(), head.read_bytes()
        assert (await log.verify()).ok
        path.write_bytes(content.replace(b'"n":1', b'"n":7'))
        assert (await log.verify()).problem.startswith("line 2 was changed")
        path.write_bytes(b"".join(content.splitlines(keepends=True)[:2]))
        head.write_bytes(mark)
        assert "line 3 is missing" in (await log.verify()).problem
        path.write_bytes(content)
        head.unlink()
        assert "audit.head was changed" in (await log.verify()).problem

    opened(path, work)


def test_a_second_process_cannot_open_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        with pytest.raises(StorageUnavailable, match="another process"):
            await AuditLog.open(path, CLOCK)
        await log.append(kind="k", principal_id=SYSTEM)

    opened(path, work)


def test_a_refused_file_is_released(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 2)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"kind_0", b"kind_9"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageCorrupt):
        opened(path, lambda log: log.verify())
    assert len(os.listdir("/proc/self/fd")) == before
    path.write_bytes(content)
    assert opened(path, lambda log: log.verify()).ok


APPENDER = """
import asyncio, sys
from pathlib import Path
from mcp_interface.clock import SystemClock
from mcp_security import AuditLog

async def one(log):
    while True:
        entry = await log.append(kind="k", principal_id="system", details={"pad": "x" * 500})
        print(entry.seq, entry.hash, flush=True)

async def main():
    log = await AuditLog.open(Path(sys.argv[1]), SystemClock(), seal_every=10, segment=30_000)
    await asyncio.gather(*(one(log) for _ in range(20)))

asyncio.run(main())
"""


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    acknowledged: dict[int, str] = {}
    for turn in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            for _ in range(300 + 77 * turn):
                seq, digest = process.stdout.readline().split()
                acknowledged[int(seq)] = digest
            process.kill()
            process.stdout.read()
            process.wait(10)
    report = opened(path, lambda log: log.verify())
    assert report.ok
    lines = [json.loads(line) for line in export(path, ReadAudit())]
    assert [entry["seq"] for entry in lines] == [*range(1, len(lines) + 1)]
    assert path.with_name("audit-000001.jsonl").exists()  # it was killed around rotations, too
    hashes = {entry["seq"]: entry["hash"] for entry in lines}
    assert {seq: hashes.get(seq) for seq in acknowledged} == acknowledged


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailable):
        opened(tmp_path / "audit.jsonl", lambda log: log.verify())


def test_a_disk_that_is_full_leaves_the_chain_whole_and_writing_goes_on_later(
    tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        await log.append(kind="before", principal_id=SYSTEM)
        write_ = os.write

        def full(file: int, data) -> int:
            monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
            return write_(file, data[:10])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageUnavailable, match="No space left"):
            await log.append(kind="lost", principal_id=SYSTEM)
        monkeypatch.setattr(os, "write", write_)
        assert (await log.append(kind="after", principal_id=SYSTEM)).seq == 2
        assert (await log.verify()).ok

    opened(path, work)
    assert verify(path).report.entries == 3  # and the seal


def test_after_a_failed_sync_nothing_is_recorded_any_more(tmp_path: Path, monkeypatch) -> None:
    async def work(log: AuditLog) -> None:
        def fails(file: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fails)
            with pytest.raises(StorageUnavailable):
                await log.append(kind="k", principal_id=SYSTEM)
        with pytest.raises(StorageUnavailable, match="failed to sync"):
            await log.append(kind="k", principal_id=SYSTEM)

    opened(tmp_path / "audit.jsonl", work)


def test_a_closed_log_refuses(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = await AuditLog.open(tmp_path / "audit.jsonl", CLOCK)
        await log.close()
        await log.close()
        with pytest.raises(StorageUnavailable, match="closed"):
            await log.append(kind="k", principal_id=SYSTEM)

    asyncio.run(scenario())


def test_too_many_waiting_entries_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(audit_module, "MAX_WAITING", 5)

    async def work(log: AuditLog) -> None:
        done = await asyncio.gather(
            *(log.append(kind="k", principal_id=SYSTEM) for _ in range(9)), return_exceptions=True
        )
        assert [isinstance(one, TooMuch) for one in done] == [False] * 5 + [True] * 4

    opened(tmp_path / "audit.jsonl", work)


def test_several_entries_are_recorded_together_in_their_order(tmp_path: Path, monkeypatch) -> None:
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (syncs.append(file), sync(file)))
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        assert await log.append_all([]) == []
        before = len(syncs)
        drafts = [
            Draft(
                kind="capability_revoked",
                principal_id=SYSTEM,
                decision="revoked",
                resource_uri="mcp://fs/read/x",
                capability_id=CapabilityId(f"cap_{n:032x}"),
                reason="token=hunter2",
                details={"by": "user", "n": n},
            )
            for n in range(300)
        ]
        entries = await log.append_all(drafts)
        assert len(syncs) == before + 1
        assert [entry.seq for entry in entries] == [*range(1, 301)]
        assert {entry.reason for entry in entries} == {"token=[redacted]"}
        on_disk = [msgspec.json.decode(line, type=AuditEntry) for line in path.read_bytes().splitlines()]
        assert entries == on_disk
        assert log.head == (300, entries[-1].hash)

    opened(path, work)


def test_what_the_caller_changes_later_is_not_recorded(tmp_path: Path) -> None:
    async def work(log: AuditLog) -> None:
        details = {"a": [1], "b": {"c": 2}}
        waiting = asyncio.create_task(log.append(kind="k", principal_id=SYSTEM, details=details))
        await asyncio.sleep(0)
        details["a"].append(2)
        details["b"]["c"] = details["d"] = 3
        assert (await waiting).details == {"a": [1], "b": {"c": 2}}
        assert (await log.query(ReadAudit())).items[0].details == {"a": [1], "b": {"c": 2}}

    opened(tmp_path / "audit.jsonl", work)


def test_a_cancelled_caller_takes_nothing_back_and_disturbs_nobody(tmp_path: Path) -> None:
    async def work(log: AuditLog) -> None:
        tasks = [asyncio.create_task(log.append(kind=f"k{n}", principal_id=SYSTEM)) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        assert [entry.kind for entry in (await tasks[0], await tasks[2])] == ["k0", "k2"]
        assert tasks[1].cancelled()
        assert [entry.kind for entry in (await log.query(ReadAudit())).items] == ["k2", "k1", "k0"]

    opened(tmp_path / "audit.jsonl", work)


@pytest.mark.parametrize("kind", ["audit_seal", "audit_rotated"])
def test_what_only_the_audit_says_cannot_be_said_by_others(tmp_path: Path, kind: str) -> None:
    async def work(log: AuditLog) -> None:
        with pytest.raises(CallerMistaken, match=kind):
            await log.append(kind=kind, principal_id=SYSTEM)
        with pytest.raises(CallerMistaken, match=kind):
            await log.append_all(
                [Draft(kind="k", principal_id=SYSTEM), Draft(kind=kind, principal_id=SYSTEM)]
            )
        assert log.head == (0, "")

    opened(tmp_path / "audit.jsonl", work)


def test_names_that_are_no_text_or_endless_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        entries = await log.append_all(
            [
                Draft(kind="k\ud800", principal_id=SYSTEM, resource_uri="mcp://fs/read/\udcff"),
                Draft(kind="\x00" * 10**6, principal_id=PrincipalId("\x00" * 10**6), reason="\x00" * 10**6),
                Draft(
                    kind="k", principal_id=SYSTEM, details={"n": 10**30, "huge": 10**9000, "\x00" * 10**5: 1}
                ),
            ]
        )
        assert entries[0].resource_uri == "mcp://fs/read/\\udcff"
        assert entries[1].kind.endswith("(1000000 characters)")
        assert (await log.verify()).ok
        assert [entry.seq for entry in (await log.query(ReadAudit())).items] == [3, 2, 1]

    opened(path, work)
    assert verify(path).report.ok


def test_an_error_of_ours_reaches_who_waits_and_writing_goes_on(tmp_path: Path, monkeypatch) -> None:
    async def work(log: AuditLog) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("mcp_security.writing.seal_line", lambda entry: 1 / 0)
            with pytest.raises(OurBug, match="ZeroDivisionError"):
                await log.append(kind="k", principal_id=SYSTEM)
        assert (await log.append(kind="k", principal_id=SYSTEM)).seq == 1

    opened(tmp_path / "audit.jsonl", work)


def test_queries_are_newest_first_filtered_and_paged(tmp_path: Path) -> None:
    agent = PrincipalId("agent_" + "a" * 32)
    capability = CapabilityId("cap_" + "c" * 32)

    async def work(log: AuditLog) -> None:
        for n in range(25):
            await log.append(
                kind="access_denied" if n % 5 == 0 else "access_allowed",
                principal_id=agent if n % 2 else SYSTEM,
                resource_uri=f"mcp://fs/read/data/{n}",
                capability_id=capability if n == 7 else None,
                decision="denied" if n % 5 == 0 else "allowed",
                details={"pad": "x" * (n * 150)},
            )
        seen, cursor = [], None
        while True:
            page = await log.query(ReadAudit(limit=4, cursor=cursor))
            assert len(page.items) <= 4
            seen += [entry.seq for entry in page.items]
            cursor = page.cursor
            if cursor is None:
                break
            await log.append(kind="meanwhile", principal_id=SYSTEM)
        assert seen == list(range(25, 0, -1))

        async def found(**fields) -> list[int]:
            return [entry.seq for entry in (await log.query(ReadAudit(limit=1000, **fields))).items]

        assert await found(capability_id=capability) == [8]
        assert await found(denied_only=True) == [21, 16, 11, 6, 1]
        assert await found(principal=agent, kind="access_denied") == [16, 6]
        assert await found(resource_uri="mcp://fs/*/data/2*") == [25, 24, 23, 22, 21, 3]
        for cursor in ("x", "-1", "999999999", "٣", "17"):
            with pytest.raises(CallerMistaken):
                await log.query(ReadAudit(cursor=cursor))

    opened(tmp_path / "audit.jsonl", work)


def test_one_query_looks_at_a_bounded_part_and_goes_on_from_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trail, "MAX_SCANNED", 10)

    async def work(log: AuditLog) -> None:
        for n in range(25):
            await log.append(kind="rare" if n == 0 else "usual", principal_id=SYSTEM)
        pages, cursor = 0, None
        while True:
            page = await log.query(ReadAudit(kind="rare", cursor=cursor))
            pages += 1
            if page.cursor is None:
                assert [entry.seq for entry in page.items] == [1]
                break
            assert page.items == []
            cursor = page.cursor
        assert pages == 3

    opened(tmp_path / "audit.jsonl", work)


def test_secrets_are_redacted_and_odd_values_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    loop: list = []
    loop.append(loop)

    async def work(log: AuditLog) -> None:
        await log.append(
            kind="k",
            principal_id=SYSTEM,
            reason="Authorization: Bearer hunter2hunter2",
            details={
                "deep": [{"Api-Key": "hunter2", "fine": {"clientSecret": ["hunter2"]}}],
                "loop": loop,
                "object": object(),
                "surrogate": "\ud800",
                "lines": "a\nb\u2028c",
            },
        )
        await log.append(kind="k", principal_id=SYSTEM, details={"much": ["x" * 3000] * 100})

    opened(path, work)
    text = path.read_text()
    assert "hunter2" not in text
    assert len(path.read_bytes().splitlines()) == 3
    assert "bytes of details" in text
    assert verify(path).report.ok


def run_verifier(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mcp_security.audit", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_small_verifier_tells_sound_from_damaged(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 3)
    head = json.loads(path.read_bytes().splitlines()[-1])["hash"]
    sound = run_verifier("verify", str(path))
    assert sound.returncode == 0
    assert sound.stdout.splitlines()[0] == f"sound: 4 entries, head {head}"
    assert "entries 1 to 3 of 4" in sound.stdout.splitlines()[1]
    path.write_bytes(path.read_bytes().replace(b"kind_1", b"kind_0"))
    damaged = run_verifier("verify", str(path))
    assert damaged.returncode == 1
    assert "line 2 was changed" in damaged.stdout
    assert run_verifier("verify", str(tmp_path / "none")).returncode == 1
    assert run_verifier().returncode == 2


def test_the_small_verifier_loads_no_kernel() -> None:
    code = "import sys, mcp_security.{module}; print(*sys.modules)"
    for module in ("audit", "verifier"):
        loaded = subprocess.run(
            [sys.executable, "-c", code.format(module=module)], capture_output=True, text=True, timeout=60
        ).stdout.split()
        assert f"mcp_security.{module}" in loaded
        for heavy in ("kernel", "derivation", "constraints", "validators", "minting", "decision"):
            assert f"mcp_security.{heavy}" not in loaded
        assert "cryptography" not in loaded
