"""The line at the bottom of the screen: what `statusline` says, in colours."""

from rich.text import Text
from textual.widget import Widget

from mcp_cli.naming import short
from mcp_cli.repl import Repl
from mcp_cli.statusline import GAP, Part, Standing, status_parts
from mcp_cli.tui.palette import Palette


class StatusBar(Widget):
    """One line that is drawn again only when it says something new."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 2; background: $background; }
    """

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="status")
        self.palette = palette
        self._standing = Standing()
        self._text = Text()

    def tell(self, repl: Repl) -> None:
        """Take over the present state."""
        self._standing = standing(repl)
        self._write()

    def on_resize(self) -> None:
        """Say as much as there is room for."""
        self._write()

    def _write(self) -> None:
        text = in_colours(status_parts(self._standing, self.content_size.width), self.palette)
        if text != self._text or text.spans != self._text.spans:
            self._text = text
            self.refresh()

    def render(self) -> Text:
        """Draw the line."""
        return self._text


def standing(repl: Repl) -> Standing:
    """Gather what a REPL knows; `repl.beyond` holds what the transcript does not tell."""
    picture, status = repl.transcript, repl.status
    ready = status is None or status.model.ready
    chosen = picture.answered_by or picture.model or repl.model
    return Standing(
        session=short(repl.session_id) if repl.session_id else "",
        model=chosen or (status.model.model if status is not None else ""),
        ready=ready,
        profile=picture.profile if repl.session_id is not None else repl.profile,
        connection=repl.attachment.state,
        waiting=len(picture.approvals) + len(repl.questions),
        working=len(picture.turns),
        suspended=picture.suspended,
        refusing=bool(repl.storage.refusing),
        input_tokens=picture.input_tokens,
        output_tokens=picture.output_tokens,
        in_window=picture.in_window,
        cost=picture.cost,
        unpriced=picture.unpriced,
        seconds=picture.seconds,
        beyond=repl.beyond,
    )


def in_colours(parts: list[Part], palette: Palette) -> Text:
    """Write the parts as one line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for index, part in enumerate(parts):
        line.append(GAP if index else "", style=palette.dim)
        style = palette.tones[part.tone]
        line.append(part.text, style=f"bold {style}" if part.strong else style)
    return line
