import time

import pytest

from mcp_interface.capability import Sealed
from mcp_security.redaction import REDACTED, redact, redact_text


@pytest.mark.parametrize(
    "name",
    [
        "token", "password", "authorization", "api_key", "secret", "Api-Key", "apiKey", "X-Auth-Token",
        "clientSecret", "set-cookie", "AWS_SECRET_ACCESS_KEY", "private_key", "passphrase", "handle",
    ],
)  # fmt: skip
def test_a_secret_name_hides_its_value_at_any_depth(name: str) -> None:
    assert redact({"a": [{"b": {name: {"c": "hunter2"}}}]}) == {"a": [{"b": {name: REDACTED}}]}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "curl -H 'authorization: hunter2'",
        "https://me:hunter2@example.org/x",
        "https://example.org/?access_token=hunter2&x=1",
        'body {"password": "hunter2", "n": 1}',
        "PGPASSWORD=hunter2 psql",
    ],
)
def test_a_secret_shows_by_its_shape_in_a_text(text: str) -> None:
    assert "hunter2" not in redact_text(text)
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize(
    "value", [None, True, 0, 1.5, "", "plain text", [], {}, {"path": "/a", "n": [1, "b"]}]
)
def test_what_is_no_secret_stays(value: object) -> None:
    assert redact(value) == value


def test_what_is_not_json_becomes_its_type() -> None:
    assert redact({"a": Sealed(b"x"), "b": {1, 2}, "c": b"x"}) == {
        "a": REDACTED,
        "b": "[set]",
        "c": "[bytes]",
    }


@pytest.mark.parametrize("piece", ["x", "token", "token ", "://:", "://", "bearer ", "token=", 'key"', "-"])
def test_no_text_makes_it_slow(piece: str) -> None:
    began = time.perf_counter()
    redact([piece * 10_000] * 20)
    assert time.perf_counter() - began < 2


def test_long_texts_are_cut() -> None:
    assert len(redact_text("x" * 10**6)) < 5000
