"""Messages on their way out: encoded, piggy-backed, sealed, and drained by the driver."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gossip.broadcast import BroadcastQueue, retransmit_limit
from gossip.config import MAX_UDP
from gossip.io import Address, Datagram, Dial, Transmit
from gossip.keys import PeerKeys
from gossip.member import CRC_VERSION, Member
from gossip.wire import crc
from gossip.wire.bites import Bites, Deferred
from gossip.wire.body import encode
from gossip.wire.compound import MAX_PARTS
from gossip.wire.messages import TYPES, Message, MessageType
from gossip.wire.packet import PacketCodec
from gossip.wire.stream import StreamCodec

if TYPE_CHECKING:
    from gossip.config import Config
    from gossip.stats import Stats
    from gossip.table import Table
    from gossip.wire.crypto import Keyring

PART_OVERHEAD = 2
SHOUT_LIMIT = 64
SHOUT_INTERVAL = 0.05
_MAX_QUEUED = 4096
_TYPES = {int(kind): kind for kind in MessageType}


class Outbox:
    """Turns messages into `Datagram` and `Dial`, and owns the broadcast queue."""

    def __init__(
        self,
        config: "Config",
        keyring: "Keyring | None",
        nonce: Callable[[], bytes],
        table: "Table",
        stats: "Stats",
    ) -> None:
        self.packets = PacketCodec(config.wire, keyring)
        self.streams = StreamCodec(config.wire, keyring)
        self.queue = BroadcastQueue(_MAX_QUEUED)
        self.keys = PeerKeys(keyring)
        self._config = config
        self._nonce = nonce
        self._table = table
        self._stats = stats
        longest = min(config.udp_buffer_size, MAX_UDP - crc.OVERHEAD)
        self._budget = self.packets.budget(longest)
        self._waiting: list[Transmit] = []
        self._last_dial = 0
        self._may_shout = float("-inf")

    def drain(self) -> list[Transmit]:
        """Return and forget everything to send."""
        drained, self._waiting = self._waiting, []
        return drained

    def broadcast(self, name: str | None, message: Message) -> None:
        """Queue news about `name` for gossip."""
        self.queue.add(name, self._encode(message))

    def send(self, to: Address, message: Message, *, key: bytes | None = None) -> None:
        """Send one message by UDP with as much waiting news as fits behind it.

        An answer takes the `key` in which we were asked. No CRC: memberlist looks such a peer up by
        its IP and so knows no version of it.
        """
        part = self._encode(message)
        news = self._take(self._budget - len(part), MAX_PARTS - 1)
        self._emit(to, [part, *news], crc=False, key=key)

    def send_to_member(self, member: Member, *messages: Message) -> None:
        """Send exactly these messages in one packet, with a CRC where the peer knows it."""
        parts = [self._encode(message) for message in messages]
        self._emit(member.address, parts, crc=member.protocol_max >= CRC_VERSION)

    def send_sealed_with(self, key: bytes, to: Address, message: Message) -> None:
        """Send one message alone by UDP, sealed with a key that need not be the one in use."""
        self._emit(to, [self._encode(message)], crc=False, key=key)

    def send_all(self, member: Member, messages: Sequence[Message]) -> None:
        """Send exactly these messages in as few packets as they fit into."""
        waiting, left = list[Message](), self._budget
        for message in messages:
            size = len(self._encode(message)) + PART_OVERHEAD
            if waiting and (size > left or len(waiting) == MAX_PARTS):
                self.send_to_member(member, *waiting)
                waiting, left = [], self._budget
            waiting.append(message)
            left -= size
        if waiting:
            self.send_to_member(member, *waiting)

    def gossip(self, member: Member) -> bool:
        """Send one packet of waiting news; false when there was none."""
        parts = self._take(self._budget)
        if parts:
            self._emit(member.address, parts, crc=member.protocol_max >= CRC_VERSION)
        return bool(parts)

    def shout(self, message: Message, now: float, *, always: bool = False) -> None:
        """Send a message straight to all living peers, to random ones of them above the limit.

        At most once per `SHOUT_INTERVAL`, so that accusations cannot be used to flood others;
        the queue carries the news in any case.
        """
        if now < self._may_shout and not always:
            return
        self._may_shout = now + SHOUT_INTERVAL
        self.tell(self._table.pick(SHOUT_LIMIT, _living_peer), message)

    def tell(self, members: Sequence[Member], message: Message) -> None:
        """Send a message straight to each of `members`."""
        for member in members:
            self.send_to_member(member, message)

    def dial(
        self,
        to: Address,
        message: Message,
        timeout: float,
        *,
        reply: bool = True,
        key: bytes | None = None,
    ) -> int:
        """Ask for a TCP conversation; gives the id that its reply comes back with."""
        self._last_dial += 1
        key = key or self.keys.of(to)
        sealing = self.streams.sealing(message, dialer=True, nonce=self._nonce, key=key)
        self._stats.sent[TYPES[type(message)]] += 1
        self._waiting.append(Dial(self._last_dial, Deferred(sealing), to, timeout, reply))
        return self._last_dial

    def reply(self, message: Message, key: bytes | None = None) -> Bites[bytes]:
        """Encode the answer within an accepted TCP conversation, in the key of the question."""
        self._stats.sent[TYPES[type(message)]] += 1
        return self.streams.sealing(message, dialer=False, nonce=self._nonce, key=key)

    def _encode(self, message: Message) -> bytes:
        return encode(message, self._config.wire.ints)

    def _take(self, budget: int, most: int = MAX_PARTS) -> list[bytes]:
        if not self.queue:
            return []
        limit = retransmit_limit(self._config.retransmit_mult, len(self._table))
        return self.queue.take(PART_OVERHEAD, budget, limit, most)

    def _emit(
        self, to: Address, parts: list[bytes], *, crc: bool, key: bytes | None = None
    ) -> None:
        data = self.packets.seal(parts, crc=crc, nonce=self._nonce, key=key or self.keys.of(to))
        for part in parts:
            self._stats.sent[_TYPES[part[0]]] += 1
        self._stats.datagrams_sent += 1
        self._stats.bytes_sent += len(data)
        self._waiting.append(Datagram(data, to))


def _living_peer(member: Member) -> bool:
    return member.living and not member.own
