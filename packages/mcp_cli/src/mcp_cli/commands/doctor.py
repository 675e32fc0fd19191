"""`umbrella doctor`: is this installation sound, and is its node; and a bundle for a bug report."""

import io
import json
import platform
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import click
import msgspec

from mcp_cli import presenters
from mcp_cli.commands.logs import last_lines
from mcp_cli.commands.version import versions
from mcp_cli.exit_codes import FAILED
from mcp_cli.invocation import Invocation, Outcome, finish, invocation
from mcp_cli.naming import collect
from mcp_interface.client import Client
from mcp_interface.codec import to_external
from mcp_interface.commands import Check, GetHealth, GetStatus, GetStorage, ListServers
from mcp_interface.errors import (
    CallerMistaken,
    NotFound,
    StorageCorrupt,
    StorageUnavailable,
    UmbrellaError,
)
from mcp_interface.server import ServerSpec
from mcp_interface.store import StoreReport

LOW_DISK: Final = 200 * 1024 * 1024
"""Bytes below which the disk is called nearly full."""
LOG_LINES: Final = 5000
HIDDEN: Final = "(hidden)"
_SECRET: Final = re.compile(r"token|secret|passw|key|auth|credential", re.IGNORECASE)
_KEY: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""What looks like a key by itself."""
_REFERENCE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


@click.command(short_help="Check this installation and its node.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a tar.gz with logs, status and configuration, without secrets.",
)
@click.pass_context
def command(ctx: click.Context, bundle: Path | None) -> None:
    """Check this installation and its node; the exit code is 1 when something is broken."""
    given = invocation(ctx)

    def body() -> Outcome:
        import asyncio

        found, about = asyncio.run(_examine(given))
        if bundle is not None:
            _write(bundle, given, {**about, "checks": found})
        broken = any(check.status == "error" for check in found)
        value = {"checks": found, "bundle": str(bundle) if bundle else None}
        note = f"wrote {bundle}; look into it before you hand it on" if bundle else ""
        shown = msgspec.structs.replace(presenters.checks(found), note=note)
        return Outcome(value=value, shown=shown, code=FAILED if broken else 0)

    finish(ctx, body)


async def _examine(given: Invocation) -> tuple[list[Check], dict[str, Any]]:
    from mcp_cli.headless import connected

    found = _local(given)
    about: dict[str, Any] = {"versions": versions(), "platform": platform.platform()}
    try:
        async with connected(given, start=False) as (client, _):
            health = await client.request(GetHealth())
            found += health
            about |= await _about(client)
            found += _opening(about["storage"])
    except UmbrellaError as error:
        found.append(Check(name="node", status="warning", detail=error.message, remedy=error.remedy))
        found += await _resting(given)
    return found, about


def _opening(report: StoreReport) -> list[Check]:
    """What the last opening of the journal found, when that is news."""
    news = presenters.found(report)
    return [Check(name="recovery", status="ok", detail=f"at the last start: {news}")] if news else []


async def _resting(given: Invocation) -> list[Check]:
    """Whether a node could start on the journal; nothing when that cannot be told now."""
    from mcp_core import Settings, inspect_storage, report_storage

    folder = Settings.load(given.data_dir).data_dir
    try:
        report = await report_storage(folder)
        problem = (await inspect_storage(folder)).problem
    except StorageCorrupt as error:
        problem = error.message
    except StorageUnavailable as error:
        return [Check(name="journal", status="error", detail=error.message, remedy=error.remedy)]
    except UmbrellaError:
        return []
    if problem:
        remedy = "see what is sound: umbrella storage verify"
        return [Check(name="journal", status="error", detail=problem, remedy=remedy)]
    return [Check(name="journal", status="ok", detail=f"{report.head} events, resting"), *_opening(report)]


async def _about(client: Client) -> dict[str, Any]:
    servers = await collect(client, ListServers())
    return {
        "status": await client.request(GetStatus()),
        "storage": await client.request(GetStorage()),
        "servers": [
            {**to_external(server), "spec": _harmless(server.spec) if server.spec is not None else None}
            for server in servers
        ],
    }


def _local(given: Invocation) -> list[Check]:
    from mcp_core import DataDir, Settings

    place = DataDir(Settings.load(given.data_dir).data_dir)
    checks = [_python(), _data_dir(place.root), _disk(place.root), _socket(place.socket), _browser()]
    return [*checks, _settings()]


def _python() -> Check:
    return Check(name="python", status="ok", detail=f"{platform.python_version()} at {sys.prefix}")


def _data_dir(root: Path) -> Check:
    if not root.exists():
        return Check(name="data directory", status="ok", detail=f"{root} is made at the first start")
    loose = root.stat().st_mode & 0o077
    if loose:
        return Check(
            name="data directory",
            status="warning",
            detail=f"{root} can be entered by others",
            remedy=f"chmod 700 {root}",
        )
    return Check(name="data directory", status="ok", detail=str(root))


def _disk(root: Path) -> Check:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1024**3:.1f} GiB free"
    if free < LOW_DISK:
        return Check(
            name="disk", status="error", detail=detail, remedy="make room: the journal must not stop"
        )
    return Check(name="disk", status="ok", detail=detail)


def _socket(path: Path) -> Check:
    if not path.exists():
        return Check(name="socket", status="ok", detail="none: no node runs")
    loose = path.stat().st_mode & 0o077
    return Check(
        name="socket",
        status="warning" if loose else "ok",
        detail=f"{path} is open to others" if loose else str(path),
        remedy=f"chmod 600 {path}" if loose else "",
    )


def _browser() -> Check:
    if versions()["mcp-umbrella-web"]:
        return Check(name="dashboard", status="ok", detail="installed", remedy="")
    return Check(
        name="dashboard",
        status="warning",
        detail="the web package is not installed",
        remedy="pip install mcp-umbrella-web",
    )


def _settings() -> Check:
    """The files from which commands take what no option says."""
    from mcp_cli import configuring

    try:
        origins = {setting.origin for setting in configuring.load().settings} - {configuring.DEFAULT}
    except UmbrellaError as error:
        return Check(name="settings", status="error", detail=error.message, remedy=error.remedy)
    return Check(name="settings", status="ok", detail=", ".join(sorted(origins)) or "none but the defaults")


def _harmless(spec: ServerSpec) -> dict[str, Any]:
    """A server's entry in which only references are left of its values."""
    shown: dict[str, Any] = to_external(spec)
    for part in ("env", "headers"):
        if part in shown:
            shown[part] = {name: _only_references(value) for name, value in shown[part].items()}
    if spec.url is not None:
        address = urlsplit(spec.url)
        host = address.netloc.rpartition("@")[2]
        shown["url"] = urlunsplit((address.scheme, host, address.path, HIDDEN if address.query else "", ""))
    before = ["", *spec.args]
    if spec.args:
        shown["args"] = [_harmless_word(word, flag) for word, flag in zip(spec.args, before, strict=False)]
    return shown


def _only_references(value: str) -> str:
    return value if _REFERENCE.fullmatch(value) else HIDDEN


def _harmless_word(word: str, before: str) -> str:
    flag, mark, value = word.partition("=")
    if mark:
        return f"{flag}={_only_references(value)}"
    return _only_references(word) if _SECRET.search(before) or _KEY.fullmatch(word) else word


def _write(path: Path, given: Invocation, about: dict[str, Any]) -> None:
    from mcp_cli.commands.logs import log_file

    files = {"report.json": json.dumps(to_external(about), indent=2)}
    log = log_file(given)
    for source in [log, *sorted(log.parent.glob("*.log"))]:
        try:
            files[f"logs/{source.name}"] = "\n".join(last_lines(source, LOG_LINES))
        except NotFound:
            continue
    try:
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                data = text.encode("utf-8", "replace")
                entry = tarfile.TarInfo(f"umbrella/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(given.clock.now().timestamp()), 0o600
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise CallerMistaken(f"{path} cannot be written: {error}", "name another file") from error
