"""The small program beside the audit: `python -m mcp_security.audit verify FILE`, `… export FILE`.

It needs the files and no running node, loads no kernel, and writes nothing. With a copy of the public key and
of the head that were kept elsewhere, it proves more than the files can prove about themselves; see `seals`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mcp_interface.clock import Instant
from mcp_interface.commands import AuditReport, ReadAudit
from mcp_interface.errors import UmbrellaError
from mcp_interface.ids import CapabilityId
from mcp_security.chain import SEAL_EVERY, Scan, Walk, head_path, read_head, report
from mcp_security.seals import public_path, read_public_keys, seals_can_be_checked
from mcp_security.trail import export


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found, and what it could not look at."""

    report: AuditReport
    sealed: int
    """Entries that are covered by the last seal, counted from the first."""
    seals: str
    """How seals were checked, or why not, in words."""


def verify(path: Path, key: Path | None = None, head: Path | None = None) -> Checked:
    """Check an audit: all its files, its head file and its seals.

    Args:
        path: The file that is written to.
        key: Public keys kept elsewhere; there must then be a seal at least every 1,000 entries, by one of them.
            None takes what lies beside the audit, and is content with no seals.
        head: A head file kept elsewhere, which must be part of this audit.

    Raises:
        OSError: A file cannot be read.
        ValueError: `key` or `head` is not what it should be.
    """
    # the heads first: they are written after the lines, so lines read later are never behind them
    noted = read_head(head) if head else None
    if head and noted is None:
        raise ValueError(f"{head.name} is empty or missing")
    try:
        beside = read_head(head_path(path))
    except ValueError as error:
        return _refused(str(error))
    source = key or public_path(path)
    keys, unchecked = None, ""
    if not seals_can_be_checked():
        unchecked = "the package cryptography is not installed"
    elif key is None and not source.exists():
        unchecked = f"there is no {source.name}"
    else:
        try:
            keys = read_public_keys(source)
        except ValueError as error:
            if key:
                raise
            return _refused(str(error))
    walk = Walk(path, [one for one in (beside, noted) if one], keys)
    found = walk.finish()
    if key and not found.problem:
        found.problem = f"seals were not checked: {unchecked}" if unchecked else _unsealed(found, key)
    words = f"seals were not checked: {unchecked}" if unchecked else _covered(found, source, key)
    return Checked(report=report(found, beside, path), sealed=found.sealed, seals=words)


def main(arguments: Sequence[str]) -> int:
    """Run the program. Returns the exit code: 0 sound, 1 not; a wrong usage ends with 2."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "export":
            return _export(given)
        checked = verify(given.file, given.key, given.head)
    except BrokenPipeError:
        # the reader has seen enough; nothing may be flushed into the pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{Path(error.filename or given.file).name}: {error.strerror or error}", file=sys.stderr)
        return 1
    except (ValueError, UmbrellaError) as error:
        print(error, file=sys.stderr)
        return 1
    seen = checked.report
    print(f"{'sound' if seen.ok else 'DAMAGED'}: {seen.entries} entries, head {seen.head or '-'}")
    print(checked.seals)
    if seen.problem:
        print(seen.problem)
    return 0 if seen.ok else 1


def _unsealed(found: Scan, key: Path) -> str:
    # one more than the distance of two seals: the entry that ends a file stands behind one
    if found.entries - found.last_seal > SEAL_EVERY + 1:
        return (
            f"the {found.entries - found.last_seal} entries behind number {found.last_seal} have no seal by a "
            f"key in {key.name}; there is one at least every {SEAL_EVERY}"
        )
    return ""


def _covered(found: Scan, source: Path, key: Path | None) -> str:
    covered = f"seals: entries 1 to {found.sealed} of {found.entries}" if found.sealed else "seals: no entry"
    proof = "" if key else "; it lies beside the audit, so give a copy kept elsewhere with --key"
    return f"{covered} covered by the last seal, checked with {source.name}{proof}"


def _refused(problem: str) -> Checked:
    bad = AuditReport(ok=False, entries=0, head="", problem=problem)
    return Checked(report=bad, sealed=0, seals="seals were not checked")


def _export(given: argparse.Namespace) -> int:
    wanted = ReadAudit(
        principal=given.principal,
        capability_id=CapabilityId(given.capability) if given.capability else None,
        resource_uri=given.uri,
        kind=given.kind,
        denied_only=given.denied,
        since=given.since,
        until=given.until,
    )
    for line in export(given.file, wanted):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mcp_security.audit", description="Check or export an audit."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("verify", help="check the chain, its end and its seals")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--key", type=Path, metavar="PUBLIC_KEY_FILE", help="a copy kept elsewhere")
    check.add_argument("--head", type=Path, metavar="HEAD_FILE", help="a copy kept elsewhere")
    lines = commands.add_parser("export", help="write the raw lines that fit to the standard output")
    lines.add_argument("file", type=Path, metavar="FILE")
    lines.add_argument(
        "--since", type=_time, metavar="TIME", help="the first instant that is wanted, ISO 8601"
    )
    lines.add_argument("--until", type=_time, metavar="TIME", help="the first that is not wanted any more")
    lines.add_argument("--principal", metavar="ID")
    lines.add_argument("--capability", metavar="ID")
    lines.add_argument("--kind")
    lines.add_argument("--uri", metavar="GLOB")
    lines.add_argument("--denied", action="store_true", help="only what was refused")
    return parser


def _time(text: str) -> datetime:
    try:
        time: Any = msgspec.convert(text, Instant, strict=False)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2030-01-31T12:00:00Z: {error}") from error
    return time  # type: ignore[no-any-return]
