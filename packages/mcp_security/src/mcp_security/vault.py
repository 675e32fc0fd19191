"""Secrets in one encrypted file: each by itself under its name, and all of them sealed together.

The file protects what is copied elsewhere: a backup, a disk that is given away, a folder that is shared by mistake.
It does not protect from whoever can read the key too, which lies in the system's keyring where there is one, else
in a file of its own beside it (`vault_key`).

Every writing makes the whole file anew beside the old one and renames it, so that whoever is killed in between
leaves the old secrets. Nothing is made before the first secret is put.

Source: NIST SP 800-38D (AES-GCM; a fresh nonce of 96 bits for every encryption).
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcp_interface.clock import Entropy
from mcp_interface.errors import NotFound, StorageCorrupt, StorageUnavailable, TooMuch
from mcp_security.placing import put_in_place
from mcp_security.vault_key import KEY_BYTES, KeyPlace, find_key, make_key

FILE: Final = "vault"
MAX_SECRETS: Final = 10_000
MAX_BYTES: Final = 128 * 2**20
_NONCE: Final = 12
_MAGIC: Final = b"umbrella vault 1\n"


class _Content(msgspec.Struct, frozen=True):
    """What the file says behind its first line."""

    kept_in: Literal["keyring", "file"]
    secrets: dict[str, bytes]
    """Nonce and ciphertext by name."""
    seal: bytes
    """Over all of the above, so that none can be taken out, put back or exchanged."""


class EncryptedVault:
    """The secrets of one data directory; one process at a time.

    Made by `open`.
    """

    def __init__(
        self, folder: Path, entropy: Entropy, key: bytes | None, place: KeyPlace, secrets: Mapping[str, bytes]
    ) -> None:
        self._folder = folder
        self._entropy = entropy
        self._key = key
        self._place = place
        self._secrets = dict(secrets)
        self._writing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"EncryptedVault({str(self._folder)!r}, {len(self._secrets)} secrets)"

    @classmethod
    async def open(cls, folder: Path, entropy: Entropy) -> Self:
        """Read what is kept; a folder without a vault has no secrets yet.

        Args:
            folder: Of the node; only its owner can enter it.
            entropy: For the key and the nonces.

        Raises:
            StorageCorrupt: The file is not what was written, or the key is another one; the remedy says what to do.
            StorageUnavailable: The disk or the keyring refused.
        """
        content = await asyncio.to_thread(_read, folder)
        if content is None:
            return cls(folder, entropy, None, "file", {})
        key = await find_key(folder, content.kept_in)
        _check_seal(folder, key, content)
        return cls(folder, entropy, key, content.kept_in, content.secrets)

    @property
    def kept_in(self) -> Literal["keyring", "file"]:
        """Where the key is; before the first secret it is nowhere."""
        return self._place

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._secrets)

    async def get(self, name: str) -> str:
        """One secret.

        Raises:
            NotFound: None has this name.
            StorageCorrupt: It cannot be decrypted.
        """
        sealed = self._secrets.get(name)
        if sealed is None or self._key is None:
            raise NotFound(
                f"there is no secret {name[:200]!r}", f"put it there with: umbrella secret set {name[:200]}"
            )
        try:
            return _cipher(self._key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(name)).decode()
        except (InvalidTag, UnicodeDecodeError) as error:
            raise _corrupt(self._folder, f"the secret {name[:200]!r} cannot be decrypted") from error

    async def put(self, name: str, value: str) -> None:
        """Keep or replace one; durable when it returns.

        Raises:
            StorageUnavailable: The disk or the keyring refused; what was kept before still is.
            TooMuch: There are ten thousand.
        """
        async with self._writing:
            if name not in self._secrets and len(self._secrets) >= MAX_SECRETS:
                raise TooMuch(f"there are {MAX_SECRETS} secrets already", "remove one")
            if self._key is None:
                self._key, self._place = await make_key(self._folder, self._entropy)
            nonce = self._entropy.token(_NONCE)
            sealed = nonce + _cipher(self._key).encrypt(nonce, value.encode(), _bound(name))
            await self._replace({**self._secrets, name: sealed})

    async def remove(self, name: str) -> None:
        """Forget one; harmless when repeated.

        Raises:
            StorageUnavailable: The disk refused; it is kept.
        """
        async with self._writing:
            if name in self._secrets:
                await self._replace(
                    {known: sealed for known, sealed in self._secrets.items() if known != name}
                )

    async def _replace(self, secrets: dict[str, bytes]) -> None:
        assert self._key is not None
        nonce = self._entropy.token(_NONCE)
        seal = nonce + _cipher(self._key).encrypt(nonce, b"", _sealed(self._place, secrets))
        data = _MAGIC + msgspec.msgpack.encode(_Content(self._place, secrets, seal))
        if len(data) > MAX_BYTES:
            raise TooMuch("the secrets are too large together", "remove one")
        # Not cancelled in the middle: what is on the disk and what is believed to be there must be the same.
        writing = asyncio.ensure_future(asyncio.to_thread(put_in_place, self._folder / FILE, data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if writing.exception() is None:
                self._secrets = secrets
            raise
        self._secrets = secrets


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


def _bound(name: str) -> bytes:
    """A ciphertext under another name is none."""
    return b"secret\0" + name.encode()


def _sealed(place: str, secrets: Mapping[str, bytes]) -> bytes:
    return b"all\0" + msgspec.msgpack.encode([place, sorted(secrets.items())])


def _check_seal(folder: Path, key: bytes, content: _Content) -> None:
    try:
        if len(key) != KEY_BYTES:
            raise ValueError
        seal, bound = content.seal, _sealed(content.kept_in, content.secrets)
        _cipher(key).decrypt(seal[:_NONCE], seal[_NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise _corrupt(folder, "it was not written with this key, or was changed afterwards") from error


def _read(folder: Path) -> _Content | None:
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(
            f"the vault {folder / FILE} cannot be read: {error}", "mend the disk"
        ) from error
    if not data.startswith(_MAGIC):
        raise _corrupt(folder, "it is no vault of this release")
    try:
        return msgspec.msgpack.decode(data[len(_MAGIC) :], type=_Content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _corrupt(folder, "it cannot be read") from error


def _corrupt(folder: Path, why: str) -> StorageCorrupt:
    return StorageCorrupt(
        f"the vault {folder / FILE} is damaged: {why}",
        "put the vault and its key back from one backup; or move the vault away and set the secrets again",
    )
