"""The limit `arguments`: rules that the arguments of an action have to keep, all of them.

A right holds a list of rules; what is handed on holds those of parent and child together. So narrowing needs
no proof: more rules never allow more.
"""

from typing import Any, Final

from mcp_interface.errors import CallerMistaken
from mcp_security.constraints.question import Check, Question
from mcp_security.constraints.schema import Rule, compile_rule, read_rule
from mcp_security.constraints.values import form, unique

MAX_TOGETHER: Final = 32
"""Most rules of one right, after many delegations."""
MAX_BYTES: Final = 1024 * 1024
"""Longest value, as JSON."""


class Arguments:
    """A list of rules for `Facts.arguments`; the meet is all rules of both."""

    types: frozenset[str] | None = None

    def read(self, value: Any) -> list[Rule]:
        """Read one rule or a list of them."""
        rules = [value] if isinstance(value, dict) else value
        if not isinstance(rules, list | tuple) or not 0 < len(rules) <= MAX_TOGETHER:
            raise CallerMistaken(
                f"the value is not a list of 1 to {MAX_TOGETHER} rules",
                'write for example {"properties": {"path": {"inside": ["/srv/notes/**"]}}}',
            )
        canonical: list[Rule] = unique([read_rule(rule) for rule in rules])
        if len(form(canonical)) > MAX_BYTES:
            raise CallerMistaken(f"the rules are longer than {MAX_BYTES} bytes", "write fewer")
        return canonical

    def meet(self, parent: list[Rule], child: list[Rule]) -> list[Rule]:
        """Return all rules of both."""
        return self.read(unique([*parent, *child]))

    def check(self, value: list[Rule]) -> Check:
        """Judge the arguments that the action states."""
        tests = [compile_rule(rule) for rule in value]

        def refuse(question: Question) -> str | None:
            arguments = question.facts.arguments
            if arguments is None:
                return "it limits arguments, and they are not stated"
            for test in tests:
                problem = test(arguments)
                if problem is not None:
                    return f"the rules for arguments refuse it: {problem[:500]}"
            return None

        return refuse
