"""A whole datagram: label, encryption, CRC, compression and compound around the messages.

message or compound -> [compress] -> [CRC] -> [AES-GCM] -> [label]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gossip.wire import body, compound, compress, crypto, label
from gossip.wire import crc as crc_header
from gossip.wire.body import IntForm
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import Message, MessageType

MAX_DATAGRAM_PLAIN = 64 * 1024
"""Bytes that one datagram may decompress to, all its parts together."""
MAX_STREAM = 8 * 1024 * 1024
"""Bytes of a stream, as received and decompressed; Go allows 20 MiB; 5,000 nodes need one."""
MIN_COMPRESSED = 96
"""Shorter datagrams are not tried: pings, acks and accusations never shrink, and trying is dear."""
MAX_DEPTH = 3
"""Compounds and compress wrappers inside each other; Go's own packets have two."""
MAX_MESSAGES = 512
"""Messages taken from one datagram; a full one of real messages has about 150."""
_WRAPPERS = (MessageType.COMPOUND, MessageType.COMPRESS)


@dataclass(frozen=True, slots=True)
class WireConfig:
    """What all members of a cluster have set alike; nothing of it is negotiated."""

    label: bytes = b""
    compress: bool = True
    encryption_version: int = 1
    verify_incoming: bool = True
    verify_outgoing: bool = True
    ints: IntForm = IntForm.V2
    max_datagram_plain: int = MAX_DATAGRAM_PLAIN
    max_stream: int = MAX_STREAM

    def __post_init__(self) -> None:
        label.check(self.label)
        if self.encryption_version not in (0, 1):
            raise ValueError("the encryption version is 0 or 1")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a datagram held: messages, why others were refused, and the key that opened it."""

    messages: tuple[Message, ...]
    refusals: tuple[Refusal, ...]
    key: bytes | None = field(default=None, repr=False)


class PacketCodec:
    """Seals and opens datagrams under one configuration; the key ring may change meanwhile."""

    def __init__(self, config: WireConfig, keyring: Keyring | None) -> None:
        self._config = config
        self._keyring = keyring

    def budget(self, udp_buffer_size: int) -> int:
        """Bytes for messages in a datagram, where each message costs 2 more than its length."""
        spent = compound.OVERHEAD + label.overhead(self._config.label)
        if self._keyring and self._config.verify_outgoing:
            spent += crypto.overhead(self._config.encryption_version)
        return udp_buffer_size - spent

    def seal(
        self,
        parts: Sequence[bytes],
        *,
        crc: bool,
        nonce: Callable[[], bytes],
        key: bytes | None = None,
    ) -> bytes:
        """Make a datagram of encoded messages: one goes bare, several as a compound.

        `nonce` gives 12 fresh bytes a call; `key` is one that need not be the primary. ValueError
        for no parts, or too many.
        """
        data = parts[0] if len(parts) == 1 and parts[0] else _join(parts)
        if self._config.compress and len(data) >= MIN_COMPRESSED:
            wrapped = compress.wrap(data)
            data = wrapped if len(wrapped) < len(data) else data
        if crc:
            data = crc_header.add(data)
        config = self._config
        if self._keyring and config.verify_outgoing:
            key = key or self._keyring.primary
            data = crypto.seal(key, data, config.label, nonce(), config.encryption_version)
        return label.add(config.label, data) if config.label else data

    def open(self, data: bytes) -> Opened:
        """Take a datagram apart; WireError only where nothing of it is usable."""
        plain, key = self._decrypt(label.strip(data, self._config.label))
        if plain and plain[0] == MessageType.HAS_CRC:
            plain = crc_header.strip(plain)
        if plain and plain[0] not in _WRAPPERS:
            return Opened((body.decode(plain),), (), key)
        unwrapper = _Unwrapper(self._config.max_datagram_plain)
        unwrapper.take(plain, MAX_DEPTH)
        if unwrapper.refusals and not unwrapper.messages:
            raise WireError(unwrapper.refusals[0])
        return Opened(tuple(unwrapper.messages), tuple(unwrapper.refusals), key)

    def _decrypt(self, data: memoryview) -> tuple[memoryview, bytes | None]:
        if self._keyring is None:
            return data, None
        try:
            plain, key = crypto.open_sealed(self._keyring, data, self._config.label)
        except WireError as error:
            if not self._config.verify_incoming:
                return data, None
            raise WireError(_why_unopened(data, error.reason)) from None
        return memoryview(plain), key


def _join(parts: Sequence[bytes]) -> bytes:
    if not parts or not all(parts):
        raise ValueError("a datagram needs messages")
    return compound.pack(parts)


def _why_unopened(data: memoryview, reason: Refusal) -> Refusal:
    """No sealed packet begins with a message type above 1, so that one is plaintext."""
    known = data and data[0] in MessageType.__members__.values()
    return Refusal.NOT_ENCRYPTED if known and reason is Refusal.VERSION else reason


class _Unwrapper:
    """Walks through compounds and compress wrappers with one budget for all of them."""

    def __init__(self, budget: int) -> None:
        self.messages: list[Message] = []
        self.refusals: list[Refusal] = []
        self._budget = budget
        self._seen = 0

    def take(self, data: memoryview, depth: int) -> None:
        """Add what `data` holds to the messages, or why not to the refusals."""
        try:
            self._dispatch(data, depth)
        except WireError as error:
            self.refusals.append(error.reason)

    def _dispatch(self, data: memoryview, depth: int) -> None:
        if not data:
            raise WireError(Refusal.EMPTY)
        if data[0] not in _WRAPPERS:
            self.messages.append(body.decode(data))
            return
        if depth == 0:
            raise WireError(Refusal.NESTED)
        if data[0] == MessageType.COMPRESS:
            self._decompress(data, depth)
        else:
            self._split(data, depth)

    def _decompress(self, data: memoryview, depth: int) -> None:
        plain = compress.unwrap(data, self._budget)
        self._budget -= len(plain)
        self.take(memoryview(plain), depth - 1)

    def _split(self, data: memoryview, depth: int) -> None:
        parts, truncated = compound.unpack(data)
        for part in parts:
            self._seen += 1
            if self._seen > MAX_MESSAGES:
                raise WireError(Refusal.TOO_LONG)
            self.take(part, depth - 1)
        self.refusals.extend([Refusal.TRUNCATED] * truncated)
