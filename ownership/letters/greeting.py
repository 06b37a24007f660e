"""Who is told our links, and who is asked for its own: letters of the kind HELLO. Pure."""

from collections.abc import Collection

from ownership.io import Send
from ownership.letters import letters
from ownership.letters.letters import Hello, LetterKind, PeerLink

REFRESH = 60.0
"""A node tells its links to all so often, and whenever they change; one lost is asked for."""
RETRY = 1.0
"""Seconds between questions to those whose links are not known."""
REPEAT, TIMES = 0.3, 3
"""Seconds between the letters of a change, and how many there are: any of them may be lost."""
_NEVER = float("inf")


class Greeting:
    """What this node tells of its links, and whom it still has to ask."""

    def __init__(self, node: str, now: float) -> None:
        self._node = node
        self._links: tuple[PeerLink, ...] = ()
        self._tell_at = _NEVER
        self._left = 0
        self._ask_at = now
        self._strangers: frozenset[str] = frozenset()

    def set_links(self, links: tuple[PeerLink, ...], now: float) -> None:
        """Take our own links; all are told what has changed."""
        if links != self._links:
            self._links = links
            self._tell_at, self._left = now, TIMES

    def set_strangers(self, names: Collection[str], now: float) -> None:
        """Take those whose links are not known; who is new among them is asked at once."""
        strangers = frozenset(names)
        if strangers - self._strangers:
            self._ask_at = min(self._ask_at, now)
        self._strangers = strangers

    def handle_hello(self, sender: str, hello: Hello) -> list[Send]:
        """Somebody has told its links; return the answer, if it asks for ours."""
        self._strangers -= {sender}
        return [self._tell((sender,))] if hello.asks else []

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        return min(self._tell_at, self._ask_at)

    def handle_timeout(self, strangers: tuple[str, ...], now: float) -> list[Send]:
        """Return the letters that are due; `strangers` are those whose links are not known now."""
        due = list[Send]()
        if now >= self._ask_at:
            if strangers:
                due.append(self._tell(strangers, asks=True))
            self._ask_at = now + RETRY if strangers else _NEVER
        if now >= self._tell_at:
            due.append(self._tell(None))
            self._left = max(0, self._left - 1)
            self._tell_at = now + (REPEAT if self._left else REFRESH)
        return due

    def _tell(self, to: tuple[str, ...] | None, asks: bool = False) -> Send:
        return Send(
            LetterKind.HELLO, self._node, letters.encode_hello(Hello(self._links, asks)), to
        )
