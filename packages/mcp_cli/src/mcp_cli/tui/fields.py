"""One field of a form as a widget, and what is in it as the text that `forms` reads."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, SelectionList, Static
from textual.widgets.selection_list import Selection

from mcp_cli import forms
from mcp_cli.tui.palette import Palette
from mcp_cli.untrusted import one_line, printable, revealed


class FieldRow(Vertical):
    """A label, a widget of the right kind, and what is wrong with it."""

    DEFAULT_CSS = """
    FieldRow { height: auto; margin: 1 0 0 0; }
    FieldRow Static { height: auto; }
    FieldRow Input { padding: 0 1; background: $panel; }
    FieldRow Checkbox { border: none; padding: 0; background: $background; }
    FieldRow SelectionList { border: none; height: auto; max-height: 8; padding: 0; background: $panel; }
    FieldRow .wrong { display: none; }
    """

    def __init__(self, field: forms.Field, palette: Palette) -> None:
        super().__init__()
        self.field = field
        self._palette = palette
        self._widget = _widget(field)
        self._wrong = Static(classes="wrong", markup=False)

    def compose(self) -> ComposeResult:
        """Label, widget, error."""
        label = Text(one_line(revealed(self.field.title)), style=f"bold {self._palette.text}")
        if self.field.required:
            label.append(" *", style=f"bold {self._palette.warn}")
        about = [
            one_line(revealed(part)) for part in (self.field.description, forms.wanted(self.field)) if part
        ]
        label.append(f"  {' · '.join(about)}", style=self._palette.dim)
        yield Static(label, markup=False)
        yield self._widget
        yield self._wrong

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        """Say it in a word, too: a mark that only changes its colour is not seen by everybody."""
        event.stop()
        event.checkbox.label = _word(event.value)

    def take_focus(self) -> None:
        """Let the person fill it in."""
        self._widget.focus()

    def holds(self, widget: Widget) -> bool:
        """Whether this is its widget."""
        return widget is self._widget

    def complain(self, text: str) -> None:
        """Say what is wrong with it; nothing hides the line."""
        self._wrong.update(Text(printable(text), style=self._palette.bad))
        self._wrong.display = bool(text)

    @property
    def text(self) -> str:
        """What is in it, as a person would type it."""
        match self._widget:
            case Checkbox():
                return "yes" if self._widget.value else "no"
            case Select():
                return str(self._widget.value) if isinstance(self._widget.value, str) else ""
            case SelectionList():
                return ",".join(self._widget.selected)
            case Input():
                return self._widget.value
            case _:
                raise TypeError(type(self._widget).__name__)


def _word(value: bool) -> Content:
    return Content("yes" if value else "no")


def _widget(field: forms.Field) -> Widget:
    default = forms.shown_default(field)
    match field.kind:
        case "yes or no":
            return Checkbox(_word(default == "yes"), value=default == "yes", compact=True)
        case "one of":
            options = [(Content(one_line(revealed(each.title))), each.value) for each in field.options]
            if any(each.value == default for each in field.options):
                return Select(options, value=default, allow_blank=not field.required, compact=True)
            return Select(options, compact=True)
        case "some of":
            chosen = {part.strip() for part in default.split(",")}
            return SelectionList[str](
                *(
                    Selection(Content(one_line(revealed(each.title))), each.value, each.value in chosen)
                    for each in field.options
                )
            )
        case _:
            return Input(value=default, placeholder=one_line(revealed(forms.wanted(field))), compact=True)
