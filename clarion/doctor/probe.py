"""Questions in gossip's own language: a short ping, and one of full length. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gossip.wire import body
from gossip.wire.crypto import Keyring
from gossip.wire.errors import WireError
from gossip.wire.messages import Ack, Ping
from gossip.wire.packet import PacketCodec, WireConfig
from gossip.wire.stream import StreamCodec, StreamReader

PADDING_SEQ_NO = 0xFFFF_FFFE
"""Of an ack that answers nothing: who gets it drops it without a word, whatever it carries."""
Bytes = Callable[[int], bytes]
"""Gives so many fresh random bytes."""


@dataclass(frozen=True)
class GossipProbe:
    """One ping to one node, by its name; what seals it is ours or nothing."""

    node: str
    seq_no: int
    keyring: Keyring | None
    fresh: Bytes
    wire: WireConfig = field(default_factory=WireConfig)

    def datagram(self) -> bytes:
        """Return a ping alone."""
        return self._sealed([self._ping()])

    def full_datagram(self, length: int) -> bytes:
        """Return a ping in a datagram of this length: what is random does not compress."""
        ping, size = self._ping(), 0
        # The second round knows what the heads cost.
        for _ in range(3):
            padding = body.encode(Ack(PADDING_SEQ_NO, self.fresh(size)))
            made = self._sealed([ping, padding])
            if len(made) == length:
                break
            size = max(0, size + length - len(made))
        return made

    def request(self) -> bytes:
        """Return a ping over TCP."""
        message = Ping(self.node, self.seq_no)
        return self._streams().seal(message, dialer=True, nonce=self._nonce)

    def reader(self) -> StreamReader:
        """Return what gathers the answer to `request`."""
        return self._streams().reader(accepting=False)

    def is_answer(self, data: bytes) -> bool:
        """Tell whether a datagram answers the ping."""
        try:
            opened = PacketCodec(self.wire, self.keyring).open(data)
        except WireError:
            return False
        return any(self.answers(message) for message in opened.messages)

    def answers(self, message: object) -> bool:
        """Tell whether a message answers the ping."""
        return isinstance(message, Ack) and message.seq_no == self.seq_no

    def _ping(self) -> bytes:
        return body.encode(Ping(self.node, self.seq_no))

    def _sealed(self, parts: list[bytes]) -> bytes:
        codec = PacketCodec(self.wire, self.keyring)
        return codec.seal(parts, crc=False, nonce=self._nonce)

    def _streams(self) -> StreamCodec:
        return StreamCodec(self.wire, self.keyring)

    def _nonce(self) -> bytes:
        return self.fresh(12)
