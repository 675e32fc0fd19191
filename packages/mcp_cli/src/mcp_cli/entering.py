"""How API keys and virtual servers are shown."""

from datetime import datetime

from mcp_cli.presenters import ago, more
from mcp_cli.sheet import Cell, Facts, Sheet, facts, row
from mcp_cli.untrusted import printable
from mcp_interface.commands import Page
from mcp_interface.key import ApiKey, NewKey, Publication


def new_key(made: NewKey) -> Facts:
    """A key at the only moment in which its secret is known."""
    return facts(
        ("key", Cell(made.secret, "accent")),
        ("name", printable(made.key.name)),
        ("id", made.key.id),
        ("acts as", made.key.principal_id),
        note="It is shown this once and kept hashed. "
        f"Grant it more: umbrella grant {made.key.principal_id} URI",
    )


def keys(page: Page[ApiKey], now: datetime) -> Sheet:
    """List keys."""
    rows = [
        row(
            Cell(printable(key.name), "strong"),
            Cell(key.id, "accent"),
            Cell(key.principal_id, "dim"),
            ago(key.created_at, now),
            ago(key.last_used_at, now) if key.last_used_at else "not since the node began",
            Cell(ago(key.expires_at, now), "warn") if key.expires_at else "when revoked",
        )
        for key in page.items
    ]
    return Sheet(
        columns=("name", "key", "acts as", "made", "last used", "ends"),
        rows=rows,
        empty="there are no keys; make one: umbrella key create NAME",
        note=more(page),
    )


def publications(page: Page[Publication]) -> Sheet:
    """List virtual servers."""
    rows = [
        row(
            Cell(each.name, "strong"),
            Cell(f"/mcp/{each.name}", "accent"),
            _globs(each.tools),
            _globs(each.resources),
            _globs(each.prompts),
            each.principal_id or "everybody who comes in",
            "bare" if each.bare_names else "server__name",
        )
        for each in page.items
    ]
    return Sheet(
        columns=("name", "path", "tools", "resources", "prompts", "for", "names"),
        rows=rows,
        empty="nothing is published; do so: umbrella mcp publish NAME --tool 'git/*'",
        note=more(page),
    )


def _globs(globs: list[str]) -> str:
    return "\n".join(printable(glob) for glob in globs) or "none"
