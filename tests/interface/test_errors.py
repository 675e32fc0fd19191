import pytest

from mcp_interface import (
    CODES,
    ErrorBody,
    InvalidRecord,
    NotFound,
    StaleEpoch,
    UmbrellaError,
    VersionConflict,
    error_from,
)

TREE = {
    "error": None,
    "invalid_input": "error",
    "deadlock": "invalid_input",
    "invalid_address": "invalid_input",
    "invalid_record": "invalid_input",
    "denied": "error",
    "login_required": "denied",
    "not_found": "error",
    "lost_race": "error",
    "version_conflict": "lost_race",
    "stale_epoch": "lost_race",
    "wrong_state": "lost_race",
    "overloaded": "error",
    "timeout": "overloaded",
    "unavailable": "error",
    "storage_unavailable": "unavailable",
    "storage_corrupt": "unavailable",
    "server_unavailable": "unavailable",
    "interrupted": "unavailable",
    "model_unavailable": "unavailable",
    "node_unavailable": "unavailable",
    "circuit_open": "unavailable",
    "internal": "error",
}


def test_the_codes_are_wire_format_and_do_not_change() -> None:
    assert {code: getattr(kind.__bases__[0], "code", None) for code, kind in CODES.items()} == TREE
    assert all(kind.code == code for code, kind in CODES.items())


def test_an_error_shows_its_remedy_when_it_has_one() -> None:
    assert str(NotFound("no session 'x'", "list the sessions")) == "no session 'x' (list the sessions)"
    assert str(NotFound("no session 'x'")) == "no session 'x'"


def test_an_error_travels_as_data() -> None:
    error = VersionConflict("elsewhere", "read again", {"actual": 0})
    assert error.body() == ErrorBody(
        code="version_conflict", message="elsewhere", remedy="read again", details={"actual": 0}
    )
    back = error_from(error.body())
    assert type(back) is VersionConflict
    assert back.details == {"actual": 0}


def test_a_broken_rule_keeps_its_name_on_the_way() -> None:
    error = InvalidRecord("too_many_agents", "eleven", details={"count": 11})
    back = error_from(error.body())
    assert isinstance(back, InvalidRecord)
    assert (back.rule, back.details) == ("too_many_agents", {"count": 11, "rule": "too_many_agents"})
    nameless = error_from(ErrorBody(code="invalid_record", message="from elsewhere"))
    assert isinstance(nameless, InvalidRecord)
    assert nameless.rule == ""


def test_a_branch_catches_its_leaves() -> None:
    with pytest.raises(CODES["lost_race"]):
        raise StaleEpoch("somebody else writes")
    with pytest.raises(UmbrellaError):
        raise error_from(ErrorBody(code="from the future", message="?"))
