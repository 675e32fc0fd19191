"""Whatever is done to an audit is found: any bit, any line, any cut. What is asked of it is what is in it."""

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.capability import AuditEntry
from mcp_interface.commands import ReadAudit
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_security import AuditLog, trail
from mcp_security.audit import Draft
from mcp_security.chain import closed_numbers, closed_path, head_path
from mcp_security.patterns import glob_matches
from mcp_security.redaction import MAX_DEPTH, redact, redact_text
from mcp_security.seals import public_path
from mcp_security.trail import Index, export
from mcp_security.verifier import verify

NIGHTLY = os.environ.get("UMBRELLA_PROFILE") == "nightly"
ENTRIES = 3
SECRET = "hunter2-hunter2"


@cache
def sound() -> dict[str, bytes]:
    """Each file of a small audit of two files: three entries, seals, a rotation."""

    async def scenario(path: Path) -> None:
        log = await AuditLog.open(path, ManualClock(), SeededEntropy(1), segment=700)
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
        assert closed_numbers(path) == [1]
        names = (closed_path(path, 1).name, path.name, head_path(path).name, public_path(path).name)
        return {name: (path.parent / name).read_bytes() for name in names}


class Copy:
    """A copy of the audit that can be changed and checked, again and again."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "audit.jsonl"
        self.write(**sound())

    def write(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.path.parent / name).write_bytes(content)

    def found(self, **changed: bytes) -> bool:
        """Tell whether the check finds the change; take it back."""
        self.write(**changed)
        report = verify(self.path).report
        self.write(**{name: sound()[name] for name in changed})
        return not report.ok


def test_the_untouched_audit_is_sound() -> None:
    with TemporaryDirectory() as folder:
        copy = Copy(folder)
        assert not copy.found()
        checked = verify(copy.path)
        assert checked.report.entries == checked.sealed + 1


def flips(path: Path, bits: Callable[[int], Iterable[int]]) -> Iterator[str]:
    """Flip one bit after the other, in place; yield what was done while it is so."""
    file = os.open(path, os.O_RDWR)
    try:
        for place, byte in enumerate(path.read_bytes()):
            for bit in bits(place):
                os.pwrite(file, bytes([byte ^ 1 << bit]), place)
                yield f"{path.name}: bit {bit} of byte {place}"
            os.pwrite(file, bytes([byte]), place)
    finally:
        os.close(file)


def test_every_single_flipped_bit_is_found() -> None:
    """Each bit of the head and of the file that is written to; of the full file one bit of each byte, by night each."""
    with TemporaryDirectory() as folder:
        path = Copy(folder).path
        for name in ("audit-000001.jsonl", "audit.jsonl", "audit.head"):
            some = name == "audit-000001.jsonl" and not NIGHTLY
            for flipped in flips(path.with_name(name), lambda at, some=some: [at % 8] if some else range(8)):
                assert not verify(path).report.ok, flipped
        assert verify(path).report.ok


def test_a_flipped_bit_of_the_public_key_never_makes_another_key_pass() -> None:
    with TemporaryDirectory() as folder:
        path = Copy(folder).path
        for flipped in flips(public_path(path), lambda at: range(8)):
            checked = verify(path)
            assert not checked.report.ok or checked.sealed == checked.report.entries - 1, flipped


@settings(deadline=None)
@given(st.data())
def test_a_cut_is_found(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["audit-000001.jsonl", "audit.jsonl"]))
    content = sound()[name]
    with TemporaryDirectory() as folder:
        assert Copy(folder).found(**{name: content[: data.draw(st.integers(0, len(content) - 1))]})


@settings(deadline=None)
@given(st.data())
def test_a_deleted_doubled_or_moved_line_is_found(data: st.DataObject) -> None:
    files = sound()
    lines = (files["audit-000001.jsonl"] + files["audit.jsonl"]).splitlines(keepends=True)
    places = st.integers(0, len(lines) - 1)
    order = data.draw(
        st.lists(places, max_size=len(lines) + 2)
        | st.permutations(range(len(lines)))
        | places.map(lambda gone: [at for at in range(len(lines)) if at != gone])
    )
    if order != [*range(len(lines))]:
        cut = data.draw(st.integers(0, len(order)))
        with TemporaryDirectory() as folder:
            first, second = (b"".join(lines[at] for at in part) for part in (order[:cut], order[cut:]))
            assert Copy(folder).found(**{"audit-000001.jsonl": first, "audit.jsonl": second})


# -- queries ---------------------------------------------------------------------------------------------

START = datetime(2030, 1, 1, tzinfo=UTC)
PRINCIPALS = [PrincipalId("agent_" + letter * 32) for letter in "ab"]
CAPABILITIES = [CapabilityId("cap_" + letter * 32) for letter in "ab"]
URIS = ["mcp://fs/read/a", "mcp://fs/read/b/c", "mcp://db/read/main/t"]
times = st.integers(-30, 90).map(lambda seconds: START + timedelta(seconds=seconds))


class SetClock(ManualClock):
    at = START

    def now(self) -> datetime:
        return self.at


drafts = st.builds(
    Draft,
    kind=st.sampled_from(["access_allowed", "access_denied"]),
    principal_id=st.sampled_from(PRINCIPALS),
    resource_uri=st.none() | st.sampled_from(URIS),
    capability_id=st.none() | st.sampled_from(CAPABILITIES),
    decision=st.sampled_from(["allowed", "denied"]),
)
batches = st.lists(st.tuples(times, st.lists(drafts, min_size=1, max_size=6)), max_size=12)
questions = st.builds(
    ReadAudit,
    kind=st.none() | st.sampled_from(["access_allowed", "audit_seal", "audit_rotated"]),
    principal=st.none() | st.sampled_from([*PRINCIPALS, SYSTEM]),
    capability_id=st.none() | st.sampled_from(CAPABILITIES),
    resource_uri=st.none() | st.sampled_from([*URIS, "mcp://fs/*", "mcp://*/read/*"]),
    denied_only=st.booleans(),
    since=st.none() | times,
    until=st.none() | times,
    oldest_first=st.booleans(),
    limit=st.integers(1, 12),
)


def naive(entries: list[AuditEntry], wanted: ReadAudit) -> list[AuditEntry]:
    found = []
    for entry in entries:
        if wanted.kind is not None and entry.kind != wanted.kind:
            continue
        if wanted.principal is not None and entry.principal_id != wanted.principal:
            continue
        if wanted.capability_id is not None and entry.capability_id != wanted.capability_id:
            continue
        if wanted.denied_only and entry.decision != "denied":
            continue
        if wanted.since is not None and entry.time < wanted.since:
            continue
        if wanted.until is not None and entry.time >= wanted.until:
            continue
        if wanted.resource_uri is not None and not glob_matches(
            wanted.resource_uri, entry.resource_uri or ""
        ):
            continue
        found.append(entry)
    return found


@settings(deadline=None, max_examples=1_000 if NIGHTLY else 60)
@given(
    batches, st.lists(questions, min_size=1, max_size=8), st.sampled_from([400, 1_500, 10**6]), st.booleans()
)
def test_queries_and_exports_agree_with_a_naive_filter(
    work: list[tuple[datetime, list[Draft]]], asked: list[ReadAudit], segment: int, reopen: bool
) -> None:
    async def scenario(path: Path) -> None:
        clock = SetClock()
        log = await AuditLog.open(path, clock, SeededEntropy(1), seal_every=5, segment=segment)
        for time, batch in work:
            clock.at = time
            await log.append_all(batch)
        if reopen:
            await log.close()
            log = await AuditLog.open(path, clock, SeededEntropy(1), seal_every=5, segment=segment)
        try:
            lines = list(export(path, ReadAudit()))
            entries = [msgspec.json.decode(line, type=AuditEntry) for line in lines]
            assert [entry.seq for entry in entries] == [*range(1, log.head[0] + 1)]
            for wanted in asked:
                expected = naive(entries, wanted)
                assert list(export(path, wanted)) == [lines[entry.seq - 1] for entry in expected]
                seen: list[AuditEntry] = []
                cursor = None
                while True:
                    page = await log.query(msgspec.structs.replace(wanted, cursor=cursor))
                    assert len(page.items) <= wanted.limit
                    seen += page.items
                    cursor = page.cursor
                    if cursor is None:
                        break
                assert seen == (expected if wanted.oldest_first else expected[::-1])
            assert (await log.verify()).ok
        finally:
            await log.close()

    # blocks of a few lines, so that the index has something to skip
    usual, trail.BLOCK = trail.BLOCK, 600  # type: ignore[misc]
    try:
        with TemporaryDirectory() as folder:
            asyncio.run(scenario(Path(folder) / "audit.jsonl"))
    finally:
        trail.BLOCK = usual  # type: ignore[misc]


@given(st.lists(st.tuples(st.integers(1, 40_000), times)))
def test_the_index_covers_every_line_once_and_knows_its_times(lines: list[tuple[int, datetime]]) -> None:
    index = Index()
    place = 0
    for size, time in lines:
        index.add(size, time)
        place += size
    ends = [block.end for block in index.blocks]
    assert [block.begin for block in index.blocks] == [0, *ends][: len(ends)]
    assert (ends or [0])[-1] == place
    place = 0
    for size, time in lines:
        [block] = [one for one in index.blocks if one.begin <= place < one.end]
        assert place + size <= block.end
        assert block.earliest <= time <= block.latest
        place += size
    if lines:
        assert index.bounds() == (min(time for _, time in lines), max(time for _, time in lines))


# -- redaction -------------------------------------------------------------------------------------------

names = st.sampled_from(
    [
        "password",
        "Api-Key",
        "clientSecret",
        "AUTHORIZATION",
        "refresh_token",
        "set-cookie",
        "jwt",
        "private key",
    ]
)
odd = st.sampled_from([float("nan"), float("inf"), 10**400, -(2**70), "\ud800", b"x", {1}, object(), 1j])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | odd
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(max_size=8) | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=4
        )
    ),
    max_leaves=20,
)
shapes = st.sampled_from(
    [
        "Authorization: Bearer {}", "authorization: Token abc {}", "curl -H 'X-Auth-Token: {}'", "PGPASSWORD={} psql",
        "https://me:{}@example.org/x", "https://example.org/?access_token={}&x=1", '{{"password": "{}", "n": 1}}',
        'password="two words {}"', "tool --api-key {} --verbose", "Cookie: a=b; session={}", "api_key: {}",
    ]
)  # fmt: skip


def wrapped(data: st.DataObject, inside: Any) -> Any:
    """Put something somewhere deep in a tree of anything."""
    for _ in range(data.draw(st.integers(0, MAX_DEPTH + 2))):
        beside = data.draw(trees)
        match data.draw(st.integers(0, 2)):
            case 0:
                inside = [beside, inside]
            case 1:
                inside = {"beside": beside, "inside": inside}
            case _:
                inside = (inside,)
    return inside


@settings(deadline=None)
@given(st.data(), names, trees)
def test_a_secret_under_its_name_is_hidden_at_any_depth(data: st.DataObject, name: str, tree: Any) -> None:
    value = wrapped(data, {name: {"a": [SECRET, tree]}})
    text = msgspec.json.encode(redact({"value": value})).decode()
    assert SECRET not in text


@settings(deadline=None)
@given(st.data(), shapes, st.text(max_size=20))
def test_a_secret_that_shows_by_its_shape_is_hidden_at_any_depth(
    data: st.DataObject, shape: str, lead: str
) -> None:
    value = wrapped(data, f"{lead} {shape.format(SECRET)}")
    assert SECRET not in json.dumps(redact({"value": value}))


@settings(deadline=None)
@given(st.data(), names)
def test_the_word_behind_a_secret_option_is_hidden(data: st.DataObject, name: str) -> None:
    value = wrapped(data, ["tool", f"--{name}", SECRET, "rest"])
    assert SECRET not in json.dumps(redact({"value": value}))


@settings(deadline=None)
@given(trees)
def test_what_comes_out_is_json_and_stays_as_it_is(tree: Any) -> None:
    once = redact(tree)
    encoded = msgspec.json.encode(once)
    assert msgspec.json.encode(redact(once)) == encoded
    encoded.decode()


@given(st.text())
def test_a_text_comes_out_as_utf_8_and_stays_as_it_is(text: str) -> None:
    once = redact_text(text)
    once.encode()
    assert redact_text(once) == once
