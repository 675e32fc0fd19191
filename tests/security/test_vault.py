"""Secrets in an encrypted file: what is put is there again, and nothing that was changed is believed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_interface.clock import SystemEntropy
from mcp_interface.errors import NotFound, StorageCorrupt, StorageUnavailable
from mcp_security import EncryptedVault
from mcp_security import vault_key as keys

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs these tests keeps their keyring as it is."""
    monkeypatch.setattr(keys, "real_keyring", lambda: None)


def over(folder: Path, work: Callable[[EncryptedVault], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work(await EncryptedVault.open(folder, SystemEntropy()))

    return asyncio.run(run())


def put(folder: Path, **secrets: str) -> None:
    async def work(vault: EncryptedVault) -> None:
        for name, value in secrets.items():
            await vault.put(name, value)

    over(folder, work)


def read(folder: Path) -> dict[str, str]:
    async def work(vault: EncryptedVault) -> dict[str, str]:
        return {name: await vault.get(name) for name in vault.names()}

    return over(folder, work)


def test_what_is_put_is_there_after_a_restart_and_not_in_the_clear(tmp_path: Path) -> None:
    put(tmp_path, TOKEN="hunter2-and-more", OTHER="ünïcode \n x")
    assert read(tmp_path) == {"TOKEN": "hunter2-and-more", "OTHER": "ünïcode \n x"}
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in written and b"TOKEN" in written
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "vault": 0o600,
        "vault.key": 0o600,
    }


def test_nothing_is_made_before_the_first_secret(tmp_path: Path) -> None:
    assert read(tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    put(tmp_path, A="x")
    for name in ("B", "a", ""):
        with pytest.raises(NotFound):
            over(tmp_path, lambda vault, name=name: vault.get(name))  # type: ignore[misc]


def test_the_same_value_looks_different_each_time(tmp_path: Path) -> None:
    seen = set()
    for _ in range(5):
        put(tmp_path, A="the same")
        seen.add((tmp_path / "vault").read_bytes())
    assert len(seen) == 5


steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "reopen"]), st.sampled_from("abc"), st.text(max_size=30)),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_it_is_a_dictionary_that_lasts(steps: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:

        async def run() -> None:
            vault = await EncryptedVault.open(Path(folder), SystemEntropy())
            model: dict[str, str] = {}
            for step, name, text in steps:
                value = text.encode("utf-8", "replace").decode()
                if step == "put":
                    await vault.put(name, value)
                    model[name] = value
                elif step == "remove":
                    await vault.remove(name)
                    model.pop(name, None)
                else:
                    vault = await EncryptedVault.open(Path(folder), SystemEntropy())
                assert vault.names() == sorted(model)
                assert {each: await vault.get(each) for each in model} == model

        asyncio.run(run())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    real, keys.real_keyring = keys.real_keyring, lambda: None
    put(folder, A="one secret", B="another secret")
    keys.real_keyring = real
    return folder


@pytest.mark.parametrize("which", ["vault", "vault.key"])
def test_a_flipped_bit_is_never_believed(written: Path, which: str, tmp_path: Path) -> None:
    for name in ("vault", "vault.key"):
        shutil.copy(written / name, tmp_path / name)
    whole = (tmp_path / which).read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (tmp_path / which).write_bytes(content)
        try:
            found = read(tmp_path)
        except StorageCorrupt as error:
            assert "backup" in error.remedy
            assert "secret" not in error.message.replace("the secret", "")
        else:
            # only the writing of the key knows two ways to say the same
            assert which == "vault.key" and found == {"A": "one secret", "B": "another secret"}


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    put(tmp_path, A="x")
    (tmp_path / "vault.key").write_text("00" * 32)
    with pytest.raises(StorageCorrupt, match="not written with this key"):
        read(tmp_path)


def test_a_lost_key_is_said_and_not_made_anew(tmp_path: Path) -> None:
    put(tmp_path, A="x")
    (tmp_path / "vault.key").unlink()
    with pytest.raises(StorageCorrupt, match=r"vault\.key") as caught:
        read(tmp_path)
    assert "backup" in caught.value.remedy
    assert not (tmp_path / "vault.key").exists()


def test_secrets_cannot_be_exchanged_taken_out_or_put_back(tmp_path: Path) -> None:
    import msgspec

    put(tmp_path, A="one", B="two")
    data = (tmp_path / "vault").read_bytes()
    magic, body = data[:17], msgspec.msgpack.decode(data[17:])
    for change in (
        {"A": body["secrets"]["B"], "B": body["secrets"]["A"]},
        {"A": body["secrets"]["A"]},
        {**body["secrets"], "C": body["secrets"]["A"]},
    ):
        (tmp_path / "vault").write_bytes(magic + msgspec.msgpack.encode({**body, "secrets": change}))
        with pytest.raises(StorageCorrupt):
            read(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    put(tmp_path, A="x")
    (tmp_path / "vault.key").chmod(0o644)
    with pytest.raises(StorageUnavailable, match="others may read"):
        read(tmp_path)


def test_a_link_in_the_files_place_is_refused(tmp_path: Path) -> None:
    put(tmp_path, A="x")
    (tmp_path / "vault").rename(tmp_path / "elsewhere")
    (tmp_path / "vault").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailable):
        read(tmp_path)


def test_a_disk_that_refuses_loses_no_earlier_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, A="x")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def work(vault: EncryptedVault) -> list[str]:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageUnavailable):
            await vault.put("B", "y")
        monkeypatch.undo()
        return vault.names()

    assert over(tmp_path, work) == ["A"]
    monkeypatch.setattr(keys, "real_keyring", lambda: None)
    assert read(tmp_path) == {"A": "x"}


def test_puts_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    async def work(vault: EncryptedVault) -> None:
        await asyncio.gather(*(vault.put(f"s{number}", str(number)) for number in range(20)))

    over(tmp_path, work)
    assert read(tmp_path) == {f"s{number}": str(number) for number in range(20)}


def test_a_put_that_is_cancelled_has_happened_or_not_but_is_believed_as_it_is(tmp_path: Path) -> None:
    async def work(vault: EncryptedVault) -> list[str]:
        await vault.put("A", "x")
        for _ in range(10):
            task = asyncio.create_task(vault.put("B", "y"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return vault.names()

    assert over(tmp_path, work) == sorted(read(tmp_path))


WRITER = """
import asyncio, sys
from pathlib import Path
from mcp_interface.clock import SystemEntropy
from mcp_security import EncryptedVault, vault_key
vault_key.real_keyring = lambda: None
async def main():
    vault = await EncryptedVault.open(Path(sys.argv[1]), SystemEntropy())
    number = len(vault.names())
    while True:
        await vault.put(f"s{number:05}", str(number))
        print(number, flush=True)
        number += 1
asyncio.run(main())
"""
ROUNDS = 40 if os.environ.get("UMBRELLA_PROFILE") == "nightly" else 4


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    for turn in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(5 + 7 * turn % 11)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split("\n") if line]
        writer.wait(10)
        writer.stdout.close()
        found = read(tmp_path)
        assert {
            f"s{number:05}": str(number) for number in range(acknowledged[-1] + 1)
        }.items() <= found.items()
        assert len(found) <= acknowledged[-1] + 2


# -- the system's keyring ----------------------------------------------------------------------------------


@pytest.fixture
def keyring_in_memory(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    kept: dict[tuple[str, str], str] = {}

    class InMemory(KeyringBackend):  # type: ignore[misc]
        priority = 5

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

    monkeypatch.undo()
    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    monkeypatch.setattr(keyring, "get_keyring", keyring.get_keyring)
    yield kept  # type: ignore[misc]
    keyring.set_keyring(before)


def test_the_key_lies_in_the_keyring_where_there_is_one(
    tmp_path: Path, keyring_in_memory: dict[tuple[str, str], str]
) -> None:
    put(tmp_path, A="x")
    assert read(tmp_path) == {"A": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]
    assert list(keyring_in_memory) == [("umbrella vault", str(tmp_path))]

    async def place(vault: EncryptedVault) -> str:
        return vault.kept_in

    assert over(tmp_path, place) == "keyring"
    keyring_in_memory.clear()
    with pytest.raises(StorageCorrupt, match="keyring"):
        read(tmp_path)


def test_a_keyring_that_is_gone_is_no_reason_to_begin_anew(
    tmp_path: Path, keyring_in_memory: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, A="x")
    monkeypatch.setattr(keys, "real_keyring", lambda: None)
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]


def test_a_keyring_that_keeps_nothing_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.backends import null

    monkeypatch.undo()
    before = keyring.get_keyring()
    keyring.set_keyring(null.Keyring())
    try:
        assert keys.real_keyring() is None
    finally:
        keyring.set_keyring(before)
