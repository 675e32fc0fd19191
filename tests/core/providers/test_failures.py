"""Every failure reads as what happened, where, and what to do."""

import asyncio

import pytest

from mcp_core.providers.addresses import shown_url
from mcp_core.providers.attempts import BACKOFF, call_again
from mcp_core.providers.failures import Endpoint, FailedRequest, Failure, clean, explain

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


@pytest.mark.parametrize(
    ("status", "said", "too_long"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000", True),
        (400, "the request exceeds the available context size (4096 tokens)", True),
        (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", True),
        (400, "The prompt is longer than the maximum model length of 4096", True),
        (500, "context size exceeded", True),
        (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000", True),
        (413, "", True),
        (400, "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens", False),
        (400, "temperature is not supported", False),
        (401, "prompt is too long", False),
        (429, "rate limit reached", False),
    ],
)
def test_what_is_too_long_is_known_by_its_words(status: int, said: str, too_long: bool) -> None:
    failure = Failure(kind="status", status=status, detail=said)
    assert failure.too_long is too_long
    assert (explain(failure, AT, "gpt", SECRET).details["kind"] == "too_long") is too_long
    assert not (too_long and failure.transient)


def test_a_refused_key_names_the_secret_of_that_very_endpoint() -> None:
    refused = Failure(kind="status", status=401)
    assert "umbrella secret set OPENAI_API_KEY/host" in explain(refused, AT, "gpt", SECRET).remedy
    own = Endpoint(vendor="anthropic", url="https://api.anthropic.com")
    assert explain(refused, own, "m", SECRET).remedy.endswith("umbrella secret set ANTHROPIC_API_KEY")


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
