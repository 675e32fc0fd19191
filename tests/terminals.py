"""What a program under test gets from its terminal."""

HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""Goes before a program for `python -c`: in the background of a shell Ctrl-C is ignored from birth."""
