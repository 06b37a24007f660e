"""What the engine's container does before it is told to end: let the speaker drain.

All containers of a pod are told to end at the same moment. The engine has to outlive the last route
that the speaker takes back.
"""

import time
from pathlib import Path

from engine.folder import DRAINED, WANTED

LOOKS_EVERY = 0.05


def wait_until_drained(folder: Path, within: float) -> bool:
    """Return whether the engine may end: the speaker has drained, or wants no engine at all."""
    until = time.monotonic() + within
    while not _may_end(folder):
        if time.monotonic() >= until:
            return False
        time.sleep(LOOKS_EVERY)
    return True


def _may_end(folder: Path) -> bool:
    return (folder / DRAINED).exists() or not (folder / WANTED).exists()
