"""Ctrl-R: what was typed before, latest first; what is chosen comes back to be changed or sent."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from mcp_cli.staging import Pick
from mcp_cli.tui.palette import Palette
from mcp_cli.tui.picker import MOST, Picker
from mcp_cli.untrusted import one_line


class SearchScreen(Picker):
    """The inputs of the history.

    Args:
        palette: Colours.
        inputs: Earlier inputs, latest first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+r", "move(1)", priority=True)]

    def __init__(self, palette: Palette, inputs: Sequence[str]) -> None:
        self._inputs = list(dict.fromkeys(inputs))[:MOST]
        picks = [Pick(key=str(at), label=one_line(text, 300)) for at, text in enumerate(self._inputs)]
        super().__init__(palette, "what you typed before", picks, "Ctrl+R next")

    def action_take(self) -> None:
        """Give the whole input, not its line in the list."""
        if self.marked is not None:
            self.dismiss(self._inputs[int(self.marked)])
