"""What a key costs in the full-screen REPL while answers stream into a long transcript.

Run alone: `python tests/benchmarks/bench_repl.py`, after `uv sync --all-packages`. One JSON object per line and
figure. The real program runs in a real pseudo terminal of 120 x 40, attached to a real node over its socket; the
session was brought in with `ImportSession`. Eight answers stream at once, as eight agents would: the pieces are
handed to the node's bus, which is where an agent's pieces come in too. Figures are CPU time of the program alone,
from the kernel; the peer is the budget, so a ratio below one keeps it.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from turns import note, show

from mcp_core import Node, Settings
from mcp_interface.client import ClientInfo, TextDelta
from mcp_interface.conversing import ImportedMessage, ImportSession
from mcp_interface.ids import MessageId, SessionId, TurnId

BUDGET_MS = 15.0
COLUMNS, ROWS = 120, 40
KEYS_A_SECOND = 12
PIECE = 48
"""Characters that an agent hands on at once."""
PIECES_A_SECOND = 12
MARKDOWN = (
    "## What is there\n\nThe module `harvest.py` counts **apples** by tree, and says nothing of pears. "
    "Two things could be better, and both are small:\n\n- the total of an empty orchard is not tested\n"
    "- a basket without a tree is counted twice\n- names of trees are compared letter by letter\n\n"
    "```python\ndef total(baskets: list[Basket]) -> int:\n    return sum(basket.kilos for basket in baskets)\n```\n\n"
    "| case | today |\n|---|---|\n| no baskets | untested |\n| two baskets | untested |\n\n"
)
PROGRAM = "import sys; from mcp_cli.main import main; sys.argv[0] = 'umbrella'; sys.exit(main())"


class OpenNode(Node):
    """A node whose bus can be handed what agents say."""

    bus: Any = None

    async def _break_ground(self, stack: AsyncExitStack) -> Any:
        ground = await super()._break_ground(stack)
        self.bus = ground.bus
        return ground


class Terminal:
    """The program in a pseudo terminal; a thread reads what it draws, so that it never waits for its reader."""

    def __init__(self, data_dir: Path, session_id: str, environ: dict[str, str]) -> None:
        arguments = ["--data-dir", str(data_dir), "--resume", session_id]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *arguments], environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.drawn = 0
        self.text = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                select.select([self._fd], [], [])
                data = os.read(self._fd, 65536)
                if not data:
                    return
                self.drawn += len(data)
                self.text = (self.text + data)[-200_000:]

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    async def sees(self, text: str) -> None:
        async with asyncio.timeout(60):
            while text.encode() not in self.text:
                await asyncio.sleep(0.02)

    @property
    def cpu_ms(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Streams:
    """Answers that grow at once."""

    def __init__(self, node: OpenNode, session_id: SessionId, count: int) -> None:
        self._node = node
        self._session_id = session_id
        self._count = count
        self._letters = 0
        self.pieces = 0

    async def run(self) -> None:
        while True:
            start = self._letters % len(MARKDOWN)
            piece = (MARKDOWN + MARKDOWN)[start : start + PIECE]
            self._letters += PIECE
            for number in range(self._count):
                self._node.bus.pass_by(
                    TextDelta(
                        session_id=self._session_id,
                        turn_id=TurnId(f"turn_{number:032}"),
                        message_id=MessageId(f"msg_{number:032}"),
                        text=piece,
                    )
                )
                self.pieces += 1
                await asyncio.sleep(1 / PIECES_A_SECOND / self._count)


async def typing(terminal: Terminal, seconds: float) -> int:
    """Type as a quick person does, taking back every second letter. Gives how many keys that were."""
    keys = int(seconds * KEYS_A_SECOND)
    for number in range(keys):
        terminal.press("x" if number % 2 == 0 else "\x7f")
        await asyncio.sleep(1 / KEYS_A_SECOND)
    return keys


async def spent(terminal: Terminal, work: Any) -> tuple[Any, float]:
    """Run something; gives what it gave, and the milliseconds of CPU that the program used meanwhile."""
    before = terminal.cpu_ms
    given = await work
    return given, terminal.cpu_ms - before


async def measure(blocks: int, streams: int, seconds: float, environ: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with OpenNode(Settings.load(Path(folder) / "node", {})) as node:
            client = node.client()
            await client.connect(ClientInfo(name="bench", token=node.owner_token))
            messages = [
                ImportedMessage(
                    role="user" if number % 2 == 0 else "assistant", content=f"{number}\n\n{MARKDOWN}"
                )
                for number in range(blocks)
            ]
            session = await client.request(ImportSession(messages=messages, title="long"), None)
            note(f"{blocks} messages are in {session.id}")
            terminal = Terminal(Path(folder) / "node", session.id, environ)
            try:
                await terminal.sees("connected")
                await asyncio.sleep(1.0)
                show("CPU until a session of that length is on the screen", "ms", terminal.cpu_ms)
                await keys_and_streams(terminal, Streams(node, session.id, streams), streams, seconds)
            finally:
                terminal.close()


async def keys_and_streams(terminal: Terminal, streams: Streams, count: int, seconds: float) -> None:
    keys, used = await spent(terminal, typing(terminal, seconds))
    show("CPU of a key, nothing streams", "ms", used / keys, "budget", BUDGET_MS)
    running = asyncio.create_task(streams.run())
    try:
        before = streams.pieces
        _, early = await spent(terminal, asyncio.sleep(seconds))
        show(f"CPU of a second, {count} answers stream, early", "ms", early / seconds)
        keys, both = await spent(terminal, typing(terminal, seconds))
        _, late = await spent(terminal, asyncio.sleep(seconds))
        show(f"CPU of a second, {count} answers stream, late", "ms", late / seconds, "early", early / seconds)
        show(
            "CPU of a piece of text that streams",
            "ms",
            (early + late) / max(1, (streams.pieces - before) * 2 / 3),
        )
        alone = (early + late) / 2
        show(f"CPU of a key, {count} answers stream", "ms", (both - alone) / keys, "budget", BUDGET_MS)
        show(
            f"CPU of a key, {count} answers stream, with their share", "ms", both / keys, "budget", BUDGET_MS
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("--blocks", type=int, default=5_000)
    given.add_argument("--streams", type=int, default=8)
    given.add_argument("--seconds", type=float, default=10.0)
    options = given.parse_args()
    environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "TEXTUAL_ANIMATIONS": "none"}
    asyncio.run(measure(options.blocks, options.streams, options.seconds, environ))


if __name__ == "__main__":
    main()
