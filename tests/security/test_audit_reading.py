"""Pages in both directions, stretches of time, and raw lines for elsewhere."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_interface.commands import ReadAudit
from mcp_interface.errors import CallerMistaken, StorageCorrupt
from mcp_interface.ids import SYSTEM
from mcp_interface.testing import ManualClock
from mcp_security import AuditLog, trail
from mcp_security.audit import Draft
from mcp_security.chain import closed_numbers, closed_path
from mcp_security.trail import export
from mcp_security.verifier import main, verify

START = datetime(2030, 1, 1, tzinfo=UTC)


class SteppingClock(ManualClock):
    """One second later with each look; may be set."""

    at = START

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def opened(path: Path, work, segment: int = 20_000, clock: SteppingClock | None = None):
    async def scenario():
        log = await AuditLog.open(path, clock or SteppingClock(), segment=segment)
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(scenario())


async def walk(log: AuditLog, **fields) -> list[int]:
    seen, cursor, pages = [], None, 0
    while True:
        page = await log.query(ReadAudit(cursor=cursor, **fields))
        seen += [entry.seq for entry in page.items]
        cursor = page.cursor
        pages += 1
        assert pages < 1_000
        if cursor is None:
            return seen


def test_pages_lead_through_all_files_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        for _ in range(300):
            await log.append(kind="k", principal_id=SYSTEM)
        assert len(closed_numbers(path)) > 3
        everything = [*range(1, log.head[0] + 1)]
        assert await walk(log, limit=7, oldest_first=True) == everything
        assert await walk(log, limit=7) == everything[::-1]
        # a cursor is a place: it leads on in the other direction, too
        page = await log.query(ReadAudit(limit=5))
        back = await log.query(ReadAudit(limit=1_000, oldest_first=True, cursor=page.cursor))
        assert [entry.seq for entry in back.items] == [entry.seq for entry in reversed(page.items)]

    opened(path, work)


def test_a_page_that_is_the_last_says_so(tmp_path: Path) -> None:
    async def work(log: AuditLog) -> None:
        for _ in range(10):
            await log.append(kind="k", principal_id=SYSTEM)
        for oldest_first in (False, True):
            page = await log.query(ReadAudit(limit=10, oldest_first=oldest_first))
            assert len(page.items) == 10
            assert page.cursor is None

    opened(tmp_path / "audit.jsonl", work)


def test_since_and_until_are_right_when_the_clock_is_set_back(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.jsonl", SteppingClock()

    async def work(log: AuditLog) -> None:
        times = {}
        for step in (0, -250, 100, -3_600, 7_200):
            clock.at += timedelta(seconds=step)
            for _ in range(100):
                entry = await log.append(kind="k", principal_id=SYSTEM)
                times[entry.seq] = entry.time
        assert len(closed_numbers(path)) > 3
        for since, until in (
            (0, 50),
            (90, 120),
            (-3_600, -3_300),
            (3_000, 9_999),
            (5_000, 1),
            (None, 7),
            (40, None),
        ):
            low = None if since is None else START + timedelta(seconds=since)
            high = None if until is None else START + timedelta(seconds=until)
            wanted = [
                seq
                for seq, time in times.items()
                if (low is None or time >= low) and (high is None or time < high)
            ]
            for oldest_first in (True, False):
                found = await walk(log, since=low, until=high, kind="k", limit=33, oldest_first=oldest_first)
                assert found == (wanted if oldest_first else wanted[::-1])

    opened(path, work, clock=clock)


def test_a_stretch_of_time_does_not_read_the_rest(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "audit.jsonl"
    read = []

    async def work(log: AuditLog) -> None:
        for _ in range(20):
            await log.append_all([Draft(kind="k", principal_id=SYSTEM) for _ in range(500)])
        assert len(closed_numbers(path)) >= 3
        original = trail.Trail._read
        monkeypatch.setattr(
            trail.Trail, "_read", lambda self, *place: (read.append(place), original(self, *place))[1]
        )
        last = (await log.query(ReadAudit(limit=1))).items[0]
        first = (await log.query(ReadAudit(limit=1, oldest_first=True))).items[0]
        read.clear()
        assert len(await walk(log, since=last.time, kind="k", limit=1_000)) == 500
        assert len(await walk(log, until=first.time + timedelta(seconds=1), kind="k", limit=1_000)) == 500
        assert await walk(log, since=last.time + timedelta(days=1)) == []
        whole = sum(file.stat().st_size for file in tmp_path.glob("*.jsonl"))
        assert sum(end - begin for _, begin, end in read) < whole / 4

    opened(path, work, segment=700_000)


def test_a_rare_entry_is_found_page_by_page_in_both_directions(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trail, "MAX_SCANNED", 10)

    async def work(log: AuditLog) -> None:
        for n in range(95):
            await log.append(kind="rare" if n in {3, 90} else "usual", principal_id=SYSTEM)
        assert (await log.query(ReadAudit(kind="none"))).items == []
        for oldest_first in (True, False):
            found = await walk(log, kind="rare", oldest_first=oldest_first)
            assert len(found) == 2
            assert found == sorted(found, reverse=not oldest_first)

    opened(tmp_path / "audit.jsonl", work)


def test_bad_cursors_and_times_are_refused(tmp_path: Path) -> None:
    async def work(log: AuditLog) -> None:
        for _ in range(100):
            await log.append(kind="k", principal_id=SYSTEM)
        for cursor in (
            "",
            ".",
            "1",
            "1.",
            ".1",
            "0.0",
            "1.1",
            "99.0",
            "1.99999999",
            "-1.0",
            "1.0.0",
            "٣.0",
            "1" * 30 + ".0",
        ):
            for oldest_first in (True, False):
                with pytest.raises(CallerMistaken, match="cursor"):
                    await log.query(ReadAudit(cursor=cursor, oldest_first=oldest_first))
        for field in ("since", "until"):
            with pytest.raises(CallerMistaken, match="time zone"):
                await log.query(ReadAudit(**{field: START.replace(tzinfo=None)}))

    opened(tmp_path / "audit.jsonl", work)


def test_damage_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        for _ in range(100):
            await log.append(kind="k", principal_id=SYSTEM)
        one = closed_path(path, 1)
        one.write_bytes(one.read_bytes().replace(b'"seq":3,', b'"seq":x,'))
        with pytest.raises(StorageCorrupt, match="file 1"):
            await walk(log)

    opened(path, work)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"

    async def work(log: AuditLog) -> None:
        for n in range(200):
            denied = n % 10 == 0
            await log.append(
                kind="access_denied" if denied else "access_allowed",
                principal_id=SYSTEM,
                resource_uri=f"mcp://fs/read/ü/{n}",
                decision="denied" if denied else "allowed",
            )

    opened(path, work)
    return path


def files(path: Path) -> bytes:
    return (
        b"".join(closed_path(path, number).read_bytes() for number in closed_numbers(path))
        + path.read_bytes()
    )


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mcp_security.audit", *arguments],
        capture_output=True,
        timeout=60,
    )


def test_the_program_exports_the_bytes_as_they_are(filled: Path) -> None:
    done = run("export", str(filled))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == files(filled)
    copy = filled.parent / "copy.jsonl"
    copy.write_bytes(done.stdout)
    (filled.parent / "copy.head").write_bytes((filled.parent / "audit.head").read_bytes())
    assert verify(copy, filled.parent / "audit.pub").report.ok


def test_the_program_exports_what_is_asked_for(filled: Path, capfdbinary) -> None:
    def exported(*arguments: str) -> list[dict]:
        assert main(["export", str(filled), *arguments]) == 0
        lines = capfdbinary.readouterr().out.splitlines(keepends=True)
        assert set(lines) <= set(files(filled).splitlines(keepends=True))
        return [json.loads(line) for line in lines]

    assert len(exported("--denied")) == 20
    assert len(exported("--kind", "access_allowed")) == 180
    assert len(exported("--uri", "mcp://fs/*/ü/1*")) == 111
    assert exported("--principal", "agent_x") == exported("--capability", "cap_x") == []
    some = exported("--since", "2030-01-01T00:00:10Z", "--until", "2030-01-01T01:00:20+01:00")
    assert [entry["time"] for entry in some] == [f"2030-01-01T00:00:{second}Z" for second in range(10, 20)]


def test_an_export_stops_at_damage_and_says_so(filled: Path, capfdbinary) -> None:
    sound = files(filled)
    filled.write_bytes(filled.read_bytes()[:-10])
    assert main(["export", str(filled)]) == 1
    out, err = capfdbinary.readouterr()
    assert sound.startswith(out)
    assert b"is missing" in err
    with pytest.raises(StorageCorrupt):
        list(export(filled, ReadAudit(kind="none")))
    with pytest.raises(CallerMistaken, match="time zone"):
        list(export(filled, ReadAudit(since=START.replace(tzinfo=None))))


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "x", "--since", "yesterday"],
        ["export", "x", "--until", "2030-01-01T00:00:00"],
        ["export"],
        ["sell", "x"],
        [],
    ],
)
def test_a_wrong_usage_ends_with_2(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_reader_that_has_seen_enough_does_no_harm(filled: Path) -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m mcp_security.audit export '{filled}' | head -n 1",
        shell=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == files(filled).splitlines(keepends=True)[0]
    assert done.stderr == b""


def test_an_unfinished_last_line_is_left_out(filled: Path) -> None:
    sound = files(filled)
    with filled.open("ab") as file:
        file.write(b'{"seq":')
    assert b"".join(export(filled, ReadAudit())) == sound
