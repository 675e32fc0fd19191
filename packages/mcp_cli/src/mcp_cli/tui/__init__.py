"""The full-screen REPL, drawn with Textual. Imported only when it is opened."""

__all__: list[str] = []
