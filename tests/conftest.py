"""Tests do not depend on how they are started: not on the shell's Ctrl-C, nor on how many threads it allows."""

import os
import signal

# Before torch is imported, here and in the processes that tests start.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def pytest_configure():
    """Answer Ctrl-C, which a job that a script starts with `&` ignores, and with it every process it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
