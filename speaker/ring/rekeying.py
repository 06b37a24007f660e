"""Whether a changed secret is a new key (pure).

Somebody may be writing the file while we read it, and half a secret is a key, too: MetalLB's
derivation makes one of a single byte, which anybody can guess.
"""

from enum import Enum, StrEnum, auto

from speaker.settings import SHORT_SECRET, GossipSecret


class SecretRefusal(StrEnum):
    """Why a changed secret file gave no new key."""

    UNREADABLE = "unreadable"
    SHORT = "short"
    SAME_KEY = "same_key"
    """Other bytes, but the same key: only the first 32 count."""


class Look(Enum):
    """What one look at the file brought, where nothing is refused."""

    NOTHING_NEW = auto()
    UNSETTLED = auto()
    """Another secret than at the last look: it counts if the next one finds it, too."""
    NEW_KEY = auto()


class Rekeying:
    """Judges each secret once, when two looks in a row have found it."""

    def __init__(self, current: GossipSecret) -> None:
        self._current = current
        self._judged = current
        self._seen: GossipSecret | None = None

    def read(self, found: GossipSecret) -> Look | SecretRefusal:
        """Take what a look has found; NEW_KEY makes it the current one."""
        seen, self._seen = self._seen, found
        if found == self._judged:
            return Look.NOTHING_NEW
        if found != seen:
            return Look.UNSETTLED
        self._judged = found
        return self._judge(found)

    def note_failure(self) -> None:
        """Note a look that found no secret: the two that agree have to follow each other."""
        self._seen = None

    def _judge(self, found: GossipSecret) -> Look | SecretRefusal:
        if found == self._current:
            return Look.NOTHING_NEW
        if found.length < SHORT_SECRET:
            return SecretRefusal.SHORT
        same = found.key == self._current.key
        self._current = found
        return SecretRefusal.SAME_KEY if same else Look.NEW_KEY
