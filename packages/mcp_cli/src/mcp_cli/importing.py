"""Reads conversations that were written elsewhere, or exported here, into plain messages. Pure.

Two shapes are read: the JSON document of `umbrella sessions export --as json`, and a list of
{"role", "content", "timestamp"}, alone or under "messages". What cannot be taken is counted and named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from mcp_cli.untrusted import one_line
from mcp_interface.conversing import ImportedMessage
from mcp_interface.errors import CallerMistaken

REMEDY: Final = (
    "give what umbrella sessions export --as json wrote, or a list of "
    '{"role": "user" or "assistant", "content": "…", "timestamp": "2026-11-22T10:00:00Z"}'
)
MESSAGES: Final = {"message.user": "user", "message.assistant": "assistant"}
"""Events that are messages, and whose."""
CALLS: Final = "tool calls, with what they returned"
EMPTY: Final = "messages without words"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds for us."""

    messages: list[ImportedMessage]
    title: str = ""
    left: list[str] = []
    """What could not be taken, in words."""


def read(text: str) -> Taken:
    """Read a conversation.

    Raises:
        CallerMistaken: It is none that we know, or has no message; says what is wrong, and where.
    """
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise CallerMistaken(f"this is not JSON: {error}", REMEDY) from error
    left: Counter[str] = Counter()
    title = ""
    if isinstance(told, dict) and isinstance(told.get("records"), list):
        found = list(_ours(told["records"], left))
        session = told.get("session")
        title = str(session.get("title", "")) if isinstance(session, dict) else ""
        if isinstance(session, dict) and session.get("system"):
            left["words that its assistant was told beside the conversation"] += 1
    else:
        listed = told.get("messages") if isinstance(told, dict) else told
        if not isinstance(listed, list):
            raise CallerMistaken("this is no conversation that can be read", REMEDY)
        found = list(_plain(listed, left))
        title = str(told.get("title") or "") if isinstance(told, dict) else ""
    if not found:
        raise CallerMistaken("there is no message with words in it", REMEDY)
    return Taken(messages=found, title=title, left=[f"{what}: {number}" for what, number in left.items()])


def _ours(records: Sequence[Any], left: Counter[str]) -> Iterator[ImportedMessage]:
    for number, record in enumerate(records, 1):
        event = record.get("event") if isinstance(record, dict) else None
        if not isinstance(event, dict):
            raise CallerMistaken(f"record {number} has no event", REMEDY)
        kind = event.get("event")
        if kind == "execution" and event.get("status") in {"completed", "failed"}:
            left[CALLS] += 1
        if kind not in MESSAGES:
            continue
        message = _message(MESSAGES[kind], event.get("text"), event.get("timestamp"), f"record {number}")
        if message is not None:
            yield message
        elif not event.get("tool_uses"):  # a step that only calls tools says nothing
            left[EMPTY] += 1


def _plain(items: Sequence[Any], left: Counter[str]) -> Iterator[ImportedMessage]:
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or "role" not in item:
            raise CallerMistaken(f"message {number} has no role", REMEDY)
        role = item["role"]
        if item.get("tool_calls"):
            left[CALLS] += len(item["tool_calls"]) if isinstance(item["tool_calls"], list) else 1
        if role not in MESSAGES.values():
            left[f"messages of the role {one_line(str(role), 20)!r}"] += 1
            continue
        text = _words(item.get("content"), f"message {number}", left)
        message = _message(role, text, item.get("timestamp"), f"message {number}")
        if message is not None:
            yield message
        elif not item.get("tool_calls"):
            left[EMPTY] += 1


def _words(content: Any, where: str, left: Counter[str]) -> str:
    """A message's text, which vendors also give in parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise CallerMistaken(f"the content of {where} is neither text nor a list of parts", REMEDY)
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            left["parts that are not text"] += 1
    return "\n\n".join(texts)


def _message(role: Any, text: Any, at: Any, where: str) -> ImportedMessage | None:
    if not isinstance(text, str):
        raise CallerMistaken(f"{where} has no text", REMEDY)
    if not text.strip():
        return None
    return ImportedMessage(role=role, content=text, timestamp=_moment(at, where))


def _moment(at: Any, where: str) -> datetime | None:
    """A point in time as ISO 8601, UTC where it names no zone, or as seconds since 1970."""
    if at is None or at == "":
        return None
    try:
        if isinstance(at, int | float) and not isinstance(at, bool):
            return datetime.fromtimestamp(at, UTC)
        found = datetime.fromisoformat(at)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise CallerMistaken(f"{where} has a timestamp that cannot be read", REMEDY) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
