"""The line at the bottom: session, model, profile, open questions, tokens, connection."""

from rich.text import Text
from textual.widget import Widget

from mcp_cli.naming import short
from mcp_cli.repl import Repl
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line


class StatusBar(Widget):
    """One line that is drawn again only when it says something new."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 2; background: $background; }
    """

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="status")
        self.palette = palette
        self._text = Text()

    def tell(self, repl: Repl) -> None:
        """Take over the present state."""
        text = status_line(repl, self.palette)
        if text != self._text or text.spans != self._text.spans:
            self._text = text
            self.refresh()

    def render(self) -> Text:
        """Draw the line."""
        return self._text


def status_line(repl: Repl, palette: Palette) -> Text:
    """Write the status of a REPL in one line."""
    picture = repl.transcript
    attached = repl.session_id is not None
    parts: list[tuple[str, str]] = []
    questions = len(picture.approvals) + len(repl.questions)
    away = repl.attachment.state != "connected"
    if away:
        parts.append(_connection(repl, palette))  # first: a narrow terminal cuts the end off
    if questions:
        parts.append((f"{questions} waiting for you", f"bold {palette.warn}"))
    elif picture.working is not None and not away:
        parts.append(("working, Esc stops", palette.warn))
    if picture.suspended:
        parts.append(("suspended, /resume", f"bold {palette.warn}"))
    if repl.storage.refusing:
        parts.append(("journal takes nothing", f"bold {palette.bad}"))
    parts.append((short(repl.session_id) if repl.session_id else "new session", palette.dim))
    parts.append(_model(repl, palette))
    profile = picture.profile if attached else repl.profile
    parts.append((f"profile {profile}", f"bold {palette.bad}" if profile == "open" else palette.dim))
    if picture.input_tokens or picture.output_tokens:
        tokens = f"{_count(picture.input_tokens)} in, {_count(picture.output_tokens)} out"
        parts.append((tokens, palette.dim))
    if not away:
        parts.append(_connection(repl, palette))
    line = Text(no_wrap=True, overflow="ellipsis")
    for index, (text, style) in enumerate(parts):
        line.append(" · " if index else "", style=palette.dim)
        line.append(text, style=style)
    return line


def _model(repl: Repl, palette: Palette) -> tuple[str, str]:
    picture = repl.transcript
    chosen = picture.answered_by or picture.model or repl.model
    if repl.status is not None and not repl.status.model.ready:
        return "no model", palette.warn
    if not chosen and repl.status is not None:
        chosen = repl.status.model.model
    return one_line(chosen, 40) or "model ?", palette.dim


def _connection(repl: Repl, palette: Palette) -> tuple[str, str]:
    words = {
        "connecting": ("starting the node…", palette.warn),
        "connected": ("connected", palette.dim),
        "lost": ("node lost, trying again…", f"bold {palette.bad}"),
        "stopped": ("node stopped; send something to start it", f"bold {palette.bad}"),
    }
    return words[repl.attachment.state]


def _count(tokens: int) -> str:
    return f"{tokens / 1000:.1f}k" if tokens >= 1000 else str(tokens)
