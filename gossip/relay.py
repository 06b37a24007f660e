"""Pinging for others: the helper's side of an indirect ping."""

from dataclasses import dataclass, field

from gossip.core import Core
from gossip.io import Address
from gossip.wire.messages import Ack, IndirectPing, Nack, Ping

MAX_RELAYS = 256
NACK_AT = 0.8
"""Share of the probe timeout after which a helper nacks.

memberlist nacks after all of it, which is just too late for the asker's own deadline.
"""


@dataclass(slots=True)
class _Relay:
    requester: Address
    sequence: int
    key: bytes | None = field(repr=False)
    nack_at: float | None
    expires: float


class Relays:
    """The pings under way for others, by the SeqNo we gave them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._relays: dict[int, _Relay] = {}

    def deadline(self) -> float | None:
        """When the next nack or expiry is due."""
        return (
            min(
                (relay.expires if relay.nack_at is None else relay.nack_at)
                for relay in self._relays.values()
            )
            if self._relays
            else None
        )

    def full(self) -> bool:
        """No more pings for others until some are over."""
        return len(self._relays) >= MAX_RELAYS

    def begin(
        self,
        request: IndirectPing,
        target: Address,
        requester: Address,
        key: bytes | None,
        now: float,
    ) -> None:
        """Ping `target`, and remember who wants to know, and in which key it asked."""
        timeout = self._core.config.probe_timeout
        sequence = self._core.next_sequence()
        nack_at = now + NACK_AT * timeout if request.nack else None
        self._relays[sequence] = _Relay(requester, request.seq_no, key, nack_at, now + timeout)
        own = self._core.table.own
        ping = Ping(request.node, sequence, own.addr, own.name, own.port)
        self._core.outbox.send(target, ping)

    def handle_ack(self, ack: Ack, now: float) -> bool:
        """Pass an ack on to who asked; false when it is not of ours."""
        relay = self._relays.pop(ack.seq_no, None)
        if relay is None:
            return False
        self._core.outbox.send(relay.requester, Ack(relay.sequence), key=relay.key)
        return True

    def handle_timeout(self, now: float) -> None:
        """Send the nacks that are due and forget what is over."""
        if not self._relays:
            return
        for sequence, relay in list(self._relays.items()):
            if relay.nack_at is not None and now >= relay.nack_at:
                relay.nack_at = None
                self._core.outbox.send(relay.requester, Nack(relay.sequence), key=relay.key)
            if now >= relay.expires:
                del self._relays[sequence]
