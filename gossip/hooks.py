"""What an application may decide and hear inside the protocol: memberlist's delegates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossip.io import Address
    from gossip.wire.messages import Alive, PushPull


def _merge_all(message: "PushPull", peer: "Address") -> bool:
    return True


def _admit_all(message: "Alive") -> bool:
    return True


def _foreign(meta: bytes) -> bool:
    return False


def _hear_nothing(name: str, rtt: float, payload: bytes) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Called within the core: each returns at once and never raises.

    `may_merge(message, peer)` may refuse the whole of a push/pull, in either role. Gossip is not
    asked, so a peer refused here can still be heard of: `may_live(message)` may refuse an alive
    message, however it came. `pinged(name, rtt, payload)` hears of each directly answered probe:
    the round trip in seconds, and what the peer's ack carried (see `Swim.set_ack_payload`).
    `of_our_kind(meta)` tells nodes whose incarnations follow the clock by their Meta: of those none
    is believed that is ahead of what the clock allows (see `calendar`).
    """

    may_merge: Callable[["PushPull", "Address"], bool] = _merge_all
    may_live: Callable[["Alive"], bool] = _admit_all
    pinged: Callable[[str, float, bytes], None] = _hear_nothing
    of_our_kind: Callable[[bytes], bool] = _foreign
