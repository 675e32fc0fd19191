"""Answers one question line by line: what to say before each line, and what a line means. Pure: no terminal, no node.

A form is asked field after field and confirmed at the end; everything else is a yes or no. `!decline` and `!later`
are understood at every line, `!back` goes back to the first field.
"""

from typing import Final

from mcp_cli import forms
from mcp_cli.questioning import field_lines
from mcp_interface.errors import CallerMistaken, ErrorBody
from mcp_interface.question import Inquiry, Response

WORDS: Final = "!decline refuses, !later leaves it open, !back begins anew"


class Dialogue:
    """One answer in the making.

    Args:
        inquiry: What is asked; it was shown already.
    """

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._form = forms.fields(inquiry.schema) if inquiry.kind == "form" else []
        self._texts: dict[str, str] = {}
        self._place = 0
        self.response: Response | None = None
        """The answer, once it is made."""
        self.left = False
        """Whether it is left open for later."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.left or self.response is not None

    @property
    def prompt(self) -> list[str]:
        """What to say before the next line; the last of it stands before the cursor."""
        if self._place < len(self._form):
            first = [f"({WORDS})"] if self._place == 0 else []
            return [*first, *field_lines(self._form[self._place]), "> "]
        return [*(f"  {name}: {text}" for name, text in self._texts.items() if text), f"{self._question()} "]

    def _question(self) -> str:
        match self._inquiry.kind:
            case "form":
                return "send this? (yes, no refuses, !later)"
            case "url":
                return "have you opened it, or will you? (yes, no, !later)"
            case _:
                return "may it? (yes, no, !later)"

    def take(self, line: str) -> str:
        """Read one line; returns what was wrong with it, or nothing."""
        typed = line.strip()
        match typed.lower():
            case "!decline":
                self.response = Response(action="decline")
            case "!later":
                self.left = True
            case "!back":
                self._place = 0
            case _ if self._place < len(self._form):
                return self._fill(self._form[self._place], line.rstrip("\r\n"))
            case answer if answer in forms.YES:
                return self._accept()
            case answer if answer in forms.NO:
                self.response = Response(action="decline")
            case _:
                return "write yes or no"
        return ""

    def _fill(self, field: forms.Field, text: str) -> str:
        if not text.strip():
            text = self._texts.get(field.name) or forms.shown_default(field)
        try:
            forms.filled([field], {field.name: text})
        except CallerMistaken as error:
            return str(error)
        self._texts[field.name] = text
        self._place += 1
        return ""

    def _accept(self) -> str:
        if self._inquiry.kind != "form":
            self.response = Response(action="accept")
            return ""
        try:
            content = forms.filled(self._form, self._texts)
        except CallerMistaken as error:
            self.refused(error.body())
            return str(error)
        self.response = Response(action="accept", content=content)
        return ""

    def refused(self, error: ErrorBody) -> None:
        """Go back to the field that the node found wrong, or to the first."""
        self.response = None
        names = [field.name for field in self._form]
        field = str(error.details.get("field", "")).partition(".")[0]
        self._place = names.index(field) if field in names else 0
