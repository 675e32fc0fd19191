"""Limits on a right, by name, and how a child's limit and its parent's become one: the meet of a lattice.

`table` holds a row for each; `question` says what a limit is asked; the other modules are the kinds.
"""

from mcp_security.constraints.numbers import Rate
from mcp_security.constraints.question import Check, Kind, Question
from mcp_security.constraints.table import KINDS, Rules, compile_rules, meets, merge, read

__all__ = ["KINDS", "Check", "Kind", "Question", "Rate", "Rules", "compile_rules", "meets", "merge", "read"]
