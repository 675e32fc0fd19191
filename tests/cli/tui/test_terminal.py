"""The real command in a real terminal: tmux plays the person."""

import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcp_cli.main import cli
from scripted_model import scripted_model

PATIENCE_S = 30.0
SERVERS = itertools.count(1)
SERVER = Path(__file__).parent / "echo_server.py"
DESK = Path(__file__).parents[2] / "desk_server.py"

needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None and not os.environ.get("CI"), reason="tmux is not installed"
)


class Terminal:
    """One tmux window of its own server."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._run("new-session", "-d", "-x", "120", "-y", "50", "-c", str(folder), "sh")

    def _run(self, *words: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *words]
        # What a test runner says of its own terminal is not so of this one.
        environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10, env=environ)
        return done.stdout

    def types(self, text: str) -> None:
        self._run("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def sends(self, text: str) -> None:
        self.types(text)
        self.press("Enter")

    @property
    def text(self) -> str:
        return self._run("capture-pane", "-p")

    def until(self, condition: Callable[[str], bool]) -> str:
        end = time.monotonic() + PATIENCE_S
        while not condition(text := self.text):
            assert time.monotonic() < end, f"still not so; the terminal shows:\n{text}"
            time.sleep(0.05)
        return text

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def coloured(self) -> str:
        return self._run("capture-pane", "-p", "-e")

    def sees(self, *texts: str) -> str:
        return self.until(lambda text: all(part in text for part in texts))

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    # A server of its own for each test: one of the same name may still be on its way out.
    opened = Terminal(f"umbrella-{os.getpid()}-{next(SERVERS)}", tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    CliRunner().invoke(cli, ["--data-dir", str(tmp_path / "data"), "node", "stop"])


@needs_tmux
def test_a_person_adds_a_server_calls_a_tool_leaves_and_comes_back(terminal: Terminal, place: Path) -> None:
    umbrella = f"{Path(sys.executable).parent / 'umbrella'} --data-dir {place}"
    terminal.sends(umbrella)
    terminal.sees("no model is set", "connected")
    terminal.sends("/help")
    terminal.sees("Ctrl+C twice", "more on one of them")
    terminal.sends(f"/mcp add echo -- {sys.executable} {SERVER}")
    terminal.sees("ready", "see them: /mcp tools echo")
    terminal.sends("/tools echo")
    terminal.sees("what it does", "Say it again")
    terminal.sends('/call echo say {"text": "hello from a tool"}')
    terminal.sees("● echo.say", "│ hello from a tool")
    terminal.press("C-c")
    terminal.sees("press Ctrl-C again")
    terminal.press("C-c")
    goodbye = terminal.sees("Come back: umbrella")
    identifier = goodbye.replace("\n", "").split("--resume ")[1].split("$")[0].split("#")[0].strip()
    terminal.sends(f"clear; {umbrella} --resume {identifier}")
    terminal.sees("● echo.say", "│ hello from a tool", "connected")
    terminal.sends("/quit")
    terminal.sees("Come back: umbrella")


@needs_tmux
def test_a_node_that_is_killed_comes_back_and_nothing_is_shown_twice(terminal: Terminal, place: Path) -> None:
    terminal.sends(f"{Path(sys.executable).parent / 'umbrella'} --data-dir {place}")
    terminal.sees("connected")
    terminal.sends(f'/call fs list_directory {{"path": "{SERVER.parent}"}}')
    terminal.sees("● fs.list_directory")
    os.kill(int((place / "node.lock").read_text()), signal.SIGKILL)
    terminal.sees("the node died", "attached again")
    terminal.sends("anybody there?")
    text = terminal.sees("▌ anybody there?", "no language model")
    assert text.count("● fs.list_directory") == 1
    terminal.press("C-d")
    terminal.sees("Come back: umbrella")


@needs_tmux
def test_a_question_survives_the_node_is_answered_after_its_restart_and_watched_to_the_end(
    terminal: Terminal, place: Path
) -> None:
    umbrella = f"{Path(sys.executable).parent / 'umbrella'} --data-dir {place}"
    terminal.sends(umbrella)
    terminal.sees("connected")
    terminal.sends(f"/mcp add desk -- {sys.executable} {DESK}")
    terminal.sees("see them: /mcp tools desk")
    terminal.sends("/call desk book {} --detach")
    terminal.sees("desk.book asks", "Where do you want to go?", "City *")
    os.kill(int((place / "node.lock").read_text()), signal.SIGKILL)
    terminal.sees("the node died", "attached again")
    terminal.sees("desk.book asks", "1 waiting for you", "Ctrl+S")
    terminal.press("Escape")
    terminal.sees("Tab to answer")
    terminal.sends("/answer")
    terminal.until(lambda text: "Tab to answer" not in text)
    time.sleep(1.0)  # a key that comes at once was meant for something else
    terminal.press("Enter")
    terminal.types("Bergen")
    terminal.press("C-s")
    terminal.sees("● desk.book", "booked 2 to Bergen")
    terminal.sends("/tasks")
    terminal.sees("execution", "desk.book", "success")
    terminal.press("C-d")
    terminal.sees("Come back: umbrella")


@needs_tmux
def test_a_person_completes_approves_resizes_detaches_and_finds_everything_after_a_kill(
    terminal: Terminal, place: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    call = {"name_contains": "write_file", "arguments": {"path": str(note), "content": "x"}}
    steps = [{"text": "I will write.", "tool_call": call}, {"text": "It is **written**."}]
    umbrella = f"{Path(sys.executable).parent / 'umbrella'} --data-dir {place}"
    with scripted_model(steps) as model:
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in model.environ().items())
        terminal.sends(f"{given} {umbrella}")
        terminal.sees("connected", "scripted-1")
        terminal.types("/prof")
        terminal.sees("▸ /profile")
        terminal.press("Tab")
        terminal.types("as")
        terminal.sees("▸ ask")
        terminal.press("Tab", "Enter")
        terminal.sees("profile ask")
        terminal.sends("write a note")
        terminal.sees("needs your answer", "note.txt", "1 waiting for you")
        terminal.resize(60, 30)
        terminal.sees("needs your answer", "1 waiting for you")
        terminal.resize(120, 50)
        terminal.sees("needs your answer")
        time.sleep(1.0)  # a key that comes at once was meant for something else
        terminal.press("y")
        terminal.sees("It is written.")
        assert note.read_text() == "x"
        terminal.types("half a thought")
        terminal.press("C-]")
        goodbye = terminal.sees("Come back: umbrella")
        identifier = goodbye.replace("\n", "").split("--resume ")[-1].split("$")[0].split("#")[0].strip()
        os.kill(int((place / "node.lock").read_text()), signal.SIGKILL)
        terminal.sends(f"clear; {given} {umbrella} --resume {identifier}")
        terminal.sees("▌ write a note", "It is written.", "connected")
        os.kill(int((place / "node.lock").read_text()), signal.SIGKILL)
        text = terminal.sees("the node died", "attached again")
        assert text.count("It is written.") == 1
        terminal.press("C-]")
        terminal.until(lambda text: text.count("Come back: umbrella") == 1 and "▌" not in text)


@needs_tmux
def test_the_terminal_is_handed_to_an_editor_and_comes_back(
    terminal: Terminal, place: Path, tmp_path: Path
) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\necho "the editor has the terminal"\nread answer\necho "$answer" >> "$1"\n')
    editor.chmod(0o755)
    umbrella = f"{Path(sys.executable).parent / 'umbrella'} --data-dir {place}"
    terminal.sends(f"NO_COLOR=1 EDITOR={editor} VISUAL= {umbrella}")
    terminal.sees("connected")
    assert "[38;2;122;162;247m" not in terminal.coloured
    terminal.types("dear diary,")
    terminal.press("C-g")
    terminal.until(lambda text: "the editor has the terminal" in text and "connected" not in text)
    terminal.sends("today it rained")
    terminal.sees("dear diary,", "today it rained", "connected")
    terminal.press("C-]")
    terminal.until(lambda text: "dear diary" not in text)
