import pytest

from mcp_cli.exit_codes import exit_code
from mcp_interface.errors import CODES


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("error", 1),
        ("internal", 1),
        ("lost_race", 1),
        ("overloaded", 1),
        ("invalid_input", 2),
        ("invalid_address", 2),
        ("invalid_record", 2),
        ("denied", 3),
        ("login_required", 3),
        ("not_found", 4),
        ("node_unavailable", 5),
        ("server_unavailable", 5),
        ("model_unavailable", 5),
        ("timeout", 124),
        ("interrupted", 130),
    ],
)
def test_an_error_ends_the_process_with_the_code_of_its_branch(code: str, expected: int) -> None:
    assert exit_code(CODES[code]) == expected


def test_every_error_of_the_tree_has_an_exit_code() -> None:
    assert all(exit_code(kind) > 0 for kind in CODES.values())
