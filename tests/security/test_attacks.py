"""Attacks from the list of those that other systems fell for, each on the real kernel, gate or audit."""

import asyncio
import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mcp_interface.address import parse_resource
from mcp_interface.capability import Capability, Context, Facts, GrantOptions
from mcp_interface.codec import decode_disk, encode_disk, from_external, to_external
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, NotPermitted, StorageCorrupt
from mcp_interface.events import CapabilityGranted
from mcp_interface.ids import SYSTEM, CapabilityId, PrincipalId
from mcp_interface.testing import START, ManualClock
from mcp_security import AuditLog, FilesystemGate, stream
from mcp_security.audit import Draft
from mcp_security.seals import key_path, public_path
from mcp_security.verifier import verify

DATA = "mcp://fs/read/data/**"
X = parse_resource("mcp://fs/read/data/x")

# -- a journal that tells of no tree ----------------------------------------------------------------------

A, B, C, D = (CapabilityId(f"cap_{number:032x}") for number in range(4))


def right(id: CapabilityId, parent: CapabilityId | None = None, depth: int = 10) -> Capability:
    return Capability(
        id=id,
        resource_uri=DATA,
        principal_id=PrincipalId("user_" + "1" * 32),
        granted_at=START,
        parent_capability_id=parent,
        delegation_depth=depth,
    )


CYCLES = {
    "of one": [right(A, A)],
    "of two": [right(A, B), right(B, A, 9)],
    "of three": [right(A, C), right(B, A, 9), right(C, B, 8)],
    "closed afterwards": [right(A), right(B, A, 9), right(A, B, 8)],
    "closed afterwards by a root": [right(A), right(B, A, 9), right(A)],
}
DIAMONDS = {
    "a second parent": [right(A), right(B, A, 9), right(C, A, 9), right(D, B, 8), right(D, C, 8)],
    "the same parent twice": [right(A), right(B, A, 9), right(D, B, 8), right(D, B, 8)],
    "a root that becomes a child": [right(A), right(B), right(B, A, 9)],
}


@pytest.mark.parametrize("shape", [*CYCLES, *DIAMONDS])
def test_a_journal_that_tells_of_a_cycle_or_of_a_second_parent_is_refused_at_the_start(room, shape) -> None:
    story = {**CYCLES, **DIAMONDS}[shape]

    async def scenario() -> None:
        epoch = await room.store.claim()
        events = [CapabilityGranted(timestamp=START, capability=one) for one in story]
        await room.store.append("security", events, expected=0, epoch=epoch)
        with pytest.raises(StorageCorrupt) as caught:
            async with room.kernel():
                pass
        assert any(one.id in caught.value.message for one in story)
        assert "never granted" in caught.value.message or "granted twice" in caught.value.message
        assert "backup" in caught.value.remedy

    asyncio.run(scenario())


@pytest.mark.parametrize("shape", [*CYCLES, *DIAMONDS])
def test_a_snapshot_that_tells_of_one_is_passed_over_for_the_journal(room, shape, caplog) -> None:
    story = {**CYCLES, **DIAMONDS}[shape]

    async def scenario() -> None:
        async with room.kernel() as kernel:
            mine = await room.root(kernel, DATA)
        sound = await room.store.load_snapshot("security")
        state = decode_disk(sound.state, stream._State)
        state.capabilities += [stream._Kept(one) for one in story]
        await room.store.save_snapshot(msgspec.structs.replace(sound, state=encode_disk(state)))
        async with room.kernel() as kernel:
            assert list(kernel.capabilities()) == [mine.capability]
        assert "passed over" in caplog.text

    asyncio.run(scenario())


def test_no_record_can_name_two_parents() -> None:
    told = to_external(right(B, A))
    for parents in ([A, C], {"first": A, "second": C}, f"{A},{C}".split(",")):
        with pytest.raises(InvalidRecord):
            from_external({**told, "parent_capability_id": parents}, Capability)


# -- who asks is never what the arguments say -------------------------------------------------------------


def claims(name: str) -> list[Facts]:
    """Ways to say in the arguments of an action that somebody else does it."""
    words = (
        "principal",
        "principal_id",
        "subject",
        "sub",
        "user",
        "as",
        "on_behalf_of",
        "holder",
        "agent_id",
    )
    arguments: list[dict[str, Any]] = [
        dict.fromkeys(words, name),
        {word: {"id": name, "role": "owner"} for word in words},
        {"__proto__": {"principal_id": name}, "": name, "headers": {"X-Principal": name}},
        {"context": {"principal_id": name, "verdict": {"allowed": True}}, "capability_id": name},
    ]
    return [Facts(arguments=each, argv=[f"--as={name}"], statement=name) for each in arguments]


def test_a_principal_that_is_named_in_the_arguments_lends_no_right(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            mine = await room.root(kernel, DATA)
            agent, other = room.agents[:2]
            part = parse_resource("mcp://fs/read/data/part/**")
            given = await kernel.delegate(mine.handle, room.owner, agent, part)
            plain = await kernel.authorize(agent, X)
            assert plain.reason == "path_not_allowed"
            for principal in (room.owner, SYSTEM):
                for facts in claims(principal):
                    note = Context(note=f"for {principal}")
                    spoofed = await kernel.authorize(agent, X, note, facts=facts)
                    assert msgspec.structs.replace(spoofed, audit_seq=plain.audit_seq) == plain
                    assert (await kernel.authorize(other, X, note, facts=facts)).reason == "no_capability"
                    for handle in (mine.handle, given.handle):
                        assert kernel.validate(handle, other, X, facts).reason == "wrong_principal"
                        assert not (await kernel.authorize(agent, X, note, handle, facts)).allowed
            denied = [entry for entry in await room.trail() if entry.kind == "access_denied"]
            assert {entry.principal_id for entry in denied} == {agent, other}, "on record is who really asked"

    asyncio.run(scenario())


def test_a_use_is_counted_for_who_asked_and_not_for_whom_the_arguments_name(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            mine = await room.root(kernel, DATA)
            one, other = room.agents[:2]
            for agent in (one, other):
                once = GrantOptions(constraints={"max_uses": 1})
                await kernel.delegate(mine.handle, room.owner, agent, options=once)
            spoof, *_ = claims(other)
            uses = [(await kernel.authorize(agent, X, facts=spoof)).reason for agent in (one, one, other)]
            assert uses == ["allowed", "uses_exhausted", "allowed"]

    asyncio.run(scenario())


def test_a_rule_for_arguments_that_names_a_principal_is_about_the_argument_only(room) -> None:
    async def scenario() -> None:
        async with room.kernel() as kernel:
            rule = {"properties": {"principal_id": {"const": room.agents[0]}}, "required": ["principal_id"]}
            await room.given(kernel, DATA, constraints={"arguments": rule})
            [spoof, *_] = claims(room.agents[0])
            assert (await kernel.authorize(room.agents[0], X, facts=spoof)).allowed
            assert (await kernel.authorize(room.agents[1], X, facts=spoof)).reason == "no_capability"

    asyncio.run(scenario())


# -- names of members of archives -------------------------------------------------------------------------

INNOCENT = {"readme.txt": b"one", "docs/a.txt": b"two", "docs/..hidden": b"three"}
HOSTILE = [
    "../x", "../../x", "docs/../../x", "docs/../x", "./x", ".", "..", "docs/.", "docs/..", "/x", "//x",
    "{outside}/x", "docs//x", "../root_evil/x", "docs/x\n", "docs/x\x1b[2J", "docs/x/", "",
    "../" * 40 + "{outside}/x", "~/../x",
]  # fmt: skip
"""Names that lead out, that have two readings, or that are none; `{outside}` is a directory beside the root."""
HARMLESS = [
    "*",
    "docs/**",
    "..\\x",
    "C:\\x",
    "C:/x",
    "~",
    "~root",
    "%2e%2e%2fx",
    "\uff0e\uff0e\uff0fx",
    "docs\u2215..\u2215x",
]
"""Names that mean more elsewhere: to the gate they are plain names within the root."""


class World:
    """A directory that may be written to, and what lies around it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "docs").mkdir(parents=True)
        self.outside = root.parent / "root_evil"
        self.outside.mkdir()
        (self.outside / "kept").write_text("kept")
        self.gate = FilesystemGate()
        self.covering = f"mcp://fs/write{root}/**"

    def unpack(self, name: str, content: bytes) -> bool:
        """Write one member through the gate, under either way to join a name to the root; tell whether it was."""
        done = []
        for path in (f"{self.root}/{name}", os.path.join(self.root, name)):
            try:
                self.gate.replace_file(self.covering, path, content)
                done.append(True)
            except (CallerMistaken, NotPermitted, NotFound):
                done.append(False)
        assert done[0] == done[1], name
        return done[0]

    def inside(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            for file in self.root.rglob("*")
            if file.is_file() and not file.is_symlink()
        }

    def around(self) -> dict[str, bytes]:
        files = [file for file in self.root.parent.rglob("*") if self.root not in file.parents]
        return {str(file): file.read_bytes() for file in files if file.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path.resolve() / "root")


def zipped(names: list[str]) -> list[tuple[str, bytes]]:
    """Names as they come out of a real archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo("placeholder")
            member.filename = name  # the constructor would mend it
            archive.writestr(member, b"evil")
    with zipfile.ZipFile(file) as archive:
        return [(member.filename, archive.read(member)) for member in archive.infolist()]


def tarred(names: list[str]) -> list[tuple[str, bytes]]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo()
            member.name, member.size = name, 4
            archive.addfile(member, io.BytesIO(b"evil"))
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        found = [(member.name, archive.extractfile(member)) for member in archive.getmembers()]
        return [(name, content.read()) for name, content in found if content is not None]


@pytest.mark.parametrize("packed", [zipped, tarred])
def test_a_member_of_an_archive_whose_name_leads_out_is_refused_and_never_repaired(
    world: World, packed: Any
) -> None:
    before = world.around()
    members = packed([name.replace("{outside}", str(world.outside)) for name in HOSTILE])
    assert len(members) > 15
    for name, content in members:
        assert not world.unpack(name, content), name
    for name, content in INNOCENT.items():
        assert world.unpack(name, content)
    assert world.inside() == INNOCENT
    assert world.around() == before


def test_a_member_whose_name_means_more_elsewhere_is_a_plain_name_within_the_root(world: World) -> None:
    before = world.around()
    for name in HARMLESS:
        (world.root / name).parent.mkdir(exist_ok=True)
        assert world.unpack(name, b"x"), name
    assert world.inside() == dict.fromkeys(HARMLESS, b"x")
    assert world.around() == before


@pytest.mark.parametrize("target", ["..", "{outside}", "../root_evil", "docs/../../root_evil", "/"])
def test_a_member_behind_a_link_of_the_same_archive_leads_nowhere(world: World, target: str) -> None:
    """The gate itself makes no links; here somebody else has unpacked them already."""
    assert [name for name in dir(world.gate) if "link" in name] == ["unlink"]
    before = world.around()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, target.replace("{outside}", str(world.outside))
        archive.addfile(link)
        for name in ("link/evil", "link/kept", "link/root_evil/kept", "link"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        first, *rest = archive.getmembers()
        os.symlink(first.linkname, world.root / first.name)
        for member in rest:
            content = archive.extractfile(member)
            assert content is not None and not world.unpack(member.name, content.read()), member.name
    assert world.around() == before
    assert world.inside() == {}


# -- no secret that was there before ----------------------------------------------------------------------


def test_each_data_directory_has_an_audit_key_of_its_own_that_no_other_shares(tmp_path: Path) -> None:
    async def tell(path: Path) -> None:
        log = await AuditLog.open(path, ManualClock())
        await log.append_all([Draft(kind="k", principal_id=SYSTEM)] * 5)
        await log.close()

    places = [tmp_path / name / "audit.jsonl" for name in ("one", "two", "three")]
    for path in places:
        path.parent.mkdir()
        assert list(path.parent.iterdir()) == [], "there is no key before"
        asyncio.run(tell(path))  # the same story, at the same time by the same clock
        assert stat.S_IMODE(key_path(path).stat().st_mode) == 0o600
    for read in (key_path, public_path):
        assert len({read(path).read_bytes() for path in places}) == len(places)
    first, second, _ = places
    assert verify(first, public_path(first)).report.ok
    assert "is sealed by key" in verify(first, public_path(second)).report.problem

    asyncio.run(tell(first))
    kept = key_path(first).read_bytes()
    asyncio.run(tell(first))
    assert key_path(first).read_bytes() == kept, "and it stays"
    shutil.copy(key_path(second), key_path(first))
    with pytest.raises(StorageCorrupt):
        asyncio.run(tell(first))
