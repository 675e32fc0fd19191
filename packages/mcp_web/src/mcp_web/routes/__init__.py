"""One noun per file; each route is one command of the node."""
