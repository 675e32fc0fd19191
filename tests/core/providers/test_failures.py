"""Every failure reads as what happened, where, and what to do."""

import asyncio

import pytest

from mcp_core.providers.attempts import BACKOFF, call_again
from mcp_core.providers.failures import Endpoint, FailedRequest, Failure, clean, explain, shown_url

AT = Endpoint(vendor="openai", url="http://host/v1")
SECRET = "sk-very-secret"


@pytest.mark.parametrize(
    ("failure", "says", "remedy"),
    [
        (Failure(kind="connect"), "nothing answers at http://host/v1", "OPENAI_BASE_URL"),
        (Failure(kind="timeout"), "did not answer in time", "try again"),
        (Failure(kind="cut"), "was cut off", "try again"),
        (Failure(kind="garbled"), "openai format", "OPENAI_BASE_URL"),
        (Failure(kind="status", status=307), "redirects elsewhere", "OPENAI_BASE_URL"),
        (Failure(kind="status", status=400), "does not accept", "choose another model"),
        (Failure(kind="status", status=401), "refused the key", "OPENAI_API_KEY"),
        (Failure(kind="status", status=403), "refused the key", "OPENAI_API_KEY"),
        (Failure(kind="status", status=404), "'gpt'", "OPENAI_MODEL"),
        (Failure(kind="status", status=429, retry_after=90), "too often", "wait 90 s"),
        (Failure(kind="status", status=429, code="insufficient_quota"), "no quota", "billing"),
        (Failure(kind="status", status=503), "overloaded", "later"),
    ],
)
def test_a_failure_says_what_to_do(failure: Failure, says: str, remedy: str) -> None:
    error = explain(failure, AT, "gpt", SECRET)
    assert says in error.message
    assert remedy in error.remedy
    assert error.details == {
        "vendor": "openai",
        "kind": failure.kind,
        "status": failure.status,
        "model": "gpt",
    }


def test_what_an_endpoint_says_is_shown_short_and_without_key_and_control_characters() -> None:
    assert clean(f"bad key {SECRET}\x1b[31m\n{'x' * 1000}", SECRET).startswith("bad key *** [31m xxx")
    assert len(clean("x" * 1000, SECRET)) <= 301


def test_a_shown_address_holds_no_password_and_no_query() -> None:
    assert shown_url("http://me:pw@host:1/v1?key=1#x") == "http://host:1/v1"


@pytest.mark.parametrize(
    ("failure", "transient"),
    [
        (Failure(kind="connect"), True),
        (Failure(kind="cut"), True),
        (Failure(kind="timeout"), False),
        (Failure(kind="garbled"), False),
        (Failure(kind="status", status=400), False),
        (Failure(kind="status", status=401), False),
        (Failure(kind="status", status=429), True),
        (Failure(kind="status", status=429, code="insufficient_quota"), False),
        (Failure(kind="status", status=429, retry_after=31), False),
        (Failure(kind="status", status=529), True),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(failure: Failure, transient: bool) -> None:
    assert failure.transient is transient


def test_attempts_are_bounded_and_wait_as_long_as_the_endpoint_asks(clock) -> None:
    asked = 0

    async def refuse() -> None:
        nonlocal asked
        asked += 1
        raise FailedRequest(Failure(kind="status", status=429, retry_after=1.0))

    with pytest.raises(FailedRequest):
        asyncio.run(call_again(refuse, clock))
    assert asked == len(BACKOFF) + 1
    assert clock.slept == [max(pause, 1.0) for pause in BACKOFF]


def test_what_cannot_help_is_not_tried_again(clock) -> None:
    async def refuse() -> None:
        raise FailedRequest(Failure(kind="status", status=401))

    with pytest.raises(FailedRequest):
        asyncio.run(call_again(refuse, clock))
    assert clock.slept == []
