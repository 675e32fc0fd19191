"""What a program under test gets from its terminal."""

import signal


def hears_ctrl_c() -> None:
    """Run in a child before its program: in the background of a shell, Ctrl-C is ignored from birth."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
