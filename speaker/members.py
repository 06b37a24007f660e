"""What gossip tells: who comes and goes, with whom we had contact, and letters."""

from collections.abc import Callable, Hashable
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from gossip.io import (
    Event,
    Exchanged,
    ExchangeFailed,
    Gone,
    Joined,
    KeyBlocked,
    KeyDropped,
    KeyUsed,
    MemberView,
    NameConflict,
    Recovered,
    Suspected,
    Updated,
    UserMessage,
)
from ownership.ownership import Ownership
from process.logs import Sparing
from speaker.driver import Driver
from speaker.ring.peers import Peers, describe

MOST_PEERS = 256
"""Peers of which it is remembered that their failed exchanges were told. Of more the same may be
told again, as often as `Sparing` lets it: other members say who our peers are."""
_VERSION_HINT = "the ring's delegate versions differ: see CLARION_ML_DELEGATE_VERSION"


class Members:
    """Takes gossip's events and passes on what they mean."""

    def __init__(
        self,
        peers: Peers,
        ownership: Ownership,
        driver: Driver,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._peers = peers
        self._ownership = ownership
        self._driver = driver
        self._clock = clock
        self._log = log
        self._sparing = Sparing(clock)
        self.note: Callable[[MemberView, float], None] = lambda member, now: None
        """Called with each member that comes, is suspected or goes."""
        self._failed_exchanges: dict[str, str] = {}
        """By peer: what was last said of it."""

    def take(self, event: Event) -> None:
        """Take one event. What it raises costs this event; that members changed is not lost."""
        if isinstance(event, UserMessage):
            letter = self._peers.take(event.data)
            if letter is not None:
                self._driver.handle_letter(letter)
            return
        self._ownership.handle_gossip(event, self._clock())
        self._driver.wake()
        self._on_member(event)

    def _on_member(self, event: Event) -> None:
        match event:
            case (
                Joined(member)
                | Gone(member)
                | Suspected(member)
                | Recovered(member)
                | Updated(member)
            ):
                self.note(member, self._clock())
                self._log.info("member", **describe(member))
            case NameConflict(member, claimed):
                self._say("name_conflict", member.name, node=member.name, claimed=claimed.ip)
            case Exchanged(peer):
                self._failed_exchanges.pop(peer.ip, None)
            case ExchangeFailed(peer, reason, _, join):
                self._log_failed_exchange(peer.ip, reason, join)
            case KeyUsed():
                self._peers.note_key_used()
                self._log.info("secret", state="used")
            case KeyDropped(count):
                self._log.info("secret", state="old_dropped", count=count)
            case KeyBlocked(names):
                self._log.warning("secret", state="waiting", unproved=names)

    def _log_failed_exchange(self, peer: str, reason: str, join: bool) -> None:
        """Log the first failure with a peer, and each other reason, but the same not again."""
        # Without what the peer says, if it says something: it may be new each time.
        kind = reason.partition(":")[0]
        if self._failed_exchanges.get(peer) == kind:
            return
        hint = _VERSION_HINT if reason == "incompatible" else None
        about = {"peer": peer, "reason": reason, "join": join, "hint": hint}
        if self._say("exchange_failed", (peer, kind), **about):
            self._failed_exchanges.pop(peer, None)
            self._failed_exchanges[peer] = kind
            if len(self._failed_exchanges) > MOST_PEERS:
                del self._failed_exchanges[next(iter(self._failed_exchanges))]

    def _say(self, event: str, subject: Hashable, **about: Any) -> bool:
        """Warn, but of the same only once a minute; false where nothing was said."""
        left_out = self._sparing.ask((event, subject))
        if left_out is not None:
            self._log.warning(event, more=left_out, **about)
        return left_out is not None
