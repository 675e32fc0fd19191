"""Where a journal can rest; one module per medium."""
