"""The kernel and its gates with nothing beside them but `mcp-umbrella-security[api,database]`.

Run by `wheels.py` in the environment of that wheel: a person hands an agent a part of four rights, each gate acts
within what was allowed and refuses what lies beside it, a revocation ends it all, and the audit is sound.
"""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from mcp_interface.address import parse_resource
from mcp_interface.capability import Ask, Facts
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.errors import NotPermitted
from mcp_interface.ids import PrincipalId, new_id
from mcp_interface.testing import MemoryStore
from mcp_security import ApiGate, AuditLog, Database, DatabaseGate, FilesystemGate, Kernel, ShellGate

ECHO = os.path.realpath(shutil.which("echo") or "/usr/bin/echo")


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: Any) -> None:
        pass


async def refused(work: Awaitable[Any]) -> bool:
    try:
        await work
    except NotPermitted:
        return True
    return False


def gates(home: Path, port: int) -> dict[str, tuple[str, Callable[[str, str], Awaitable[Any]], str, str]]:
    """For each gate: what is granted, how it acts within a right, on what, and what lies beside it."""
    (home / "notes").mkdir()
    (home / "notes" / "a").write_text("hello")
    (home / "secret").write_text("hello")
    with sqlite3.connect(home / "shop.db") as connection:
        connection.executescript(
            "create table t (v text); insert into t values ('hello'); create table s (v text)"
        )
    connection.close()
    files, api, shell = FilesystemGate(), ApiGate(), ShellGate()
    database = DatabaseGate({"shop": Database(url=f"sqlite://{home / 'shop.db'}")})

    async def read(covering: str, path: str) -> str:
        with os.fdopen(files.open_file(covering, path)) as file:
            return file.read()

    async def fetch(covering: str, path: str) -> str:
        url = f"http://127.0.0.1:{port}{path}"
        return (await api.fetch(covering, {}, "GET", url, max_bytes=100, timeout_s=30)).body.decode()

    async def query(covering: str, table: str) -> str:
        return str((await database.run([covering], "shop", f"select v from {table}", {})).rows[0][0])

    async def run(covering: str, program: str) -> str:
        return (await shell.run(covering, {}, program, ["hello"])).stdout.decode().strip()

    return {
        "files": (f"mcp://fs/read{home}/notes/**", read, f"{home}/notes/a", f"{home}/secret"),
        "api": (f"mcp://api/get/http/127.0.0.1:{port}/pub/**", fetch, "/pub/a", "/other"),
        "database": ("mcp://db/read/shop/t", query, "t", "s"),
        "shell": (f"mcp://shell/execute{ECHO}", run, ECHO, "/usr/bin/env"),
    }


async def main(home: Path, port: int) -> None:
    clock, entropy, store = SystemClock(), SystemEntropy(), MemoryStore()
    me, agent = PrincipalId(new_id("user", entropy)), PrincipalId(new_id("agent", entropy))
    audit = await AuditLog.open(home / "audit.jsonl", clock)
    kernel = await Kernel.open(store, await store.claim(), audit, clock, entropy)
    for name, (uri, act, inside, beside) in gates(home, port).items():
        resource = parse_resource(uri)
        [mine] = await kernel.request_all(me, [Ask(resource=resource)])
        await kernel.delegate(mine.handle, me, agent)
        verdict = await kernel.authorize(agent, resource, facts=Facts())
        assert verdict.allowed and verdict.covering is not None, verdict
        assert await act(verdict.covering, inside) == "hello", name
        assert await refused(act(verdict.covering, beside)), name
        await kernel.revoke(mine.capability.id, me)
        assert (await kernel.authorize(agent, resource)).reason == "capability_revoked", name
    await kernel.close()
    assert (await audit.verify()).ok
    await audit.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asyncio.run(main(Path(folder).resolve(), server.server_port))
        server.shutdown()
