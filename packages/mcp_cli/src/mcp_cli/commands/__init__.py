"""One module per noun; each holds a click command named `command` and is imported when it is called."""

__all__: list[str] = []
