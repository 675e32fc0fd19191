"""Ed25519 seals: every thousand entries, and when an audit is opened, closed or rotated, one is signed.

A seal is an entry of kind `audit_seal`. Its signature is over the sequence number and the hash of the entry
before it, and through the chain over every entry before that.

What a seal proves: whoever held the private key saw exactly these entries up to this one. Somebody who can
rewrite the files but has no key can change nothing before the last seal unseen, provided that it is checked
with a copy of the public key that they could not replace: `verify FILE --key COPY`.

What it does not prove: that nothing was cut off behind an old seal together with the head file (keep a copy of
the head elsewhere too); what happened between the last seal and a kill, at most a thousand entries, which the
seal of the next start only confirms as found; and anything against somebody who can read the private key, which
lies in a file of its own beside the audit (`<name>.key`, 0600). They can rewrite everything since the last head
that you hold a copy of.

Both keys are PEM files. The public one (`<name>.pub`) may hold several keys: when the private key was taken away,
the next start makes a new one and adds its public half.
"""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_interface.clock import Entropy
from mcp_interface.errors import StorageCorrupt, WorldBroken
from mcp_security.chain import Head

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PURPOSE: Final = b"umbrella audit seal 1\n"
_END: Final = b"-----END PUBLIC KEY-----"
_REMEDY: Final = "put the file back from a copy; without one, move all files of this audit away together"


class PublicKeys:
    """The keys that seals are checked with."""

    def __init__(self, keys: "Mapping[str, Ed25519PublicKey]", source: str) -> None:
        self._keys = keys
        self.source = source
        """The file they are from."""

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._keys

    def and_one(self, key_id: str, key: "Ed25519PublicKey") -> "PublicKeys":
        """Return these and one more."""
        return PublicKeys({**self._keys, key_id: key}, self.source)

    def problem(self, before: Head, details: Mapping[str, Any]) -> str:
        """Return what is wrong with a seal over everything up to `before`; empty when it holds."""
        from cryptography.exceptions import InvalidSignature

        key_id, signature = details.get("key"), details.get("signature")
        if not isinstance(key_id, str) or not isinstance(signature, str):
            return "is a seal without a signature"
        key = self._keys.get(key_id)
        if key is None:
            return f"is sealed by key {key_id[:16]!r}, which is not in {self.source}"
        try:
            key.verify(bytes.fromhex(signature), _PURPOSE + before.encode())
        except (InvalidSignature, ValueError):
            return f"has a seal that key {key_id} did not make"
        return ""


class SealingKey:
    """The private key of one audit."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.public = private.public_key()
        self.id = key_id(self.public)

    def seal(self, before: Head, why: str) -> dict[str, Any]:
        """Return the details of a seal over everything up to `before`."""
        signature = self._private.sign(_PURPOSE + before.encode())
        return {"key": self.id, "signature": signature.hex(), "why": why}

    def pem(self) -> bytes:
        """Return the private key, in plain PKCS#8."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_path(path: Path) -> Path:
    """Where the private key of an audit is kept."""
    return path.with_suffix(".key")


def public_path(path: Path) -> Path:
    """Where its public keys are kept; copy this file elsewhere."""
    return path.with_suffix(".pub")


def key_id(public: "Ed25519PublicKey") -> str:
    """Return the name of a key: the beginning of the SHA-256 of its 32 bytes, hex."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


def seals_can_be_checked() -> bool:
    """Tell whether `cryptography` is there."""
    try:
        _load()
    except WorldBroken:
        return False
    return True


def read_public_keys(path: Path) -> PublicKeys:
    """Read one or more public keys.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a PEM file of Ed25519 public keys.
        WorldBroken: `cryptography` is not installed.
    """
    _load()
    return PublicKeys(_parse_public(path.read_bytes(), path.name), path.name)


class Keys(msgspec.Struct):
    """What lies beside an audit."""

    private: SealingKey | None
    """None when it was taken away, or not made yet."""
    public: PublicKeys
    content: bytes
    """The file of the public keys as it is; empty when there is none."""


def read_keys(path: Path) -> Keys:
    """Read the keys of an audit.

    Raises:
        OSError: A file cannot be read.
        StorageCorrupt: A file is damaged, or the two do not belong together.
        WorldBroken: `cryptography` is not installed.
    """
    _load()
    private_file, public_file = key_path(path), public_path(path)
    try:
        content = public_file.read_bytes() if public_file.exists() else b""
        keys = _parse_public(content, public_file.name) if content else {}
        private = _read_private(private_file)
    except ValueError as error:
        raise StorageCorrupt(f"{path.parent}: {error}", _REMEDY) from error
    if private is not None and not keys:
        keys[private.id] = private.public
    if private is not None and private.id not in keys:
        raise StorageCorrupt(f"{private_file} belongs to none of the keys in {public_file.name}", _REMEDY)
    return Keys(private, PublicKeys(keys, public_file.name), content)


def complete_keys(path: Path, keys: Keys, entropy: Entropy) -> tuple[SealingKey, PublicKeys]:
    """Write what is missing; the files are readable by their owner only.

    Args:
        path: The audit.
        keys: As `read_keys` gave them.
        entropy: Gives the 32 bytes of a new key.

    Raises:
        OSError: A file cannot be written.
    """
    private = keys.private or _make(entropy)
    public = keys.public.and_one(private.id, private.public)
    # the public half first: were it missing after a kill, seals would be there that nobody can check
    if not keys.content or private.id not in keys.public:
        _replace(public_path(path), keys.content + _public_pem(private))
    if keys.private is None:
        _replace(key_path(path), private.pem())
    return private, public


def _load() -> None:
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise WorldBroken(
            f"audit seals need the package cryptography: {error}", "pip install cryptography"
        ) from error


def _make(entropy: Entropy) -> SealingKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return SealingKey(Ed25519PrivateKey.from_private_bytes(entropy.token(32)))


def _read_private(path: Path) -> SealingKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as opened:
        os.fchmod(file, 0o600)
        content = opened.read()
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path.name} is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path.name} is no Ed25519 key")
    return SealingKey(key)


def _parse_public(content: bytes, name: str) -> "dict[str, Ed25519PublicKey]":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    *blocks, rest = content.split(_END)
    keys: dict[str, Ed25519PublicKey] = {}
    for block in blocks:
        try:
            key = load_pem_public_key(block.lstrip() + _END)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"{name} is damaged") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{name} holds a key that is no Ed25519 key")
        keys[key_id(key)] = key
    if rest.strip() or not keys:
        raise ValueError(f"{name} is damaged")
    return keys


def _public_pem(key: SealingKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, durable on return."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(file)
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
