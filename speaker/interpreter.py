"""How Python shares itself between the event loop and threads, and when it looks for garbage."""

import gc
import sys

SWITCH_INTERVAL = 0.000_1
"""Seconds for which a thread may keep the interpreter while the loop waits for it.

Every system call lets go of the interpreter, so an answer waits four times. With Python's 5 ms, a
thread that parsed manifests held each answer up for 20 ms."""
_YOUNG, _MIDDLE = 700, 10
"""Python's own thresholds: these collections take up to 1.5 ms."""
_OLD = 1_000
"""A full collection takes 55 ms with 1,000 services: not at every tenth one of the middle."""


def tune() -> None:
    """Set the interpreter up for a process that answers within a millisecond."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def started() -> None:
    """Take what is there for good: no collection walks through it again."""
    gc.freeze()
