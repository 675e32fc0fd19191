"""The key of the vault: in the system's keyring where a real one is there, else in a file that only its owner reads."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from mcp_interface.clock import Entropy
from mcp_interface.errors import StorageCorrupt, StorageUnavailable
from mcp_security.placing import put_in_place

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

R = TypeVar("R")
KeyPlace = Literal["keyring", "file"]
KEY_BYTES: Final = 32
KEY_FILE: Final = "vault.key"
SERVICE: Final = "umbrella vault"
KEYRING_SECONDS: Final = 20.0
"""A locked keyring may ask a person."""


async def find_key(folder: Path, place: KeyPlace) -> bytes:
    """The key of a vault that is there.

    Raises:
        StorageCorrupt: It is not where it was put.
        StorageUnavailable: It cannot be looked for.
    """
    found = await (_from_keyring(folder) if place == "keyring" else asyncio.to_thread(_from_file, folder))
    if found is None:
        where = "the system's keyring" if place == "keyring" else str(folder / KEY_FILE)
        raise StorageCorrupt(
            f"the key of the vault in {folder} is not in {where}",
            "put it back from a backup; or move the vault away and set the secrets again",
        )
    try:
        return bytes.fromhex(found)
    except ValueError:
        return b""  # which opens nothing


async def make_key(folder: Path, entropy: Entropy) -> tuple[bytes, KeyPlace]:
    """A key for the first secret, durable on return; one that is left of a start that was killed is taken.

    Raises:
        StorageUnavailable: Neither the keyring nor the disk takes it.
    """
    left = await asyncio.to_thread(_from_file, folder)
    if left is not None and len(left) == 2 * KEY_BYTES:
        return bytes.fromhex(left), "file"
    key = entropy.token(KEY_BYTES)
    backend = await asyncio.to_thread(real_keyring)
    if backend is not None:
        await _in_time(backend.set_password, SERVICE, str(folder), key.hex())
        if await _from_keyring(folder) != key.hex():
            raise StorageUnavailable(
                "the system's keyring does not keep what it is given", "unlock it, or remove it"
            )
        return key, "keyring"
    await asyncio.to_thread(put_in_place, folder / KEY_FILE, f"{key.hex()}\n".encode())
    return key, "file"


def real_keyring() -> "KeyringBackend | None":
    """The system's keyring; None without the package `keyring`, or where it finds nothing that keeps secrets."""
    try:
        import keyring
        from keyring.core import recommended
    except ImportError:
        return None
    backend = keyring.get_keyring()
    return backend if recommended(backend) else None


async def _from_keyring(folder: Path) -> str | None:
    backend = await asyncio.to_thread(real_keyring)
    if backend is None:
        raise StorageUnavailable(
            f"the key of the vault in {folder} is in the system's keyring, which cannot be reached",
            "log in so that the keyring is there, with the extra mcp-umbrella-security[keyring] installed",
        )
    return await _in_time(backend.get_password, SERVICE, str(folder))


async def _in_time(work: Callable[..., R], *arguments: str) -> R:
    try:
        return await asyncio.wait_for(asyncio.to_thread(work, *arguments), KEYRING_SECONDS)
    except Exception as error:  # every backend has its own
        raise StorageUnavailable(
            f"the system's keyring refused: {type(error).__name__}", "unlock it, then try again"
        ) from error


def _from_file(folder: Path) -> str | None:
    path = folder / KEY_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(f"the key {path} cannot be read: {error}", "mend the disk") from error
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise StorageUnavailable(
                f"others may read the key {path}", f"keep it to yourself: chmod 600 {path}"
            )
        return file.read(4 * KEY_BYTES).strip()
