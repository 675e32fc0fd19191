"""Every error has its HTTP status, and a problem says what to do."""

import pytest

from mcp_interface.errors import CODES, ErrorBody, NotFound
from mcp_web.problem import STATUS, code_of, problem_of


def test_every_code_has_a_status_and_no_other_has() -> None:
    assert set(STATUS) == set(CODES)


@pytest.mark.parametrize(
    ("code", "status"),
    [("invalid_record", 400), ("login_required", 401), ("denied", 403), ("not_found", 404), ("timeout", 504)],
)
def test_what_clients_rely_on_does_not_move(code: str, status: int) -> None:
    assert STATUS[code] == status


def test_a_problem_carries_message_remedy_details_and_request_id() -> None:
    problem = problem_of(NotFound("no such session", "list them", {"id": "x"}), "request-1")
    assert (problem.status, problem.code, problem.request_id) == (404, "not_found", "request-1")
    assert (problem.message, problem.remedy, problem.details) == ("no such session", "list them", {"id": "x"})
    assert problem.type == "urn:umbrella:problem:not_found"


def test_a_code_from_a_newer_node_is_our_trouble_and_not_the_callers() -> None:
    assert problem_of(ErrorBody(code="brand_new", message="?"), "").status == 500


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "invalid_input"), (413, "invalid_input"), (500, "internal")],
)
def test_what_the_framework_refuses_gets_one_of_our_codes(status: int, code: str) -> None:
    assert code_of(status) == code
