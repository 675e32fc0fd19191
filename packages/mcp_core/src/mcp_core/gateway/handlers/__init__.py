"""One handler for each command, one file for each noun."""
