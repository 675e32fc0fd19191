"""Rings the terminal's bell and tells its window, when something is worth it (`mcp_cli.notifying`)."""

from typing import Any

from textual.app import App

from mcp_cli.untrusted import one_line


def ring(app: App[Any], text: str) -> None:
    """Ring, and hand the text to terminals that show notifications (OSC 9); others ignore it."""
    app.bell()
    driver = app._driver
    if driver is not None and not app.is_headless:
        driver.write(f"\x1b]9;{one_line(text)}\x07")


def take_mouse(app: App[Any], *, on: bool) -> None:
    """Take the mouse, or leave it to the terminal; a driver without one is left alone."""
    name = "_enable_mouse_support" if on else "_disable_mouse_support"
    change = getattr(app._driver, name, None)
    if change is not None:
        change()
