"""The description that is checked in, and the types made from it, are those of this version."""

import hashlib
from pathlib import Path

from mcp_web.openapi import text

UI = Path(__file__).parents[2] / "packages" / "mcp_web" / "ui"
REMEDY = (
    "run: python -m mcp_web.openapi > packages/mcp_web/ui/openapi.json; then in that folder: npm run types"
)


def test_the_description_is_current() -> None:
    assert (UI / "openapi.json").read_text() == text(), REMEDY


def test_the_dashboards_types_are_made_from_it() -> None:
    made_from = hashlib.sha256((UI / "openapi.json").read_bytes()).hexdigest()
    first = (UI / "src" / "api" / "schema.d.ts").read_text().splitlines()[0]
    assert first.endswith(f"sha256 {made_from}"), REMEDY


def test_the_lock_file_records_no_addresses_but_integrity() -> None:
    lock = (UI / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
