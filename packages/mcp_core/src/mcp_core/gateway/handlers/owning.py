"""Who owns what: the owner the node and all that is in no session, each person their own sessions."""

from mcp_core.agents.directory import Directory
from mcp_core.gateway.sessions import Sessions
from mcp_interface.agent import AgentRecord
from mcp_interface.errors import NotFound, NotPermitted
from mcp_interface.ids import PrincipalId


def require_owner(who: PrincipalId, owner: PrincipalId, deed: str) -> None:
    """Keep what concerns the whole node for its owner.

    Raises:
        NotPermitted: Somebody else asks; names the deed.
    """
    if who != owner:
        raise NotPermitted(f"only the owner of the node may {deed}", "ask its owner")


class Owning:
    """The agents of a node, each seen by its person only.

    Args:
        owner: Of the node.
        sessions: Say whose they are.
        directory: The agents.
    """

    def __init__(self, owner: PrincipalId, sessions: Sessions, directory: Directory) -> None:
        self.owner = owner
        self._sessions = sessions
        self._directory = directory

    def has(self, who: PrincipalId, agent: AgentRecord) -> bool:
        """Whether an agent belongs to a person."""
        if agent.session_id is None:
            return who == self.owner
        try:
            return self._sessions.get(agent.session_id).created_by == who
        except NotFound:  # it has ended long ago
            return False

    def agent(self, who: PrincipalId, name: str) -> AgentRecord:
        """A person's agent by id, by unique beginning of the id, or by name.

        Raises:
            NotFound: None fits that belongs to them.
            CallerMistaken: Several of theirs fit.
        """
        return self._directory.find(name, lambda agent: self.has(who, agent))
