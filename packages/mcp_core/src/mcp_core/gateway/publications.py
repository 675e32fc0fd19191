"""Virtual servers: named selections of what the node offers, for MCP clients."""

from typing import Final

from mcp_core.gateway.access import Access, AccessState
from mcp_interface.clock import Clock
from mcp_interface.errors import CallerMistaken, InvalidRecord, NotFound, TooMuch
from mcp_interface.events import AccessEvent, Published, Unpublished
from mcp_interface.ids import PrincipalId, is_id
from mcp_interface.key import Publication

MAX_PUBLICATIONS: Final = 200
MAX_GLOBS: Final = 1_000
"""Of one publication, of each kind."""


class Publications:
    """The virtual servers of one node.

    Args:
        access: Remembers them.
        clock: Dates what is remembered.
    """

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock

    async def put(self, publication: Publication, by: PrincipalId) -> Publication:
        """Offer a virtual server, or replace the one of its name; durable when this returns.

        Raises:
            InvalidRecord: A rule of `Publication` does not hold, or it selects nothing.
            CallerMistaken: It is for somebody who is no person.
            TooMuch: There are too many, or it has too many globs.
        """
        publication.validate()
        parts = (publication.tools, publication.resources, publication.prompts)
        if not any(parts):
            raise InvalidRecord(
                "empty_publication", f"{publication.name} selects nothing", "name tools, as in --tool 'git/*'"
            )
        if max(map(len, parts)) > MAX_GLOBS:
            raise TooMuch(f"{publication.name} has more than {MAX_GLOBS} globs of a kind", "use wider ones")
        if publication.principal_id is not None and not is_id("user", publication.principal_id):
            raise CallerMistaken(
                f"{publication.principal_id!r} cannot come in as a client",
                "name a person: user_…, as in umbrella key list",
            )

        def decide(state: AccessState) -> list[AccessEvent]:
            known = state.publications
            if publication.name not in known and len(known) >= MAX_PUBLICATIONS:
                raise TooMuch(f"there are {MAX_PUBLICATIONS} virtual servers", "take one away")
            return [Published(timestamp=self._clock.now(), publication=publication, by=by)]

        await self._access.decide(decide)
        return publication

    async def remove(self, name: str, by: PrincipalId) -> None:
        """Take a virtual server away.

        Raises:
            NotFound: There is none of this name.
        """

        def decide(state: AccessState) -> list[AccessEvent]:
            if name not in state.publications:
                raise NotFound(f"no virtual server {name[:80]!r}", "list them: umbrella mcp published")
            return [Unpublished(timestamp=self._clock.now(), name=name, by=by)]

        await self._access.decide(decide)

    def listed(self) -> list[Publication]:
        """All of them, by name."""
        known = self._access.state.publications
        return [known[name] for name in sorted(known)]
