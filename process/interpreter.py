"""How Python shares itself between the event loop and threads, and when it looks for garbage."""

import gc
import sys
import time

SWITCH_INTERVAL = 0.000_1
"""Seconds for which a thread may keep the interpreter while the loop waits for it.

Every system call lets go of the interpreter, so an answer waits four times. With Python's 5 ms, a
thread that parsed manifests held each answer up for 20 ms."""
_YOUNG, _MIDDLE = 300, 3
"""With Python's own 700 and 10 a collection of the middle took up to 6 ms on a busy machine."""
_OLD = 7_000
"""A full collection takes 55 ms with 1,000 services: not at every tenth one of the middle."""

SHARE = 0.08
"""Part of a processor that a thread at leisure takes. Two of them leave a fifth of the 20 ms that
the pod's limit gives in 100 ms: who uses those up stands still for the rest."""
_SLICE = 0.002


class Leisure:
    """Called often by a thread with long work: sleeps, so that it takes `SHARE` of a processor."""

    def __init__(self) -> None:
        self._since = time.thread_time()

    def __call__(self) -> None:
        """Sleep if it is time to; belongs to the thread that made it."""
        used = time.thread_time() - self._since
        if used >= _SLICE:
            time.sleep(used / SHARE - used)
            self._since = time.thread_time()


def tune() -> None:
    """Set the interpreter up for a process that answers within a millisecond."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def tidy() -> None:
    """Collect what is young; for the end of a turn that has made much.

    Python counts what was made less what was freed: where old objects go as new ones come, as in
    any change, thousands of young ones gather before it looks at them, all in one go.
    """
    gc.collect(1)


def freeze() -> None:
    """Take what is there for good: no collection walks through it again."""
    gc.freeze()
