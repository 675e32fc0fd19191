"""The list of completions above the prompt."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from mcp_cli.completing import Completion
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line

ROWS: Final = 8
"""Of a screen that has room for them."""
LABEL: Final = 40
"""Cells of a label."""
BESIDE: Final = 8
"""Rows that the input, the status line and a piece of the transcript need."""


class Popup(Widget):
    """Shows completions with one of them marked; hidden while there are none."""

    DEFAULT_CSS = """
    Popup { height: auto; padding: 0 2; background: $panel; display: none; }
    """

    def __init__(
        self,
        palette: Palette,
        *,
        id: str = "popup",
        rows: int = ROWS,
        label: int = LABEL,
        beside: int = BESIDE,
    ) -> None:
        super().__init__(id=id)
        self.palette = palette
        self._rows, self._label, self._beside = rows, label, beside
        self._choices: Sequence[Completion] = ()
        self._marked = 0
        self.moved = False
        """Whether the person chose with the arrow keys."""

    @property
    def choices(self) -> Sequence[Completion]:
        """What is offered."""
        return self._choices

    @property
    def marked(self) -> Completion | None:
        """The completion that Tab takes."""
        return self._choices[self._marked] if self._choices else None

    def offer(self, choices: Sequence[Completion]) -> None:
        """Show these, the first one marked; none hides the list."""
        if choices == self._choices:
            return
        self._choices, self._marked, self.moved = choices, 0, False
        self.display = bool(choices)
        self.refresh(layout=True)

    def move(self, step: int) -> None:
        """Mark the next or the one before, around the end."""
        if not self._choices:
            return
        self._marked = (self._marked + step) % len(self._choices)
        self.moved = True
        self.refresh()

    def render(self) -> Text:
        """Draw the part of the list around the mark."""
        rows = max(2, min(self._rows, self.app.size.height - self._beside))
        top = max(0, min(self._marked - rows + 1, len(self._choices) - rows))
        shown = self._choices[top : top + rows]
        most = min(self._label, max(10, self.app.size.width - 8))
        wide = max((cell_len(one_line(choice.label, most)) for choice in shown), default=0)
        text = Text(no_wrap=True, overflow="ellipsis")
        for index, choice in enumerate(shown, top):
            label = one_line(choice.label, most)
            here = index == self._marked
            text.append("▸ " if here else "  ", style=self.palette.primary)
            text.append(label, style=f"bold {self.palette.primary}" if here else self.palette.text)
            text.append(
                " " * (wide - cell_len(label) + 2) + one_line(choice.summary, 80), style=self.palette.dim
            )
            text.append("\n")
        hidden = len(self._choices) - len(shown)
        if hidden:
            text.append(f"  {hidden} more", style=self.palette.dim)
        text.rstrip()
        return text
