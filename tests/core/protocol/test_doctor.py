"""The explanation of why a server does not start: each step by itself, nothing left behind, nothing disturbed."""

import asyncio
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcp_core.protocol import doctor as doctor_module
from mcp_core.protocol.doctor import Doctor
from mcp_core.protocol.doors import Doors
from mcp_interface.clock import SystemEntropy
from mcp_interface.server import Cage, Diagnosis, ServerSpec

SERVERS = Path(__file__).parent / "servers"
needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None and not os.environ.get("CI"), reason="bubblewrap is not installed"
)


def examined(spec: ServerSpec, environment: dict[str, str] | None = None, **doors: Any) -> list[Diagnosis]:
    doctor = Doctor(environment or {}, Doors(**doors), SystemEntropy())
    return asyncio.run(asyncio.wait_for(doctor.examine("tried", spec), 60))


def last(spec: ServerSpec, environment: dict[str, str] | None = None, **doors: Any) -> Diagnosis:
    """The step that failed: all before it went well."""
    found = examined(spec, environment, **doors)
    assert all(step.ok for step in found[:-1]) and not found[-1].ok, found
    assert found[-1].remedy
    return found[-1]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "ALIVE_SECONDS", 0.2)


def sdk_server() -> ServerSpec:
    return ServerSpec(command=sys.executable, args=[str(SERVERS / "sdk_server.py"), "stdio"])


def test_a_sound_server_passes_every_step() -> None:
    found = examined(sdk_server())
    assert [step.step for step in found] == [
        "configuration", "variables and secrets", "command", "process", "answer", "protocol", "login", "lists",
    ]  # fmt: skip
    assert all(step.ok for step in found), found
    assert "tools" in found[-1].detail


def test_a_specification_that_breaks_a_rule() -> None:
    found = last(ServerSpec(command="x", url="https://x"))
    assert (found.step, "either" in found.detail) == ("configuration", True)


def test_everything_that_is_missing_is_named_at_once() -> None:
    spec = ServerSpec(
        command="x", args=["${ONE}"], env={"A": "${THREE}", "B": "${HERE}", "C": "${secret:two}"}
    )
    found = last(spec, {"HERE": "x"})
    assert found.step == "variables and secrets"
    assert all(name in found.detail for name in ("ONE", "two", "THREE")) and "HERE" not in found.detail
    assert "umbrella secret set two" in found.remedy


@pytest.mark.parametrize(
    ("command", "said", "remedy"),
    [
        ("no-such-program-at-all", "was not found", "install it"),
        ("/no/such/program", "was not found", "install it"),
    ],
)
def test_a_command_that_is_not_there(command: str, said: str, remedy: str) -> None:
    found = last(ServerSpec(command=command))
    assert found.step == "command" and said in found.detail and remedy in found.remedy


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    found = last(ServerSpec(command=str(tmp_path / "plain")))
    assert "cannot be executed" in found.detail and "chmod +x" in found.remedy


def test_a_working_folder_that_is_not_there() -> None:
    assert "working folder" in last(ServerSpec(command="/bin/true", cwd="/no/such/folder")).detail


def test_a_process_that_ends_is_shown_with_its_last_words_and_without_secrets() -> None:
    spec = ServerSpec(
        command="/bin/sh", args=["-c", "echo cannot read $TOKEN >&2; exit 3"], env={"TOKEN": "${T}"}
    )
    found = last(spec, {"T": "hunter2-and-more"})
    assert found.step == "process"
    assert "code 3" in found.detail and "cannot read ${T}" in found.detail
    assert "hunter2" not in repr(found)


def test_a_process_that_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "CONNECT_SECONDS", 2.0)
    began = time.monotonic()
    found = last(ServerSpec(command="/bin/sh", args=["-c", "echo hello; sleep 60"]))
    assert found.step == "answer" and "hello" in found.detail and "standard output" in found.remedy
    assert time.monotonic() - began < 40


@needs_bubblewrap
def test_a_cage_that_cannot_be_made_and_one_that_can(tmp_path: Path) -> None:
    spec = ServerSpec(command="/bin/cat", cage=Cage(read=["/no/such/place"]))
    found = last(spec)
    assert found.step == "cage" and "/no/such/place" in found.detail
    place = Path(os.path.realpath(tmp_path))
    found = last(ServerSpec(command="/bin/cat", cage=Cage(read=[str(place)])), closed=(place / "data",))
    assert "the node's own" in found.detail
    steps = examined(ServerSpec(command="/bin/sh", args=["-c", "exit 4"], cage=Cage()))
    assert [(step.step, step.ok) for step in steps[-2:]] == [("cage", True), ("process", False)]
    assert "no network" in steps[-2].detail


def test_a_name_that_nobody_knows() -> None:
    assert last(ServerSpec(url="http://no-such-host.invalid/mcp")).step == "name"


def test_a_port_on_which_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, and not listening
        found = last(ServerSpec(url=f"http://127.0.0.1:{held.getsockname()[1]}/mcp"))
    assert found.step == "connection" and "nothing answers" in found.detail


async def speaking(answer: bytes, work: Any) -> Any:
    """Serve one fixed answer to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await work(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "scheme", "step", "word"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "http", "HTTP", "nothing is at this path"),
        (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "http", "HTTP", "503"),
        (b"HTTP/1.1 301 Moved\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n", "http", "HTTP", "/new"),
        (b"SSH-2.0-x\r\n", "http", "HTTP", "does not answer over HTTP"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "https", "TLS", "does not speak TLS"),
    ],
)
def test_an_address_where_something_else_is(answer: bytes, scheme: str, step: str, word: str) -> None:
    async def work(port: int) -> list[Diagnosis]:
        doctor = Doctor({}, Doors(), SystemEntropy())
        return await doctor.examine("tried", ServerSpec(url=f"{scheme}://127.0.0.1:{port}/mcp"))

    found = asyncio.run(speaking(answer, work))[-1]
    assert (found.step, found.ok) == (step, False) and word in found.detail, found


def test_nothing_is_left_of_an_examination(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"echo $$ > {mark}; trap '' TERM; cat >/dev/null; sleep 1000 & wait; sleep 1000"
    examined_spec = ServerSpec(command="/bin/sh", args=["-c", script])

    async def cancelled() -> None:
        task = asyncio.create_task(Doctor({}, Doors(), SystemEntropy()).examine("tried", examined_spec))
        while not mark.exists() or not mark.read_text().strip():
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()
        for _ in range(1000):
            if not Path("/proc", mark.read_text().strip()).exists():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the process lives on")

    asyncio.run(cancelled())
