"""How fast the kernel judges, the audit records and the gate opens, beside what people would use instead.

Run alone: `python tests/benchmarks/bench_security.py`. One JSON object per line.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jwt

from mcp_interface.address import parse_resource
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.ids import SYSTEM, PrincipalId, new_id
from mcp_interface.testing import MemoryStore
from mcp_security import AuditLog, FilesystemGate, Kernel

ROUNDS = 5
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
OWNER = PrincipalId(new_id("user", ENTROPY))
AGENT = PrincipalId(new_id("agent", ENTROPY))
WANTED = parse_resource("mcp://fs/read/home/me/project/src/main.py")


def report(name: str, value: float, unit: str, peer: str, peer_value: float) -> None:
    line = {"name": name, "value": round(value), "unit": unit, "peer": peer, "peer_value": round(peer_value)}
    print(json.dumps({**line, "ratio": round(value / peer_value, 2)}), flush=True)


def rate(work: Callable[[], object], count: int) -> float:
    """Calls a second, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, time.perf_counter() - began)
    return count / best


async def judging(folder: Path) -> None:
    store = MemoryStore()
    audit = await AuditLog.open(folder / "judging.jsonl", CLOCK)
    kernel = await Kernel.open(store, await store.claim(), audit, CLOCK, ENTROPY)
    root = await kernel.request(OWNER, parse_resource("mcp://fs/read/home/**"))
    leaf = await kernel.delegate(root.handle, OWNER, AGENT, parse_resource("mcp://fs/read/home/me/**"))
    assert kernel.validate(leaf.handle, AGENT, WANTED).allowed

    key = ENTROPY.token(32)
    token = jwt.encode(
        {"sub": AGENT, "exp": int(time.time()) + 3600, "scope": "fs:read:/home/me/"}, key, "HS256"
    )

    def by_token() -> bool:
        claims = jwt.decode(token, key, algorithms=["HS256"])
        return claims["sub"] == AGENT and f"fs:read:/{WANTED.path}".startswith(claims["scope"])

    assert by_token()
    report(
        "validate by handle",
        rate(lambda: kernel.validate(leaf.handle, AGENT, WANTED), 20_000),
        "1/s",
        "PyJWT HS256 and a prefix",
        rate(by_token, 2_000),
    )
    await audit.close()


async def recording(folder: Path) -> None:
    details = {"tool": "read_file", "server": "fs"}
    count, at_once = 20_000, 2_000
    audit = await AuditLog.open(folder / "recording.jsonl", CLOCK)
    began = time.perf_counter()
    for _ in range(count // at_once):
        await asyncio.gather(
            *(
                audit.append(
                    kind="access_allowed",
                    principal_id=SYSTEM,
                    resource_uri=WANTED.uri,
                    decision="allowed",
                    details=details,
                )
                for _ in range(at_once)
            )
        )
    ours = count / (time.perf_counter() - began)
    assert (await audit.verify()).ok
    await audit.close()

    few = 500
    record = {"kind": "access_allowed", "principal": SYSTEM, "uri": WANTED.uri, "details": details}
    with (folder / "plain.jsonl").open("wb") as file:
        began = time.perf_counter()
        for _ in range(few):
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fdatasync(file.fileno())
        plain = few / (time.perf_counter() - began)
    report("audit, chained, durable, 2,000 at once", ours, "1/s", "json and fdatasync per record", plain)


async def authorizing(folder: Path) -> None:
    store = MemoryStore()
    audit = await AuditLog.open(folder / "authorizing.jsonl", CLOCK)
    kernel = await Kernel.open(store, await store.claim(), audit, CLOCK, ENTROPY)
    root = await kernel.request(OWNER, parse_resource("mcp://fs/read/home/**"))
    await kernel.delegate(root.handle, OWNER, AGENT)

    async def in_a_row(count: int) -> None:
        for _ in range(count):
            assert (await kernel.authorize(AGENT, WANTED)).allowed

    began = time.perf_counter()
    await in_a_row(300)
    single = 300 / (time.perf_counter() - began)
    began = time.perf_counter()
    await asyncio.gather(*(in_a_row(50) for _ in range(200)))
    many = 10_000 / (time.perf_counter() - began)
    report("authorize, recorded, 200 callers", many, "1/s", "the same, one caller", single)
    await audit.close()


def opening(folder: Path) -> None:
    target = folder.resolve() / "a" / "b" / "c" / "file"
    target.parent.mkdir(parents=True)
    target.write_text("x")
    gate, covering, path = FilesystemGate(), f"mcp://fs/read{folder.resolve()}/**", str(target)
    safe = rate(lambda: os.close(gate.open_file(covering, path)), 3_000)
    bare = rate(lambda: os.close(os.open(path, os.O_RDONLY)), 3_000)
    report("open a file within a right", safe, "1/s", "bare os.open", bare)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(judging(folder))
        asyncio.run(recording(folder))
        asyncio.run(authorizing(folder))
        opening(folder)


if __name__ == "__main__":
    main()
