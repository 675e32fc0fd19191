"""A node in the foreground: `python -m mcp_core --data-dir DIR`. What `umbrella node start` runs detached."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from mcp_core.daemon import BUSY
from mcp_core.node import Node
from mcp_core.runtime.collection import settle_memory
from mcp_core.settings import Settings
from mcp_interface.errors import LostRace, StorageCorrupt, UmbrellaError


async def run(settings: Settings) -> None:
    """Run a node until it is asked to stop, by command or signal."""
    async with Node(settings) as node:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stop)
        settle_memory()  # what was restored stays; looking through it again and again would hold up everything
        await node.stopped()


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m mcp_core", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None)
    arguments = parser.parse_args()
    settings = Settings.load(arguments.data_dir)
    os.chdir("/")  # a node that runs for months must not hold the folder it was started in
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pykka").setLevel(logging.ERROR)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs whole URLs, which may hold secrets
    try:
        asyncio.run(run(settings))
    except UmbrellaError as error:
        sys.stderr.write(f"error: {error.message}\nremedy: {error.remedy}\n")
        if isinstance(error, StorageCorrupt):
            sys.stderr.write("what is sound and what is not: umbrella storage verify\n")
        return BUSY if isinstance(error, LostRace) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
