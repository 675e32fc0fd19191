"""Directories that no right on files reaches, whatever it covers: those in which the node keeps itself.

Who can read the node's token acts as its owner, who has the key of the audit can rewrite it, and who can write the
journal or the configuration gives rights. So a right on a directory above ends at their edge, and one on them is
empty. Judged is the real path: a link is looked at where it leads. Hard links and bind mounts are not seen through.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from mcp_interface.errors import NotPermitted, WorldBroken


class Closed:
    """Real paths of directories that stay closed, with all that is below them.

    Args:
        folders: Each with its present real path; a link on the way is followed once, now.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self._stems = tuple(f"{os.path.realpath(folder)}/" for folder in folders)

    def holds(self, real: str) -> bool:
        """Tell whether a real path is one of them or lies below."""
        return f"{real}/".startswith(self._stems)

    def refuse(self, real: str) -> None:
        """Return if a real path is open.

        Raises:
            NotPermitted: It is closed.
        """
        if self.holds(real):
            raise NotPermitted(
                f"{real[:200]} belongs to the node itself: no right reaches its keys, records and settings",
                "as a person, use: umbrella audit, umbrella logs; or edit the settings yourself",
                {"reason": "path_not_allowed"},
            )

    def refuse_descriptor(self, file: int, name: str = "") -> None:
        """Return if what is open, or a name in the directory that is open, is not closed.

        Raises:
            NotPermitted: It is.
            WorldBroken: The system does not say where it lies.
        """
        if self._stems:
            real = self.locate(file)
            self.refuse(f"{real}/{name}" if name else real)

    def locate(self, file: int) -> str:
        """Return the real path of what is open; empty when nothing is closed and nobody needs it.

        Raises:
            WorldBroken: The system does not say.
        """
        if not self._stems:
            return ""
        try:
            return str(Path(f"/proc/self/fd/{file}").readlink())
        except OSError as error:
            raise WorldBroken(
                f"the system does not say where an open file lies: {error.strerror}", "mount /proc"
            ) from error
