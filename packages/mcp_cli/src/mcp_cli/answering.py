"""How keys answer a question about a right: what each key says, and to how much of it. Pure.

A yes is one to the very call. Only where the person goes there on purpose is it one to more: to any arguments, to a
pattern that the question offers, for as long as they choose.
"""

from typing import Final

import msgspec

from mcp_cli import rights
from mcp_interface.approval import Answer, Approval

ANSWERS: Final = {
    "y": Answer(allow=True, remember="once"),
    "s": Answer(allow=True, remember="session"),
    "a": Answer(allow=True, remember="always"),
    "S": Answer(allow=True, remember="session", any_arguments=True),
    "A": Answer(allow=True, remember="always", any_arguments=True),
    "n": Answer(allow=False),
}
BECAUSE: Final = {
    "d": (Answer(allow=False), "why not? Enter sends, Esc goes back"),
    "x": (Answer(allow=False, remember="always"), "why never? Enter sends, Esc goes back"),
}
"""Answers that take a reason, which the agent is told."""
ALIKE: Final = {
    "y": "allow {} questions, each once",
    "s": "allow {} questions, each for its session",
    "a": "allow {} questions, for always",
    "n": "refuse {} questions",
}
"""Answers that can be given to several questions at once: each is one to the very call."""
ENDS: Final = (None, 3600.0, 8 * 3600.0, 7 * 86400.0)
"""Seconds after which a yes that is remembered may end by itself."""
_SAYS_ALL: Final = ("mcp://fs/read/", "mcp://fs/list/")
"""Rights that say themselves what is done; of all others the arguments are part of the answer."""


class Leaning(msgspec.Struct, frozen=True):
    """Towards which answer to a question a person leans."""

    approval: Approval
    pattern: str = ""
    """What a remembered yes is one to; empty: the very right that is missing."""
    ends: float | None = None
    """Seconds after which a remembered yes ends."""

    def wider(self) -> "Leaning":
        """Go on to the next thing that a yes may be one to; behind the widest comes the thing itself."""
        offered = ["", *rights.wider_patterns(self.approval)]
        return msgspec.structs.replace(
            self, pattern=offered[(offered.index(self.pattern) + 1) % len(offered)]
        )

    def ending(self) -> "Leaning":
        """Go on to the next end that a yes may have; behind the last comes none."""
        return msgspec.structs.replace(self, ends=ENDS[(ENDS.index(self.ends) + 1) % len(ENDS)])

    def answer(self, key: str) -> Answer | None:
        """What a key says; None when it says nothing here."""
        answer = ANSWERS.get(key)
        if answer is None or key not in {key for key, _ in self.choices()}:
            return None
        if not answer.allow or answer.remember == "once":
            return answer
        return msgspec.structs.replace(answer, resource_uri=self.pattern, expires_in_s=self.ends)

    def choices(self) -> list[tuple[str, str]]:
        """The keys that answer, with what they say; once, or any arguments, is said of the thing itself."""
        same = [("s", "this session"), ("a", "always")]
        if self.approval.hands_on:  # remembered, it is bound to no arguments; the node takes no other yes
            same = [("S", "session, any arguments"), ("A", "always, any arguments")]
            return [("y", "once"), *same, ("n", "no"), ("d", "no, because…"), ("x", "never")]
        if not self.pattern:
            same.insert(0, ("y", "once"))
            if not self.approval.resource_uri.startswith(_SAYS_ALL):
                same += [("S", "session, any arguments"), ("A", "always, any arguments")]
        return [*same, ("n", "no"), ("d", "no, because…"), ("x", "never")]
