"""What signed entries prove, with a key that lies beside the audit and with one kept elsewhere."""

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mcp_interface.capability import AuditEntry
from mcp_interface.errors import CallerMistaken, StorageCorrupt, StorageUnavailable
from mcp_interface.ids import SYSTEM
from mcp_interface.testing import ManualClock, SeededEntropy
from mcp_security import AuditLog
from mcp_security.audit import Draft
from mcp_security.chain import Head, head_path, seal_line
from mcp_security.seals import complete_keys, key_path, public_path, read_keys, read_public_keys
from mcp_security.verifier import main, verify

CLOCK = ManualClock()


def write(
    path: Path, count: int, *, every: int = 10, entropy: int = 1, close: bool = True, story: str = ""
) -> None:
    async def scenario() -> None:
        log = await AuditLog.open(path, CLOCK, SeededEntropy(entropy), seal_every=every)
        await log.append_all([Draft(kind="k", principal_id=SYSTEM, reason=story) for _ in range(count)])
        if close:
            await log.close()
        else:
            log._release()  # as after a kill: what is on disk stays, nothing is sealed

    asyncio.run(scenario())


def entries(path: Path) -> list[AuditEntry]:
    return [msgspec.json.decode(line, type=AuditEntry) for line in path.read_bytes().splitlines()]


def rewrite(path: Path, story: list[AuditEntry]) -> None:
    """Write a chain anew, with a head that fits: what somebody without the key can do."""
    lines, previous = [], ""
    for seq, old in enumerate(story, 1):
        entry = msgspec.structs.replace(old, seq=seq, previous=previous, hash="")
        lines.append(seal_line(entry))
        previous = entry.hash
    path.write_bytes(b"".join(lines))
    head_path(path).write_bytes(Head(len(lines), previous).encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node" / "audit.jsonl"


@pytest.fixture
def copy(tmp_path: Path, path: Path) -> Path:
    """The public key, noted elsewhere after some work."""
    path.parent.mkdir()
    write(path, 25)
    return shutil.copy(public_path(path), tmp_path / "noted.pub")


def test_there_is_a_seal_after_so_many_entries_and_at_the_end(path: Path, copy: Path) -> None:
    seals = [(entry.seq, entry.details["why"]) for entry in entries(path) if entry.kind == "audit_seal"]
    assert seals == [(11, "count"), (22, "count"), (28, "close")]
    checked = verify(path, copy)
    assert (checked.report.ok, checked.report.entries, checked.sealed) == (True, 28, 27)
    assert checked.seals == "seals: entries 1 to 27 of 28 covered by the last seal, checked with noted.pub"
    write(path, 0)
    assert len(entries(path)) == 28  # nothing new, nothing to seal


def test_after_a_kill_the_next_start_seals_what_it_finds(path: Path, copy: Path) -> None:
    write(path, 4, close=False)
    assert verify(path, copy).sealed == 27
    write(path, 0)
    last = entries(path)[-1]
    assert (last.seq, last.kind, last.details["why"]) == (33, "audit_seal", "open")
    assert verify(path, copy).sealed == 32


def test_openssl_agrees(path: Path, copy: Path, tmp_path: Path) -> None:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("there is no openssl")
    seal = entries(path)[-1]
    message = b"umbrella audit seal 1\n" + Head(seal.seq - 1, seal.previous).encode()
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(bytes.fromhex(seal.details["signature"]))
    done = subprocess.run(
        [
            openssl,
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            copy,
            "-rawin",
            "-in",
            tmp_path / "message",
            "-sigfile",
            tmp_path / "signature",
        ],
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done


def test_a_rewritten_story_breaks_the_seals(path: Path, copy: Path) -> None:
    story = entries(path)
    story[3] = msgspec.structs.replace(story[3], reason="it was somebody else")
    rewrite(path, story)
    for key in (None, copy):
        assert "line 11 has a seal that key" in verify(path, key).report.problem
    with pytest.raises(StorageCorrupt, match="line 11 has a seal"):
        write(path, 1)


def test_a_story_with_a_key_of_its_own_is_found_with_a_noted_key(path: Path, copy: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    write(path, 25, entropy=2, story="it was somebody else")
    assert verify(path).report.ok  # by itself it is a sound audit
    assert "line 11 is sealed by key" in verify(path, copy).report.problem


def test_stripped_seals_are_found_with_a_noted_key(path: Path, copy: Path) -> None:
    write(path, 2_000, every=1_000)
    rewrite(path, [entry for entry in entries(path) if entry.kind != "audit_seal"])
    checked = verify(path)
    assert (checked.report.ok, checked.sealed) == (True, 0)
    assert "no entry covered" in checked.seals
    assert "have no seal by a key in noted.pub" in verify(path, copy).report.problem


def test_stripped_last_seals_are_found_with_a_noted_key(path: Path, copy: Path) -> None:
    write(path, 2_500, every=1_000)
    story = entries(path)
    rewrite(path, [entry for entry in story if entry.kind != "audit_seal" or entry.seq < 30])
    assert "have no seal by a key in noted.pub" in verify(path, copy).report.problem


def test_a_moved_or_copied_seal_is_found(path: Path, copy: Path) -> None:
    story = entries(path)
    for moved in ([*story[:5], story[10], *story[5:10], *story[11:]], [*story, story[10]]):
        rewrite(path, moved)
        for key in (None, copy):
            assert "has a seal that key" in verify(path, key).report.problem


@pytest.mark.parametrize("details", [{}, {"key": 1, "signature": 2}, {"key": "x", "signature": "y"}])
def test_a_seal_that_is_none_is_found(path: Path, copy: Path, details: dict) -> None:
    story = entries(path)
    rewrite(path, [*story[:-1], msgspec.structs.replace(story[-1], details=details)])
    assert "line 28 is " in verify(path, copy).report.problem


@pytest.mark.parametrize("signature", ["", "zz", "00" * 64])
def test_a_signature_that_is_none_is_found(path: Path, copy: Path, signature: str) -> None:
    story = entries(path)
    details = {**story[-1].details, "signature": signature}
    rewrite(path, [*story[:-1], msgspec.structs.replace(story[-1], details=details)])
    assert "line 28 has a seal that key" in verify(path, copy).report.problem


def test_files_rolled_back_together_are_found_with_a_noted_head_only(
    path: Path, copy: Path, tmp_path: Path
) -> None:
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    write(path, 5)
    noted = shutil.copy(head_path(path), tmp_path / "noted.head")
    assert verify(path, copy, noted).report.ok
    for file, content in before.items():
        file.write_bytes(content)
    assert verify(path, copy).report.ok  # every seal in it is real
    assert "34 entries were acknowledged, 28 are there" in verify(path, copy, noted).report.problem


def test_a_rewritten_end_is_found_with_a_noted_head(path: Path, copy: Path, tmp_path: Path) -> None:
    write(path, 3, close=False)
    noted = shutil.copy(head_path(path), tmp_path / "noted.head")
    story = entries(path)
    rewrite(path, [*story[:-1], msgspec.structs.replace(story[-1], reason="it was somebody else")])
    assert verify(path, copy).report.ok  # nothing after the last seal is signed
    assert "line 31 is not the entry that the head file names" in verify(path, copy, noted).report.problem


def test_a_new_private_key_is_made_when_it_was_taken_away_and_shows_with_a_noted_key(
    path: Path, copy: Path
) -> None:
    key_path(path).unlink()
    write(path, 5, entropy=3)
    assert verify(path).report.ok
    assert "is sealed by key" in verify(path, copy).report.problem
    assert verify(path, public_path(path)).report.ok  # a newer copy knows both


def test_the_public_key_is_written_again_when_it_is_lost(path: Path, copy: Path) -> None:
    public_path(path).unlink()
    write(path, 5)
    assert public_path(path).read_bytes() == copy.read_bytes()


def test_seals_of_nobody_are_refused_when_both_keys_are_lost(path: Path, copy: Path) -> None:
    public_path(path).unlink()
    key_path(path).unlink()
    with pytest.raises(StorageCorrupt, match=r"not in audit\.pub"):
        write(path, 1)
    assert not key_path(path).exists()


def test_keys_that_do_not_belong_together_are_refused(path: Path, copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "audit.jsonl"
    write(other, 1, entropy=2)
    shutil.copy(key_path(other), key_path(path))
    with pytest.raises(StorageCorrupt, match="belongs to none of the keys"):
        write(path, 1)


def ec_key() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def test_a_damaged_key_or_one_of_another_kind_is_refused(path: Path, copy: Path) -> None:
    private, public = ec_key()
    for file, contents in (
        (key_path(path), [b"", b"x", key_path(path).read_bytes()[:60], private]),
        (public_path(path), [b"x", copy.read_bytes() + b"x", copy.read_bytes()[:60], public]),
    ):
        sound = file.read_bytes()
        for content in contents:
            file.write_bytes(content)
            with pytest.raises(StorageCorrupt, match=file.name):
                write(path, 1)
            if file == public_path(path):
                assert file.name in verify(path).report.problem
                with pytest.raises(ValueError, match=file.name):
                    verify(path, file)
        file.write_bytes(sound)
    assert verify(path, copy).report.ok


def test_the_private_key_is_for_its_owner_only_and_never_shows(path: Path, copy: Path) -> None:
    key_path(path).chmod(0o644)
    write(path, 1)
    assert stat.S_IMODE(key_path(path).stat().st_mode) == 0o600
    private = read_keys(path).private
    secret = private.pem().decode().splitlines()[1]
    assert secret in key_path(path).read_text()
    everything = repr(private) + str(vars(private)) + repr(read_keys(path)) + path.read_text()
    assert secret not in everything
    key_path(path).unlink()
    key_path(path).symlink_to(copy)
    with pytest.raises(StorageUnavailable):
        write(path, 1)


def test_the_same_entropy_gives_the_same_key(tmp_path: Path) -> None:
    made = [tmp_path / name / "audit.jsonl" for name in ("a", "b", "c")]
    for path, seed in zip(made, (1, 1, 2), strict=True):
        path.parent.mkdir()
        complete_keys(path, read_keys(path), SeededEntropy(seed))
    first, second, third = (public_path(path).read_bytes() for path in made)
    assert first == second != third
    assert read_keys(made[0]).private.id in read_public_keys(public_path(made[1]))


@pytest.mark.parametrize("fields", [{"seal_every": 0}, {"seal_every": 1_001}, {"segment": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, fields: dict) -> None:
    with pytest.raises(CallerMistaken, match=next(iter(fields))):
        asyncio.run(AuditLog.open(tmp_path / "audit.jsonl", CLOCK, **fields))
    assert os.listdir(tmp_path) == []


def without_cryptography(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from mcp_security.verifier import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )


def test_without_cryptography_the_chain_is_checked_and_it_says_that_seals_were_not(
    path: Path, copy: Path
) -> None:
    done = without_cryptography("verify", str(path))
    assert done.returncode == 0, done
    assert "seals were not checked: the package cryptography is not installed" in done.stdout
    asked = without_cryptography("verify", str(path), "--key", str(copy))
    assert asked.returncode == 1  # what was asked for could not be done
    path.write_bytes(path.read_bytes().replace(b'"seq":7', b'"seq":8'))
    done = without_cryptography("verify", str(path))
    assert done.returncode == 1
    assert "line 7 was changed" in done.stdout


def test_without_cryptography_no_audit_opens(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; sys.modules['cryptography'] = None\n"
        "from mcp_interface.testing import ManualClock; from mcp_security import AuditLog\n"
        "asyncio.run(AuditLog.open(Path(sys.argv[1]), ManualClock()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "audit.jsonl")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "pip install cryptography" in done.stderr


def test_the_program_takes_a_noted_key_and_head(path: Path, copy: Path, tmp_path: Path, capsys) -> None:
    noted = shutil.copy(head_path(path), tmp_path / "noted.head")
    arguments = ["verify", str(path), "--key", str(copy), "--head", str(noted)]
    assert main(arguments) == 0
    assert "checked with noted.pub\n" in capsys.readouterr().out
    copy.write_bytes(b"x")
    assert main(arguments) == 1
    assert "noted.pub is damaged" in capsys.readouterr().err
    noted.write_bytes(b"")
    assert main(arguments) == 1
    assert "noted.head is empty" in capsys.readouterr().err
    copy.unlink()
    assert main(["verify", str(path), "--key", str(copy)]) == 1
    assert "noted.pub: No such file" in capsys.readouterr().err
    public_path(path).unlink()
    assert main(["verify", str(path)]) == 0
    assert "seals were not checked: there is no audit.pub" in capsys.readouterr().out


def test_the_open_audit_checks_its_seals(path: Path, copy: Path) -> None:
    async def scenario() -> None:
        log = await AuditLog.open(path, CLOCK)
        try:
            assert (await log.verify()).ok
            story = entries(path)
            sound = path.read_bytes()
            changed = sound.replace(story[10].details["signature"].encode(), b"0" * 128)
            path.write_bytes(changed)
            assert "line 11 was changed" in (await log.verify()).problem
            path.write_bytes(sound)
        finally:
            await log.close()

    asyncio.run(scenario())
