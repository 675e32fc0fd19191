"""Libraries that only an exporter needs: loaded when it is made, and asked for by name when they are missing."""

from importlib import import_module
from typing import Any

from mcp_interface.errors import CallerMistaken


def required(module: str, extra: str) -> Any:
    """Load a module of an extra.

    Raises:
        CallerMistaken: It is not installed; the remedy names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise CallerMistaken(
            f"the Python package {error.name!r} is not installed, so there is no exporter",
            f"pip install 'mcp-umbrella-core[{extra}]', or take the exporter out of config.toml",
            {"kind": "not_installed", "extra": extra},
        ) from None
