"""Who may do what: the capability kernel, its audit, questions to people, and gates that act within a right."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_security.approvals import Approvals
    from mcp_security.audit import AuditLog, AuditSink, Draft
    from mcp_security.decision import Right, covers, judge, within
    from mcp_security.kernel import Kernel
    from mcp_security.validators.filesystem import Entry, FilesystemGate

__all__ = [
    "Approvals",
    "AuditLog",
    "AuditSink",
    "Draft",
    "Entry",
    "FilesystemGate",
    "Kernel",
    "Right",
    "covers",
    "judge",
    "within",
]

_HOMES = {
    "Approvals": "approvals",
    "AuditLog": "audit",
    "AuditSink": "audit",
    "Draft": "audit",
    "Entry": "validators.filesystem",
    "FilesystemGate": "validators.filesystem",
    "Kernel": "kernel",
    "Right": "decision",
    "covers": "decision",
    "judge": "decision",
    "within": "decision",
}


def __getattr__(name: str) -> object:
    # late, so that the audit's small verifier loads no kernel
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
