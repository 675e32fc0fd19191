"""Identifiers: a prefix that says what it names, then 32 lower-case hex digits.

Ids are plain strings so that they travel unchanged through JSON, MessagePack, URLs and logs. They are
public: knowing an id grants nothing. Randomness is handed in (see `clock.Entropy`).
"""

import re
from functools import lru_cache
from typing import Final, NewType

from mcp_interface.clock import Entropy
from mcp_interface.errors import InvalidRecord

AgentId = NewType("AgentId", str)
SessionId = NewType("SessionId", str)
CapabilityId = NewType("CapabilityId", str)
ExecutionId = NewType("ExecutionId", str)
MessageId = NewType("MessageId", str)
TraceId = NewType("TraceId", str)
TurnId = NewType("TurnId", str)
ApprovalId = NewType("ApprovalId", str)
QuestionId = NewType("QuestionId", str)
KeyId = NewType("KeyId", str)
TaskId = NewType("TaskId", str)
PlanId = NewType("PlanId", str)
PrincipalId = NewType("PrincipalId", str)
"""Who acts: `agent_<hex>`, `user_<hex>` or the literal `system`."""

SYSTEM: Final = PrincipalId("system")
PREFIXES: Final = (
    "agent",
    "session",
    "cap",
    "trace",
    "exec",
    "msg",
    "turn",
    "ask",
    "question",
    "key",
    "task",
    "plan",
    "user",
    "audit",
)
ID_BYTES: Final = 16

_ID = re.compile(r"([a-z]+)_[0-9a-f]{32}")
_LONGEST = 64  # beyond the longest prefix there is


def new_id(prefix: str, entropy: Entropy) -> str:
    """Make a fresh id such as `agent_6f…` from 16 random bytes.

    Raises:
        InvalidRecord: The prefix is not one of `PREFIXES`.
    """
    if prefix not in PREFIXES:
        raise InvalidRecord(
            "unknown_id_prefix", f"no id begins with {prefix!r}", f"use one of {', '.join(PREFIXES)}"
        )
    return f"{prefix}_{entropy.token(ID_BYTES).hex()}"


def is_id(prefix: str, text: str) -> bool:
    """Tell whether a text is a well-formed id with this prefix."""
    return len(text) <= _LONGEST and _is_id(prefix, text)


@lru_cache(maxsize=4096)
def _is_id(prefix: str, text: str) -> bool:
    match = _ID.fullmatch(text)
    return match is not None and match[1] == prefix


def is_principal(text: str) -> bool:
    """Tell whether a text names somebody who can hold capabilities."""
    return text == SYSTEM or is_id("agent", text) or is_id("user", text)
