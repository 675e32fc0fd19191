"""The one table from error classes to process exit codes.

Scripts read these numbers, so they never change meaning. An error is looked up by its nearest ancestor in the
table, so that a new leaf of the tree needs no new row.
"""

from typing import Final

from mcp_interface.errors import (
    CallerMistaken,
    DeadlineExceeded,
    Interrupted,
    NotFound,
    NotPermitted,
    UmbrellaError,
    WorldBroken,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
DENIED: Final = 3
NOT_FOUND: Final = 4
UNAVAILABLE: Final = 5
TIMEOUT: Final = 124
INTERRUPTED: Final = 130
"""Cut off half-way, by Ctrl-C or by a dying server: whether it took effect is not known."""

TABLE: Final[dict[type[UmbrellaError], int]] = {
    UmbrellaError: FAILED,
    CallerMistaken: USAGE,
    NotPermitted: DENIED,
    NotFound: NOT_FOUND,
    WorldBroken: UNAVAILABLE,
    DeadlineExceeded: TIMEOUT,
    Interrupted: INTERRUPTED,
}


def exit_code(error: UmbrellaError | type[UmbrellaError]) -> int:
    """Return the exit code of an error, by its nearest ancestor in `TABLE`."""
    kind = error if isinstance(error, type) else type(error)
    return next(TABLE[ancestor] for ancestor in kind.__mro__ if ancestor in TABLE)
