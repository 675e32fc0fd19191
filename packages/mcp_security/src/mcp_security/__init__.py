"""Who may do what: the capability kernel, its audit, questions to people, and gates that act within a right."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_security.approvals import Approvals
    from mcp_security.audit import AuditLog, AuditSink, Draft
    from mcp_security.decision import Right, judge, within
    from mcp_security.kernel import Kernel
    from mcp_security.validators.api import ApiGate, Response
    from mcp_security.validators.command_line import parse_line
    from mcp_security.validators.database import Database, DatabaseGate
    from mcp_security.validators.filesystem import Entry, FilesystemGate
    from mcp_security.validators.processes import Outcome
    from mcp_security.validators.rows import Rows
    from mcp_security.validators.shell import ShellGate
    from mcp_security.vault import EncryptedVault

__all__ = [
    "ApiGate",
    "Approvals",
    "AuditLog",
    "AuditSink",
    "Database",
    "DatabaseGate",
    "Draft",
    "EncryptedVault",
    "Entry",
    "FilesystemGate",
    "Kernel",
    "Outcome",
    "Response",
    "Right",
    "Rows",
    "ShellGate",
    "judge",
    "parse_line",
    "within",
]

_HOMES = {
    "ApiGate": "validators.api",
    "Approvals": "approvals",
    "AuditLog": "audit",
    "AuditSink": "audit",
    "Database": "validators.database",
    "DatabaseGate": "validators.database",
    "Draft": "audit",
    "EncryptedVault": "vault",
    "Entry": "validators.filesystem",
    "FilesystemGate": "validators.filesystem",
    "Kernel": "kernel",
    "Outcome": "validators.processes",
    "Response": "validators.api",
    "Right": "decision",
    "Rows": "validators.rows",
    "ShellGate": "validators.shell",
    "judge": "decision",
    "parse_line": "validators.command_line",
    "within": "decision",
}


def __getattr__(name: str) -> object:
    # late, so that the audit's small verifier loads no kernel
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
