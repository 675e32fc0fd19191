"""How fast the kernel judges and takes back, the audit records and the gate opens, beside what people would use instead.

Run alone: `python tests/benchmarks/bench_security.py`, after `uv sync --all-packages --group bench`. One JSON
object per line. The peers make the same decision in the same run; see `peers`.
"""

import asyncio
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from timeit import Timer
from typing import Any

import msgspec
from peers import all_peers

from mcp_interface.address import parse_resource
from mcp_interface.capability import Grant, GrantOptions, Sealed
from mcp_interface.clock import SystemClock, SystemEntropy
from mcp_interface.ids import SYSTEM, PrincipalId, new_id
from mcp_interface.testing import MemoryStore
from mcp_persistence import SqliteJournal
from mcp_security import AuditLog, FilesystemGate, Kernel
from mcp_security.audit import Draft

ROUNDS = 7
LIVE = 1_000_000
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
OWNER = PrincipalId(new_id("user", ENTROPY))
AGENTS = [PrincipalId(new_id("agent", ENTROPY)) for _ in range(1_000)]
HOME = parse_resource("mcp://fs/read/home/me/**")
WANTED = parse_resource("mcp://fs/read/home/me/project/src/main.py")


def report(name: str, value: float, unit: str, peer: str, peer_value: float) -> None:
    line = {"name": name, "value": round(value, 1), "unit": unit, "peer": peer}
    print(
        json.dumps({**line, "peer_value": round(peer_value, 1), "ratio": round(value / peer_value, 2)}),
        flush=True,
    )


def rate(statement: str | Callable[[], Any], count: int, **names: Any) -> float:
    """Runs a second, the best of some rounds."""
    return count / min(Timer(statement, globals=names).repeat(ROUNDS, count))


async def a_kernel(folder: Path, name: str) -> tuple[Kernel, AuditLog]:
    store = MemoryStore()
    audit = await AuditLog.open(folder / f"{name}.jsonl", CLOCK)
    return await Kernel.open(store, await store.claim(), audit, CLOCK, ENTROPY), audit


async def judging(folder: Path) -> None:
    """Validate by object handle, warm, at three depths; every right has an end, as the peers' tokens have."""
    kernel, audit = await a_kernel(folder, "judging")
    options = GrantOptions(expires_in=timedelta(hours=1), delegation_depth=1000)
    grant, holder = await kernel.request(OWNER, HOME, options), OWNER
    peers = {name: rate(decide, 2_000) for name, decide in all_peers().items()}
    fastest = max(peers, key=lambda name: peers[name])
    for depth in range(1_001):
        if depth in (0, 10, 1_000):
            names = {"validate": kernel.validate, "handle": grant.handle, "who": holder, "what": WANTED}
            assert kernel.validate(grant.handle, holder, WANTED).allowed
            speed = rate("validate(handle, who, what)", 200_000, **names)
            report(f"validate, object handle, depth {depth}", speed, "1/s", fastest, peers[fastest])
        if depth < 1_000:
            grant, holder = await kernel.delegate(grant.handle, holder, AGENTS[depth]), AGENTS[depth]
    for name, peer in peers.items():
        if name == fastest:
            continue
        report("validate, object handle, depth 1000", speed, "1/s", name, peer)
    await kernel.close()
    await audit.close()


async def a_million(folder: Path) -> None:
    """String handles at random over a million live rights, then the end of their root."""
    kernel, audit = await a_kernel(folder, "million")
    root = await kernel.request(OWNER, HOME, GrantOptions(delegation_depth=2))
    gc.disable()
    live = descendants(kernel, root)
    gc.collect()
    gc.freeze()  # as a node does: what is restored at the start stays
    gc.enable()
    chosen = [(Sealed(bytes(handle.reveal())), who) for handle, who in random.sample(live, 200_000)]

    def judge_all() -> None:
        validate = kernel.validate
        for handle, who in chosen:
            validate(handle, who, WANTED)

    one = await kernel.request(OWNER, HOME)
    alone = rate("validate(h, w, r)", 100_000, validate=kernel.validate, h=one.handle, w=OWNER, r=WANTED)
    speed = len(chosen) * rate(judge_all, 1)
    report("validate, string handle, random of 1,000,000 live", speed, "1/s", "object handle, one", alone)
    handle, who = live[LIVE // 2]
    assert kernel.validate(handle, who, WANTED).allowed
    ending = kernel.revoke(root.capability.id, OWNER)
    began = time.perf_counter()
    ending.send(None)  # up to where it first waits: it holds from here on, in memory
    effect = time.perf_counter() - began
    assert not kernel.validate(handle, who, WANTED).allowed
    ending.close()
    began = time.perf_counter()
    await kernel.revoke(root.capability.id, OWNER)
    durable = time.perf_counter() - began
    report("revoke the root of 1,000,000, effect", effect * 1e6, "us", "its acknowledgement", durable * 1e6)
    began = time.perf_counter()
    await kernel.settled()
    settled = time.perf_counter() - began
    report("each of the 1,000,000 ends on record", settled, "s", "its acknowledgement", durable)
    await audit.close()


def descendants(kernel: Kernel, root: Grant) -> list[tuple[Sealed, PrincipalId]]:
    """A million children without their journal, which is not what is measured here."""
    tree, like = kernel._tree, root.capability
    live = []
    for number in range(LIVE):
        who = AGENTS[number % len(AGENTS)]
        node = tree.add(
            msgspec.structs.replace(
                like,
                id=new_id("cap", ENTROPY),
                principal_id=who,
                parent_capability_id=like.id,
                delegation_depth=1,
            )
        )
        live.append((node.handle, who))
    return live


async def recording(folder: Path) -> None:
    """The audit: chained and durable, in batches and one by one, beside lines that are only appended."""
    drafts = [
        Draft(
            kind="access_allowed",
            principal_id=SYSTEM,
            resource_uri=WANTED.uri,
            decision="allowed",
            details={"tool": "read_file", "server": "fs"},
        )
        for _ in range(2_000)
    ]
    audit = await AuditLog.open(folder / "recording.jsonl", CLOCK)
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(10):
            await audit.append_all(drafts)
        best = min(best, time.perf_counter() - began)
    await audit.close()
    plain = float("inf")
    with (folder / "plain.jsonl").open("ab") as file:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(10):
                file.write(b"".join(msgspec.json.encode(draft) + b"\n" for draft in drafts))
                file.flush()
                os.fdatasync(file.fileno())
            plain = min(plain, time.perf_counter() - began)
    total = 10 * len(drafts)
    report("audit, chained, durable in batches", total / best, "1/s", "lines without a chain", total / plain)


async def authorizing(folder: Path) -> None:
    """The whole recorded decision over a real journal, alone and with many callers."""
    store = await SqliteJournal.open(folder / "journal.db", CLOCK)
    audit = await AuditLog.open(folder / "authorizing.jsonl", CLOCK)
    kernel = await Kernel.open(store, await store.claim(), audit, CLOCK, ENTROPY)
    root = await kernel.request(OWNER, HOME)
    await kernel.delegate(root.handle, OWNER, AGENTS[0])

    async def in_a_row(count: int) -> None:
        for _ in range(count):
            assert (await kernel.authorize(AGENTS[0], WANTED)).allowed

    began = time.perf_counter()
    await in_a_row(300)
    single = 300 / (time.perf_counter() - began)
    began = time.perf_counter()
    await asyncio.gather(*(in_a_row(50) for _ in range(200)))
    many = 10_000 / (time.perf_counter() - began)
    report("authorize, recorded, 200 callers", many, "1/s", "the same, one caller", single)
    await audit.close()
    await store.close()


def opening(folder: Path) -> None:
    """A file within a right, its path validated, beside a bare open."""
    target = folder.resolve() / "a" / "b" / "c" / "file"
    target.parent.mkdir(parents=True)
    target.write_text("x")
    gate, covering, path = FilesystemGate(), f"mcp://fs/read{folder.resolve()}/**", str(target)
    names = {"gate": gate, "covering": covering, "path": path, "os": os}
    safe = rate("os.close(gate.open_file(covering, path))", 5_000, **names)
    bare = rate("os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))", 5_000, **names)
    report("open a file within a right", safe, "1/s", "bare os.open", bare)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(judging(folder))
        asyncio.run(recording(folder))
        asyncio.run(authorizing(folder))
        opening(folder)
        asyncio.run(a_million(folder))


if __name__ == "__main__":
    main()
