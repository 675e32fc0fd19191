"""What a client carries between two requests of the stateless era: sealed, so that it can be neither read nor altered.

A sealed state names the execution that waits, and for whom. It is good for the principal that got it, and on any process
of this data directory, because the key rests in a file there that only its owner can read.

Source: Model Context Protocol 2026-07-28, multi-round-trip requests, "requestState".
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Final

import msgspec

from mcp_interface.clock import Entropy
from mcp_interface.errors import CallerMistaken, StorageUnavailable
from mcp_interface.ids import PrincipalId

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
KEY_FILE: Final = "mcp-state.key"
MAX_SEALED: Final = 64 * 1024


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for an answer."""

    principal_id: PrincipalId
    target: str
    """Which tool or prompt, so that a state is good for no other."""
    execution_id: str = ""
    """Of a tool call."""
    state: str = ""
    """Of a prompt: what its server wants back."""


class Seal:
    """Seals and opens states.

    Args:
        key: 32 secret bytes.
        entropy: Makes nonces.
    """

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._entropy = entropy

    def close(self, waiting: Waiting) -> str:
        """Seal a state; twice the same gives two texts."""
        nonce = self._entropy.token(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(waiting), None)
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, text: str, principal: PrincipalId, target: str) -> Waiting:
        """Open a state.

        Args:
            text: As it came back.
            principal: Who brings it.
            target: What it is brought for.

        Raises:
            CallerMistaken: It was altered, or made for somebody or something else; all look the same.
        """
        from cryptography.exceptions import InvalidTag

        wrong = CallerMistaken(
            "the requestState is not one that was given for this", "begin the request anew"
        )
        if len(text) > MAX_SEALED:
            raise wrong
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            opened = self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
            waiting = msgspec.msgpack.decode(opened, type=Waiting)
        except (binascii.Error, ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise wrong from error
        if waiting.principal_id != principal or waiting.target != target:
            raise wrong
        return waiting


def open_seal(folder: Path, entropy: Entropy) -> Seal:
    """The seal of a data directory; its key is made on first use and then stays.

    Raises:
        StorageUnavailable: The key cannot be read or made.
    """
    file = folder / KEY_FILE
    try:
        if not file.exists():
            _make(file, entropy.token(KEY_BYTES))
        key = file.read_bytes()
    except OSError as error:
        raise StorageUnavailable(
            f"{file} cannot be read or made: {error}", "look at the folder's rights"
        ) from error
    if len(key) != KEY_BYTES:
        raise StorageUnavailable(
            f"{file} does not hold {KEY_BYTES} bytes", "take the file away; a new one is made"
        )
    return Seal(key, entropy)


def _make(file: Path, key: bytes) -> None:
    """Write the key whole or not at all; of two processes that do so at once the first one's stays."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as writing:
        writing.write(key)
        writing.flush()
        os.fsync(writing.fileno())
    try:
        os.link(scratch, file)
    except FileExistsError:
        pass
    finally:
        scratch.unlink(missing_ok=True)
