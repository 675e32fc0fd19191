"""The file of a server's stderr."""

import os
from datetime import UTC, datetime

import pytest

from mcp_core.protocol.expansion import Expanded
from mcp_core.protocol.server_log import LIMIT, ServerLog
from mcp_interface.server import ServerSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_file_grows_over_restarts_and_says_when_each_began(tmp_path) -> None:
    log = ServerLog(tmp_path / "logs", "x")
    for word in ("one", "two"):
        with log.opened(NOW) as file:
            file.write(f"{word}\n")
    assert log.path.read_text().splitlines() == [
        "--- started 2026-01-01T00:00:00+00:00", "one", "--- started 2026-01-01T00:00:00+00:00", "two"
    ]  # fmt: skip


def test_the_last_line_is_of_this_start_and_holds_no_control_characters(tmp_path) -> None:
    log = ServerLog(tmp_path, "x")
    with log.opened(NOW) as file:
        file.write("old\n")
    with log.opened(NOW) as file:
        assert log.last_line(str) == ""
        file.write("\x1b[31mred\x07 alert\x1b[0m\n\n")
        file.flush()
        assert log.last_line(str) == "red alert"


def test_a_file_past_its_limit_is_emptied_under_the_writer(tmp_path) -> None:
    log = ServerLog(tmp_path, "x")
    with log.opened(NOW) as file:
        file.write("x" * (LIMIT + 1))
        file.flush()
        log.shorten()
        file.write("goes on\n")
        file.flush()
        assert log.path.read_text() == "goes on\n"
        assert log.last_line(str) == "goes on"


def test_a_link_in_its_place_is_refused(tmp_path) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "mcp-x.log")
    with pytest.raises(OSError), ServerLog(tmp_path, "x").opened(NOW):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_secret_is_taken_out_before_a_line_is_cut(tmp_path) -> None:
    secret = "eyJ" + "".join(f"{number:04x}" for number in range(200))
    expanded = Expanded(ServerSpec(command="x"), {secret: "${secret:k}"})
    log = ServerLog(tmp_path, "x")
    with log.opened(NOW) as file:
        file.write(f"bad credentials: {secret}\n")
        file.flush()
        assert log.last_line(expanded.redact) == "bad credentials: ${secret:k}"
        file.write(f"bad credentials: {secret * 4}\n")  # longer than what is read of the file
        file.flush()
        assert not any(secret[at : at + 16] in log.last_line(expanded.redact) for at in range(len(secret)))
