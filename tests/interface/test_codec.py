import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from mcp_interface import (
    Capability,
    CapabilityId,
    InvalidRecord,
    PrincipalId,
    Sealed,
    decode_disk,
    decode_json,
    encode_disk,
    encode_json,
    fingerprint,
    from_external,
    new_id,
    to_external,
)
from mcp_interface.testing import SeededEntropy


class Nested(msgspec.Struct):
    inner: "Nested | None" = None


class Foreign:
    """Not a struct: no codec knows how to make one."""


CAPABILITY = Capability(
    id=CapabilityId(new_id("cap", SeededEntropy())),
    resource_uri="mcp://fs/read/x",
    principal_id=PrincipalId("system"),
    granted_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    signature=Sealed(b"proof"),
)


def test_sealed_bytes_reach_the_disk_and_never_json() -> None:
    assert decode_disk(encode_disk(CAPABILITY), Capability) == CAPABILITY
    assert b"proof" not in encode_json(CAPABILITY)
    assert decode_json(encode_json(CAPABILITY), Capability).signature is None
    assert to_external(CAPABILITY)["signature"] is None


def test_external_data_is_plain_with_times_as_text() -> None:
    external = to_external(CAPABILITY)
    assert external["granted_at"] == "2026-01-02T03:04:05Z"
    assert from_external({**external, "unknown": 1}, Capability).granted_at == CAPABILITY.granted_at


def test_a_missing_grant_time_is_an_error_and_a_missing_depth_is_three() -> None:
    external = to_external(CAPABILITY)
    del external["delegation_depth"]
    assert from_external(external, Capability).delegation_depth == 3
    del external["granted_at"]
    with pytest.raises(InvalidRecord, match="granted_at") as caught:
        from_external(external, Capability)
    assert caught.value.rule == "malformed"


@pytest.mark.parametrize(
    ("field", "value"), [("granted_at", "yesterday"), ("delegation_depth", "3"), ("constraints", [])]
)
def test_a_malformed_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRecord, match=field):
        from_external({**to_external(CAPABILITY), field: value}, Capability)


def test_broken_bytes_are_malformed() -> None:
    with pytest.raises(InvalidRecord, match="not a valid Capability"):
        decode_json(b'{"id"', Capability)
    with pytest.raises(InvalidRecord, match="not a valid Capability"):
        decode_disk(encode_disk(CAPABILITY)[:-1], Capability)
    with pytest.raises(InvalidRecord, match=r"list\[int\]|list"):
        decode_json(b"{}", list[int])


def _deep(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(levels):
        nested = {"inner": nested}
    return nested


@pytest.mark.parametrize("encode", [encode_json, encode_disk, to_external])
@pytest.mark.parametrize("value", [{"thing": object()}, _deep(20_000)], ids=["object", "deep"])
def test_what_has_no_form_outside_is_refused(encode: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(InvalidRecord, match="is not data") as caught:
        encode(value)
    assert caught.value.rule == "unencodable"


@pytest.mark.parametrize("encode", [encode_json, encode_disk])
def test_a_text_that_is_no_unicode_is_refused(encode: Callable[[Any], bytes]) -> None:
    with pytest.raises(InvalidRecord):
        encode("lone \ud800")


def test_an_integer_beyond_the_disk_is_refused() -> None:
    with pytest.raises(InvalidRecord):
        encode_disk(2**70)
    assert decode_json(encode_json(2**70), int) == 2**70


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (decode_json, b'"\xff"'),
        (decode_json, '"\ud800"'),
        (decode_json, b"[" * 100_000),
        (decode_json, b'{"a":' * 100_000),
        (decode_json, b"1e999"),
        (decode_disk, b"\xa1\xff"),
        (decode_disk, b"\x91" * 100_000),
        (from_external, _deep(20_000)),
    ],
)
def test_hostile_input_is_malformed_and_nothing_worse(decode: Callable[..., Any], data: Any) -> None:
    kind = Nested if decode is from_external else Any
    with pytest.raises(InvalidRecord) as caught:
        decode(data, kind)
    assert caught.value.rule == "malformed"


def test_only_bytes_of_the_disk_become_a_sealed_value() -> None:
    with pytest.raises(InvalidRecord, match="signature"):
        from_external({**to_external(CAPABILITY), "signature": "text"}, Capability)
    with pytest.raises(InvalidRecord, match="cannot be decoded"):
        from_external({"field": 1}, dict[str, Foreign])


def test_a_sealed_value_shows_nothing() -> None:
    sealed = Sealed(b"secret")
    assert sealed == Sealed(b"secret")
    assert sealed != Sealed(b"other")
    assert sealed != b"secret"
    assert len({sealed, Sealed(b"secret")}) == 1
    assert "secret" not in repr(sealed) + repr({"x": sealed}) + f"{sealed}"
    assert sealed.reveal() == b"secret"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(sealed)


def test_a_fingerprint_names_the_shape_of_a_type() -> None:
    def shape(*fields: Any) -> Any:
        return msgspec.defstruct("State", fields)

    same = fingerprint(shape(("count", int, 0)))
    assert re.fullmatch("[0-9a-f]{16}", same)
    assert fingerprint(shape(("count", int, 0))) == same
    others = [
        shape(("count", int, 1)),
        shape(("count", str, "")),
        shape(("total", int, 0)),
        shape(("count", int, 0), ("more", int, 0)),
        shape(),
        msgspec.defstruct("Other", [("count", int, 0)]),
        int,
        list[int],
        Nested,
        Capability,
    ]
    assert len({same, *map(fingerprint, others)}) == len(others) + 1


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    script = "from mcp_interface import Capability, fingerprint; print(fingerprint(Capability))"
    other = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert other.stdout.strip() == fingerprint(Capability)


def test_what_the_codec_keeps_as_bytes_has_a_shape_too() -> None:
    class Holder(msgspec.Struct):
        secret: Sealed

    class Stranger(msgspec.Struct):
        secret: Foreign

    assert fingerprint(Holder) != fingerprint(Stranger)
