"""What has changed since the last turn, and what began it: all that the daemon's turn looks at."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """Written by whoever takes news; `wake` then has the daemon bring announcements in line."""

    wake: Callable[[], None]
    dirty: dict[str, str] = field(default_factory=dict)
    """Services whose announcements may have to change, and why."""
    members: bool = True
    """Whether who is there, or what a member says of itself, may have changed."""
    cause: str = "start"
    """What began the last change, for the reason of a move."""
