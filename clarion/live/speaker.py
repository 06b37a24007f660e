"""The running speaker of a node, as the command asks it."""

import os
from collections.abc import Sequence

from clarion.live.explained import Told, read_told
from clarion.looking import NODE
from process.told.asking import RunningSpeaker
from process.told.rows import LiveError


def own_node() -> str:
    """Return the name of the node of this pod, or of the variable; raise LiveError."""
    node = os.environ.get(NODE, "")
    if not node:
        raise LiveError(f"no node: ${NODE} is not set, and no --node was given")
    return node


class LiveSpeaker(RunningSpeaker):
    """One that explains, too."""

    def explain(self, about: str) -> Sequence[Told]:
        """Return rows about an IP or a service; raise LiveError."""
        return read_told(self.explanation(about))
