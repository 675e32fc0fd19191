"""What a node is told before it starts. Nothing here is secret: keys stay in the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

APP = "umbrella"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and places of one node."""

    data_dir: Path
    environ: dict[str, str] = {}
    """Variables for model selection and `${VAR}` references; never journaled, never logged."""
    call_timeout_s: float = 120.0
    """Deadline of a tool call that brings none of its own."""
    approval_timeout_s: float = 3600.0
    """A question unanswered for so long means no."""
    max_turn_steps: int = 50
    """Model requests within one turn before it is stopped."""
    stop_timeout_s: float = 10.0
    """How long running work may take to end at a stop."""

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r}, …)"  # the environment holds keys

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What Rich shows instead, in a traceback with locals for example."""
        return [("data_dir", str(self.data_dir))]

    @classmethod
    def load(cls, data_dir: Path | None = None, environ: Mapping[str, str] | None = None) -> "Settings":
        """Settings from the environment.

        Args:
            data_dir: Where the node lives; None is `$UMBRELLA_DATA_DIR`, else the user's data folder.
            environ: The environment; None is the process's own.
        """
        environ = os.environ if environ is None else environ
        place = data_dir or environ.get("UMBRELLA_DATA_DIR") or platformdirs.user_data_path(APP)
        return cls(data_dir=Path(place).expanduser().absolute(), environ=dict(environ))
