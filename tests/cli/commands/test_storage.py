"""`umbrella storage`, with a node and without one, on a sound journal and on a damaged one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from core.refusing import flip
from mcp_cli.main import cli
from mcp_cli.terminal import remedy
from mcp_core import DataDir
from mcp_interface.errors import NotFound, StorageCorrupt

MARK = "harpsichord"


def run(place: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--data-dir", str(place), *words], catch_exceptions=False)


@pytest.fixture
def resting(tmp_path: Path) -> Path:
    """A data directory whose node is gone."""
    for name in ("first", MARK, "last"):
        spawned = run(tmp_path, "--embed", "agent", "spawn", name)
        assert spawned.exit_code == 0, spawned.stderr
    return tmp_path


def test_a_running_node_tells_how_its_journal_is_and_reads_it_back(
    umbrella: Callable[..., Result], umbrella_json: Callable[..., Any]
) -> None:
    report = umbrella_json("storage", "status")
    assert report["state"] == "writable"
    assert report["head"] > 0
    assert "writable" in umbrella("storage", "status").stdout
    check = umbrella_json("storage", "verify")
    assert check["ok"]
    assert check["events"] > 0
    assert "whole" in umbrella("storage", "verify").stdout
    assert umbrella_json("storage", "rebuild")["head"] >= report["head"]
    assert umbrella_json("node", "status")["storage"]["state"] == "writable"


def test_without_a_node_the_journal_is_looked_at_where_it_lies_and_none_is_started(resting: Path) -> None:
    status = run(resting, "storage", "status")
    assert status.exit_code == 0, status.stderr
    assert "no node runs" in status.stdout
    verified = json.loads(run(resting, "--format", "json", "storage", "verify").stdout)
    assert verified["ok"]
    assert verified["events"] > 0
    assert run(resting, "storage", "rebuild").exit_code == 0
    assert "resting" in run(resting, "doctor").stdout
    assert run(resting, "node", "status").exit_code == 5, "nothing was left running"


def test_a_damaged_journal_is_explained_although_no_node_starts_on_it(resting: Path) -> None:
    assert flip(DataDir(resting).journal, MARK.encode())
    verified = run(resting, "storage", "verify")
    assert verified.exit_code == 1
    assert "damaged" in verified.stdout
    assert "what to do" in verified.stdout
    document = json.loads(run(resting, "--format", "json", "storage", "verify").stdout)
    assert document["ok"] is False
    assert document["problem"]
    assert document["remedy"]
    assert document["details"]
    status = run(resting, "storage", "status")
    assert (status.exit_code, status.stdout) == (1, verified.stdout), "also where opening does not notice it"
    assert "umbrella storage verify" in run(resting, "doctor").stdout


def test_a_journal_that_cannot_be_opened_is_explained_by_status_verify_and_doctor(resting: Path) -> None:
    journal = DataDir(resting).journal
    for file in [journal] if journal.is_file() else [file for file in journal.rglob("*") if file.is_file()]:
        with file.open("r+b") as opened:
            opened.write(b"\xa5" * min(64, file.stat().st_size))
    for words in (("storage", "status"), ("storage", "verify")):
        told = run(resting, *words)
        assert told.exit_code == 1, told.stderr
        assert "damaged" in told.stdout
        assert "what to do" in told.stdout
    doctor = run(resting, "doctor")
    assert doctor.exit_code == 1
    assert "umbrella storage verify" in doctor.stdout
    refused = run(resting, "node", "start")
    assert refused.exit_code == 5
    assert "umbrella storage verify" in refused.stderr
    rebuilt = run(resting, "storage", "rebuild")
    assert rebuilt.exit_code == 5
    assert "remedy: " in rebuilt.stderr


def test_damage_found_by_a_running_node_stays_in_its_health(resting: Path) -> None:
    assert run(resting, "node", "start").exit_code == 0
    try:
        assert run(resting, "storage", "verify").exit_code == 0
        assert "found it damaged" not in run(resting, "doctor").stdout
        assert flip(DataDir(resting).journal, MARK.encode())
        assert run(resting, "storage", "verify").exit_code == 1
        doctor = run(resting, "doctor")
        assert doctor.exit_code == 1
        assert "the last verification found it damaged" in doctor.stdout
        assert str(DataDir(resting).journal) in doctor.stdout
    finally:
        assert run(resting, "node", "stop").exit_code == 0


def test_a_lost_journal_is_named_as_lost(resting: Path) -> None:
    shutil.rmtree(DataDir(resting).journal)
    for words in ("status", "verify"):
        told = run(resting, "storage", words)
        assert told.exit_code == 1, told.stderr
        assert "says that there was one" in told.stdout
    assert "umbrella storage verify" in run(resting, "storage", "rebuild").stderr


def test_an_error_about_damage_names_the_command_that_shows_how_far_it_goes() -> None:
    corrupt = StorageCorrupt("a frame is bad", "run a verification").body()
    assert remedy(corrupt) == "run a verification; what is sound and what is not: umbrella storage verify"
    assert remedy(StorageCorrupt("bad").body()) == "what is sound and what is not: umbrella storage verify"
    assert (
        remedy(StorageCorrupt("bad", "see umbrella storage verify").body()) == "see umbrella storage verify"
    )
    assert remedy(NotFound("no session", "list them").body()) == "list them"


def test_where_no_journal_is_nothing_is_found_and_nothing_made(tmp_path: Path) -> None:
    for words in ("status", "verify", "rebuild"):
        assert run(tmp_path / "nothing", "storage", words).exit_code == 4
    assert not (tmp_path / "nothing").exists()
