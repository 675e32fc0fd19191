"""Finds what was said, for the person who owns the session in which it was said, ended ones too.

The words are found by an index of the whole node (`Texts`); here each hit is judged by its session's owner before
anything of it is shown. The place in a cursor is a count and not how well a message fits: that figure depends on
what everybody has said, and would tell how common a word is with others.
"""

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

from mcp_core.gateway.handlers.paging import position_of
from mcp_core.gateway.sessions import Sessions
from mcp_core.gateway.state import stream_of
from mcp_core.runtime.commit import Journal
from mcp_interface.commands import Page
from mcp_interface.conversing import FoundMessage, SearchMessages
from mcp_interface.errors import NotFound, StorageUnavailable
from mcp_interface.events import AssistantMessage, SessionCreated, UserMessage
from mcp_interface.ids import PrincipalId, SessionId
from mcp_interface.store import PAGE

BEGIN: Final = "\x02"
END: Final = "\x03"
"""Around the words that fit, in a snippet."""
SNIPPET: Final = 400
"""Characters of a snippet: one word may be a whole file."""
BEFORE: Final = 80
"""Those of them in front of the first word that fits."""
AT_ONCE: Final = 100
"""Hits that are asked for at least; those of other persons are among them."""
MOST: Final = 100
"""Messages of one page: each is read from the journal, perhaps out of a frame with a thousand others."""
KNOWN: Final = 10_000
"""Sessions that are not listed any more, of which it is kept in mind whose they are."""
_WORD: Final = re.compile(r"[^\W_]+")
_TERM: Final = re.compile(r"([^\W_]+)(\*?)")


class Hit(Protocol):
    """An event that holds the words."""

    @property
    def stream(self) -> str:
        """Of its session."""
        ...

    @property
    def version(self) -> int:
        """Its place in the stream."""
        ...

    @property
    def snippet(self) -> str:
        """The words around the first that fits."""
        ...


class Texts(Protocol):
    """An index of what was said on the whole node (`mcp_persistence.TextIndex`)."""

    async def search(
        self, query: str, *, streams: str = "*", limit: int = 20, after: Any = None
    ) -> Sequence[Hit]:
        """Events that hold all the words, best first, behind the hit `after`."""
        ...


class Searching:
    """Judges and presents what the index finds.

    Args:
        texts: The index; None where there is none.
        sessions: Say whose they are.
        journal: Holds what was said.
    """

    def __init__(self, texts: Texts | None, sessions: Sessions, journal: Journal) -> None:
        self._texts = texts
        self._sessions = sessions
        self._journal = journal
        self._owners: OrderedDict[str, PrincipalId | None] = OrderedDict()

    async def search(self, who: PrincipalId, wish: SearchMessages) -> Page[FoundMessage]:
        """What a person's sessions hold of some words, best first.

        What is said between two pages may move a message across their border.

        Raises:
            CallerMistaken: There is no word in the text, or too many; or the cursor is not one of ours.
            NotFound: The session is none of theirs.
            StorageUnavailable: There is no index now; says what helps.
        """
        start, limit = position_of(wish.cursor), min(wish.limit, MOST)
        streams = "*"
        if wish.session_id is not None:
            streams = stream_of((await self._sessions.find(wish.session_id, who)).id)
        query = as_typed(wish.text)
        hits = await self._hits(who, query, streams, start + limit + 1)
        shown = hits[start : start + limit]
        found = [message for hit in shown if (message := await self._message(who, hit, query)) is not None]
        more = len(hits) > start + limit
        return Page(items=found, cursor=str(start + limit) if more else None)

    async def _hits(self, who: PrincipalId, query: str, streams: str, wanted: int) -> list[Hit]:
        """At least so many hits of theirs, or all; the index bounds how many it tells of."""
        if self._texts is None:
            raise StorageUnavailable(
                "there is no index of what was said", "why is in the node's log: umbrella logs"
            )
        mine: list[Hit] = []
        last: Hit | None = None
        most = min(PAGE, max(wanted, AT_ONCE))
        while len(mine) < wanted:
            hits = await self._texts.search(query, streams=streams, limit=most, after=last)
            for hit in hits:
                if await self._owner(hit.stream) == who:
                    mine.append(hit)
            if len(hits) < most:
                break
            last = hits[-1]
        return mine

    async def _owner(self, stream: str) -> PrincipalId | None:
        session_id = SessionId(stream.removeprefix("session:"))
        if self._sessions.knows(session_id):
            return self._sessions.get(session_id).created_by
        if stream not in self._owners:
            first = await self._journal.read(stream, limit=1)
            created = first[0].event if first else None
            self._owners[stream] = created.created_by if isinstance(created, SessionCreated) else None
            if len(self._owners) > KNOWN:
                self._owners.popitem(last=False)
        return self._owners[stream]

    async def _message(self, who: PrincipalId, hit: Hit, query: str) -> FoundMessage | None:
        try:
            session = await self._sessions.find(SessionId(hit.stream.removeprefix("session:")), who)
        except NotFound:  # not theirs after all, or deleted in this moment
            return None
        records = await self._journal.read(hit.stream, after=hit.version - 1, limit=1)
        event = records[0].event if records else None
        if not isinstance(event, UserMessage | AssistantMessage):
            return None
        return FoundMessage(
            session_id=session.id,
            title=session.title,
            version=hit.version,
            role="user" if isinstance(event, UserMessage) else "assistant",
            at=event.timestamp,
            snippet=mark(hit.snippet, query),
        )


def as_typed(text: str) -> str:
    """The query of what somebody may still be typing: a word at its end may be a beginning."""
    return f"{text}*" if _WORD.fullmatch(text[-1:]) else text


def mark(snippet: str, query: str) -> str:
    """Put the words that a query names between `BEGIN` and `END`, and cut the text to `SNIPPET` characters.

    Words are compared as the index does: without case and accents.
    """
    text = snippet.replace(BEGIN, " ").replace(END, " ")
    whole = {_folded(word) for word, star in _TERM.findall(query) if not star}
    beginnings = tuple(_folded(word) for word, star in _TERM.findall(query) if star)

    def fits(word: str) -> bool:
        folded = _folded(word)
        return folded in whole or folded.startswith(beginnings)

    first = next((found.start() for found in _WORD.finditer(text) if fits(found.group())), 0)
    start = 0 if len(text) <= SNIPPET else max(0, min(first - BEFORE, len(text) - SNIPPET))
    part = text[start : start + SNIPPET]
    marked = _WORD.sub(lambda found: _between(found.group()) if fits(found.group()) else found.group(), part)
    return f"{'…' if start else ''}{marked}{'…' if start + SNIPPET < len(text) else ''}"


def _between(word: str) -> str:
    return f"{BEGIN}{word}{END}"


def _folded(word: str) -> str:
    apart = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
