"""Reads what a project says to agents, from its folder, by the right of the person whose session it is."""

import os
from collections.abc import Mapping
from typing import Any, Final

from mcp_core.agents.briefing import Notes
from mcp_core.tools.filesystem import FileGate
from mcp_core.tools.filesystem.content import decode, is_binary, read_up_to, require_within
from mcp_core.tools.filesystem.looking import may_look
from mcp_core.tools.filesystem.tool import in_thread
from mcp_interface.address import Resource, resource
from mcp_interface.capability import Context, Facts, Need, SecurityKernel, Verdict
from mcp_interface.errors import CallerMistaken, UmbrellaError
from mcp_interface.ids import PrincipalId
from mcp_interface.trace import current_trace_id

NAMES: Final = ("AGENTS.md", "CLAUDE.md")
"""The first of these that can be read counts."""
MAX_NOTES: Final = 32 * 1024
"""Bytes that are read of them."""
_FACTS: Final = Facts(size=0)


class ProjectNotes:
    """Finds the notes of a folder.

    Args:
        kernel: Judges whether the person may read them.
        gate: The only way to a file.
    """

    def __init__(self, kernel: SecurityKernel, gate: FileGate) -> None:
        self._kernel = kernel
        self._gate = gate

    async def read(self, person: PrincipalId, folder: str) -> Notes | None:
        """The notes of a folder; None where there are none that this person may read.

        No link is followed on the way to them: whoever writes a project could otherwise name any file.
        """
        for name in NAMES:
            try:
                notes = await self._read(person, folder, name)
            except UmbrellaError:
                continue  # not there, not theirs, or no path: nothing is said of it
            if notes is not None:
                return notes
        return None

    async def _read(self, person: PrincipalId, folder: str, name: str) -> Notes | None:
        path = f"{folder.rstrip('/')}/{name}"
        needed = resource("fs", "read", path)
        if needed.is_pattern:
            raise CallerMistaken(f"{path!r} names more than one file", "work in a folder without '*'")
        # Asked without a record first: most folders have no notes, and that is no denial worth noting.
        # And nothing is taken of a right that counts its uses: nobody asked for this reading.
        if may_look(self._sees, person, path, {}) is None or not await in_thread(
            lambda: self._is_there(needed, path), path
        ):
            return None
        context = Context(trace_id=current_trace_id(), note="project notes")
        verdict = await self._kernel.authorize(person, needed, context, facts=_FACTS)
        if not verdict.allowed:
            return None
        data = await in_thread(lambda: self._load(needed, path, verdict.limits), path)
        if is_binary(data):
            return None
        text, _ = decode(data[:MAX_NOTES], whole=len(data) <= MAX_NOTES)
        if len(data) > MAX_NOTES:
            text += f"\n[cut after {MAX_NOTES} bytes]"
        return Notes(name=name, text=text) if text.strip() else None

    def _sees(self, person: PrincipalId, need: Need) -> Verdict:
        return self._kernel.explain(person, need.resource, need.facts).verdict

    def _is_there(self, needed: Resource, path: str) -> bool:
        os.close(self._gate.open_file(needed.uri, path))
        return True

    def _load(self, needed: Resource, path: str, limits: Mapping[str, Any]) -> bytes:
        file = self._gate.open_file(needed.uri, path)
        try:
            data = read_up_to(file, MAX_NOTES + 1)
            size = max(os.fstat(file).st_size, len(data))
        finally:
            os.close(file)
        require_within(limits, path, size=size, taken=len(data))
        return data
