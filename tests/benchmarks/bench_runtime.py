"""What the actor runtime does in a second, in how long and in how much memory, beside its peers, in one run.

    uv sync --all-packages --group bench
    python tests/benchmarks/bench_runtime.py [PART ...] [--quick] [--folder FOLDER]

Parts: asks, tells, spawns, memory, many, path, journaled, flooded, busy, restarts, tools; all of them unless named.
`--quick` takes one short turn of each, two minutes or so, and is rough. One JSON object per line on stdout; on stderr
what was asked of each row and whether it holds. Every medium runs in a process of its own, in turns with its rivals,
three times (the order moves on by one each time); the figures are medians. `, CPU` counts by the time of the processor,
all threads of the process together: on a machine that others use too it is the steadier one.

Peers: pykka's ThreadingActor and autogen-core (see `runtime_peers`); Erlang/OTP on one scheduler (`+S 1:1`, see
`runtime_peer.erl`), since one of our processes runs on one core. One that is not on this machine is said to be absent on
stderr, and its ratio is null.

Not claimed:

- BEAM's bare send rate, nor its raw spawn by the processor's time: both are shown for information, ours are a part of it.
- Pre-emption: a handler that computes keeps its loop, and one in the pool keeps the interpreter half of the time. Erlang
  takes turns by itself. See the part `tools`.
- Several cores in one process: Erlang uses as many as it is given, here it is given one.
- A wait in microseconds for a thread outside of the loop: it has to get the interpreter's lock first, again and again.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import runtime_actors as actors
import runtime_memory as memories
import runtime_path as paths
import runtime_peers as peers
import runtime_waits as waits
from erlang import PRESENT as HAS_ERLANG
from erlang import erlang
from turns import Figures, in_turns, note, show

PYKKA, AUTOGEN = "pykka ThreadingActor", "autogen-core"
WHERE = ("in the loop", "in the loop, CPU", "from a thread")


class Settings(msgspec.Struct):
    scale: float
    """By which the counts are multiplied."""
    turns: int
    many: int
    """Agents that shall live in one process."""
    samples: int
    """Asks whose waits are looked at."""
    parent: str | None


class Row(msgspec.Struct):
    """What was asked and what came of it."""

    name: str
    value: float
    unit: str
    asked: str
    holds: bool


ROWS: list[Row] = []


def at_least(name: str, value: float, least: float, unit: str) -> None:
    ROWS.append(Row(name, value, unit, f">= {least:,g}", value >= least))


def at_most(name: str, value: float, most: float, unit: str) -> None:
    ROWS.append(Row(name, value, unit, f"<= {most:,g}", value <= most))


def rate(name: str, ours: Figures, key: str, least: float) -> None:
    """So many a second, by either clock."""
    at_least(name, ours[key], least, "1/s")
    at_least(f"{name}, CPU", ours[f"{key}, CPU"], least, "1/CPU-s")


def times(name: str, ours: Figures, key: str, rivals: Figures | None, rival: str, least: float) -> None:
    """So many times a rival's figure, by either clock; nothing is asked when it is absent."""
    if rivals is not None:
        for suffix in ("", ", CPU"):
            at_least(f"{name}{suffix}", ours[key + suffix] / rivals[rival + suffix], least, "times")


def media_of(
    ours: dict[str, tuple[Any, ...]],
    erlang_part: tuple[str, int] | None = None,
    autogen: tuple[str, float] | None = None,
    pykka: tuple[Any, ...] | None = None,
) -> dict[str, tuple[Any, ...]]:
    """Those media of a part that this machine has."""
    media = dict(ours)
    if pykka is not None:
        media[PYKKA] = pykka
    if autogen is not None and peers.HAS_AUTOGEN:
        media[AUTOGEN] = (peers.autogen, *autogen)
    if erlang_part is not None and HAS_ERLANG:
        media["erlang"] = (erlang, *erlang_part)
    return media


def beside(name: str, seen: Figures, key: str, *rivals: tuple[str, Figures | None, str]) -> None:
    """Show a rate beside each rival, by the clock on the wall and by the time of the processor."""
    for suffix, unit in (("", "1/s"), (", CPU", "1/CPU-s")):
        for title, figures, rival_key in rivals:
            peer_value = None if figures is None else figures[rival_key + suffix]
            show(name + suffix, unit, seen[key + suffix], title, peer_value)


# -- parts -----------------------------------------------------------------------------------------------------


def asks(settings: Settings) -> None:
    """Ask and get the answer, actor to actor."""
    scale = settings.scale
    seen = in_turns(
        media_of(
            {"ours": (actors.asks, scale)},
            ("calls", int(500_000 * scale)),
            ("ask", scale),
            (peers.pykka_asks, scale),
        ),
        settings.turns,
    )
    ours, otp = seen["ours"], seen.get("erlang")
    rivals = (
        (PYKKA, seen[PYKKA], "ask"),
        (AUTOGEN, seen.get(AUTOGEN), "ask"),
        ("gen_server:call", otp, "gen_server:call"),
        ("Erlang, raw send and receive", otp, "raw send and receive"),
    )
    for key in (
        "await call, async handler",
        "await call, plain handler",
        "ask on the stack, plain handler",
        "await call through the mailbox",
    ):
        beside(key, ours, key, *rivals)
    key = "await call, async handler"
    rate("await ask, async handler", ours, key, 200_000)
    times("await ask : pykka", ours, key, seen[PYKKA], "ask", 5)
    times("await ask : autogen-core", ours, key, seen.get(AUTOGEN), "ask", 50)
    times("await ask : gen_server:call", ours, key, otp, "gen_server:call", 0.5)
    key = "ask on the stack, plain handler"
    rate("ask of an idle actor, inline", ours, key, 1_000_000)
    times("ask of an idle actor : gen_server:call", ours, key, otp, "gen_server:call", 1.5)


def tells(settings: Settings) -> None:
    """Send without an answer; counted when handled."""
    scale = settings.scale
    seen = in_turns(
        media_of(
            {"ours": (actors.tells, scale)},
            ("casts", int(1_000_000 * scale)),
            ("tell", scale),
            (peers.pykka_tells, scale),
        ),
        settings.turns,
    )
    ours, otp = seen["ours"], seen.get("erlang")
    inside, outside = "tell, in the runtime", "tell, from a thread"
    beside(
        inside,
        ours,
        inside,
        (PYKKA, seen[PYKKA], inside),
        (AUTOGEN, seen.get(AUTOGEN), inside),
        ("gen_server:cast", otp, "gen_server:cast"),
        ("Erlang, raw send", otp, "raw send"),
    )
    beside(outside, ours, outside, (PYKKA, seen[PYKKA], outside))
    rate("tell inside the runtime", ours, inside, 1_500_000)
    rate("tell from a thread", ours, outside, 500_000)


def spawns(settings: Settings) -> None:
    """Start actors that all stay."""
    scale = settings.scale
    seen = in_turns(
        media_of(
            {"ours": (actors.spawns, scale)},
            ("spawns", int(100_000 * scale)),
            ("spawn", scale),
            (peers.pykka_spawns, scale),
        ),
        settings.turns,
    )
    ours, otp, supervised = seen["ours"], seen.get("erlang"), "spawn, supervised, registered, monitored"
    rivals = (
        (PYKKA, seen[PYKKA], "spawn"),
        (AUTOGEN, seen.get(AUTOGEN), "spawn"),
        ("gen_server:start", otp, "gen_server:start"),
        ("Erlang, raw spawn", otp, "raw spawn"),
    )
    beside("spawn", ours, "spawn", *rivals)
    beside("spawn, Python's own collector", ours, "spawn, Python's own collector", *rivals)
    child = "start_child, ets, monitor"
    beside(supervised, ours, supervised, (f"Erlang: supervisor:{child}", otp, child))
    rate("spawn, bare", ours, "spawn", 400_000)
    times("spawn, bare : gen_server:start", ours, "spawn", otp, "gen_server:start", 1)
    rate(supervised, ours, supervised, 100_000)


def memory(settings: Settings) -> None:
    """Bytes of an agent that has nothing to do."""
    scale, count = settings.scale, int(200_000 * settings.scale)
    seen = in_turns(
        media_of(
            {"ours": (memories.idle, count)}, ("memory", count), ("spawn", scale), (peers.pykka_spawns, scale)
        ),
        settings.turns,
    )
    ours, otp = seen["ours"], seen.get("erlang") or {}
    for what, most, rival in (("bare", 320, "bare"), ("with agent state", 1024, "with state")):
        key = f"idle agent, {what}"
        show(key, "bytes", ours[key], f"gen_server, {rival}", otp.get(rival))
        show(key, "bytes", ours[key], PYKKA, seen[PYKKA]["idle agent"])
        show(key, "bytes", ours[key], AUTOGEN, seen.get(AUTOGEN, {}).get("idle agent"))
        at_most(key, ours[key], most, "bytes")


def many(settings: Settings) -> None:
    """A million agents in one process, and the collector's pauses."""
    count = settings.many
    seen = in_turns(media_of({"ours": (memories.many, count)}, ("many", count)), settings.turns)
    ours, otp, name = seen["ours"], seen.get("erlang") or {}, f"{count:,} idle agents with state"
    show(f"{name}: the process", "GiB", ours["GiB"], "gen_server, one scheduler", otp.get("GiB"))
    show(f"{name}: started in", "s", ours["seconds"], "gen_server, one scheduler", otp.get("seconds"))
    for key in ("longest pause", "full look"):
        after, before = ours[f"{key}, after"], ours[f"{key}, before"]
        show(f"{name}, 1 % replaced: collector's {key}", "ms", after, "before settle_memory", before)
    show(f"{name}: settle_memory", "ms", ours["settling"])
    at_most(f"{name}: the process", ours["GiB"], 1.2 * count / 1_000_000, "GiB")
    at_most("collector's longest pause, settled, 1 % churn", ours["longest pause, after"], 10, "ms")
    at_most("collector's full look, settled, 1 % churn", ours["full look, after"], 10, "ms")
    at_most("collector's full look, settled, 1 % churn, CPU", ours["full look, after, CPU"], 10, "ms")


def path(settings: Settings) -> None:
    """Envelope, judgement, router, telemetry on, actor, answer."""
    media = media_of({"ours": (paths.path, settings.scale)}, None, ("ask", settings.scale))
    seen = in_turns(media, settings.turns)
    ours = seen["ours"]
    beside("full path", ours, "full path", (AUTOGEN, seen.get(AUTOGEN), "ask"))
    for key in ours:
        if key.startswith("of it") and not key.endswith(", CPU"):
            for suffix in ("", ", CPU"):
                show(f"full path, {key}{suffix}", "us", 1e6 / ours[key + suffix])
    rate("full path", ours, "full path", 100_000)


def journaled(settings: Settings) -> None:
    """The same with an event for each message, durable before the answer; 1,000 agents."""
    media = {
        "ours": (paths.journaled, settings.scale, settings.parent),
        "limit": (paths.appended, settings.scale, settings.parent),
    }
    seen = in_turns(media, settings.turns)
    ours, limit = seen["ours"], seen["limit"]
    beside(
        "full path, journaled, 1,000 agents",
        ours,
        "journaled",
        ("the journal alone, 1,000 tasks", limit, "appended"),
    )
    rate("full path, journaled", ours, "journaled", 30_000)


def flooded(settings: Settings) -> None:
    """An ask while 100 actors flood themselves."""
    samples = settings.samples
    media = media_of(
        {"ours": (waits.flooded, samples)}, ("flooded", samples), None, (peers.pykka_flooded, samples)
    )
    seen = in_turns(media, settings.turns)
    ours, otp, threads = seen["ours"], seen.get("erlang") or {}, seen[PYKKA]
    for what in ("p50", "p99"):
        for where in WHERE:
            name, value = f"ask beside 100 that flood themselves, {where}, {what}", ours[f"{where}, {what}"]
            show(name, "ms", value, "gen_server:call", otp.get(f"gen_server:call, {what}"))
            show(name, "ms", value, PYKKA, threads[f"ask, {what}"])
        show(f"ask, nobody floods, in the loop, {what}", "ms", ours[f"nobody floods, {what}"])
    at_most("p99 ask beside 100 that flood themselves", ours["in the loop, p99"], 10, "ms")
    at_most("the same, CPU", ours["in the loop, CPU, p99"], 10, "ms")
    at_most("the same from a thread", ours["from a thread, p99"], 10, "ms")


def busy(settings: Settings) -> None:
    """Urgent mail for one of 10,000 busy actors."""
    samples = settings.samples
    seen = in_turns(media_of({"ours": (waits.busy, samples)}, ("busy", samples)), settings.turns)
    ours, otp = seen["ours"], seen.get("erlang") or {}
    for what in ("p50", "p99"):
        for where in WHERE:
            name, value = f"urgent ask of 1 of 10,000 busy, {where}, {what}", ours[f"urgent, {where}, {what}"]
            rival = "gen_server:call, priority high"
            show(name, "ms", value, rival, otp.get(f"{rival}, {what}"))
        usual = ours[f"usual, in the loop, {what}"]
        show(f"usual ask of 1 of 10,000 busy, in the loop, {what}", "ms", usual)
    at_most("p99 urgent ask, 10,000 busy", ours["urgent, in the loop, p99"], 20, "ms")
    at_most("the same, CPU", ours["urgent, in the loop, CPU, p99"], 20, "ms")
    at_most("the same from a thread", ours["urgent, from a thread, p99"], 20, "ms")


def restarts(settings: Settings) -> None:
    """From a crash to the next incarnation's answer, under a supervisor."""
    media = media_of({"ours": (actors.restarts, settings.scale)}, ("restarts", int(10_000 * settings.scale)))
    seen = in_turns(media, settings.turns)
    ours, otp = seen["ours"], seen.get("erlang")
    beside(
        "crash, restart, answer", ours, "restart", ("OTP supervisor, one child", otp, "crash, restart, call")
    )
    for what in ("p50", "p99"):
        show(f"crash, restart, answer, {what}", "ms", ours[f"restart, {what}"])
    at_most("restart with hot state, p99", ours["restart, p99"], 1, "ms")
    rate("restarts", ours, "restart", 50_000)


def tools(settings: Settings) -> None:
    """The others' waits while one agent's tool blocks."""
    media = {title: (waits.beside_a_tool, title, settings.samples) for title in waits.TOOLS}
    seen = in_turns(media, settings.turns)
    for title in waits.TOOLS[1:]:
        for what in ("p50", "p99"):
            value, without = (seen[each][f"others, {what}"] for each in (title, waits.TOOLS[0]))
            show(f"ask beside a {title}, {what}", "ms", value, waits.TOOLS[0], without)
    beyond = seen[waits.TOOLS[1]]["others, p99"] - seen[waits.TOOLS[0]]["others, p99"]
    at_most("a blocking tool in the pool: others' p99 grows by", beyond, 1, "ms")


# -- front -----------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Settings], None]] = {
    "asks": asks,
    "tells": tells,
    "spawns": spawns,
    "memory": memory,
    "many": many,
    "path": path,
    "journaled": journaled,
    "flooded": flooded,
    "busy": busy,
    "restarts": restarts,
    "tools": tools,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one short turn of each")
    parser.add_argument("--folder", help="where the journal's files are made")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    settings = Settings(
        scale=0.2 if given.quick else 1.0,
        turns=1 if given.quick else 3,
        many=100_000 if given.quick else 1_000_000,
        samples=100 if given.quick else 400,
        parent=given.folder,
    )
    note(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    for title, is_here in (("Erlang", HAS_ERLANG), (AUTOGEN, peers.HAS_AUTOGEN)):
        if not is_here:
            note(f"{title}: absent")
    for name in given.parts or PARTS:
        PARTS[name](settings)
    for row in ROWS:
        holds = "holds" if row.holds else "DOES NOT HOLD"
        note(f"{row.name:60} {row.value:>14,.4g} {row.unit:8} asked {row.asked:14} {holds}")


if __name__ == "__main__":
    main()
