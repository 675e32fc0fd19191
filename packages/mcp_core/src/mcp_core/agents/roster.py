"""The list of agents: all that live, and those that ended last.

A plain collection, moved on by the directory with each event. What has ended long ago is in the journal only.
"""

from collections.abc import Iterator
from heapq import merge
from typing import Final, TypeVar

import msgspec

from mcp_interface.agent import AgentRecord
from mcp_interface.ids import AgentId, SessionId

K = TypeVar("K")
ENDED: Final = 1000
"""Agents that have ended and are still listed, the latest to end."""


class Roster:
    """Agents by id, by name and by session.

    Args:
        ended: How many that have ended are kept.
    """

    def __init__(self, ended: int = ENDED) -> None:
        self._most = ended
        self._alive: dict[AgentId, AgentRecord] = {}
        """In the order of their births."""
        self._ended: dict[AgentId, AgentRecord] = {}
        """In the order of their ends."""
        self._births: dict[AgentId, int] = {}
        self._named: dict[str, dict[AgentId, AgentRecord]] = {}
        """Of the living; there are two of a name while the one before is on its way out."""
        self._of_session: dict[SessionId | None, dict[AgentId, AgentRecord]] = {}
        """Of the living."""

    def __len__(self) -> int:
        """How many live."""
        return len(self._alive)

    def get(self, agent_id: str) -> AgentRecord | None:
        """One agent; None: there never was one, or it has ended long ago."""
        key = AgentId(agent_id)
        return self._alive.get(key) or self._ended.get(key)

    def lives(self, agent_id: str) -> bool:
        """Whether an agent was born and has not ended."""
        return agent_id in self._alive

    def born(self, agent: AgentRecord, position: int) -> None:
        """Add one; `position` orders the births and is given once."""
        self._ended.pop(agent.id, None)
        self._births[agent.id] = position
        self._alive[agent.id] = agent
        self._of_session.setdefault(agent.session_id, {})[agent.id] = agent
        if agent.name:
            self._named.setdefault(agent.name, {})[agent.id] = agent

    def ended(self, agent_id: AgentId) -> AgentId | None:
        """Move one to the ended; returns the one that is no longer listed for it, if any."""
        agent = self._alive.pop(agent_id, None)
        if agent is None:
            return None
        _take(self._of_session, agent.session_id, agent_id)
        if agent.name:
            _take(self._named, agent.name, agent_id)
        self._ended[agent_id] = msgspec.structs.replace(agent, state="terminated")
        if len(self._ended) <= self._most:
            return None
        oldest = next(iter(self._ended))
        del self._ended[oldest], self._births[oldest]
        return oldest

    def living(self, session_id: SessionId | None = None) -> list[AgentRecord]:
        """Those that live, of one session or all, oldest first."""
        among = self._alive if session_id is None else self._of_session.get(session_id, {})
        return list(among.values())

    def listed(self, session_id: SessionId | None = None, *, ended: bool = False) -> Iterator[AgentRecord]:
        """Agents of one session or of all, oldest first; to be used up at once."""
        among = self._alive if session_id is None else self._of_session.get(session_id, {})
        if not ended:
            return iter(among.values())
        past = [agent for agent in self._ended.values() if session_id in (None, agent.session_id)]
        return merge(among.values(), sorted(past, key=self.birth), key=self.birth)

    def birth(self, agent: AgentRecord) -> int:
        """The position of its birth."""
        return self._births[agent.id]

    def named(self, name: str) -> list[AgentRecord]:
        """The living of a name, oldest first."""
        return list(self._named.get(name, {}).values())

    def beginning(self, text: str) -> list[AgentRecord]:
        """Those whose id begins so, oldest first."""
        return [agent for agent in self.listed(ended=True) if agent.id.startswith(text)]


def _take(groups: dict[K, dict[AgentId, AgentRecord]], group: K, agent_id: AgentId) -> None:
    """Take one out of its group, and an empty group away."""
    del groups[group][agent_id]
    if not groups[group]:
        del groups[group]
