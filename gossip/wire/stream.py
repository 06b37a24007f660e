"""A whole TCP request or reply: label, encryption frame and compression around one message.

    message -> [compress] -> [0a | length u32 | AES-GCM] -> [label, by the dialler only]

The acceptor's reply has no label header, and yet the label is authenticated with it.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from gossip.wire import compress, crypto, label
from gossip.wire.bites import BITE, Bites, at_once
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import Message, MessageType
from gossip.wire.packet import WireConfig
from gossip.wire.streambody import ON_STREAM, BodyScanner, decoding_stream, encoding_stream

_FRAME = struct.Struct("!BI")


class StreamMessage(NamedTuple):
    """The message of a request or a reply, and the key that it was sealed with, if any."""

    message: Message
    key: bytes | None

    def __repr__(self) -> str:
        return f"StreamMessage({type(self.message).__name__})"


class StreamCodec:
    """Seals and opens requests and replies; `accepting` is true where the peer dialled us."""

    def __init__(self, config: WireConfig, keyring: Keyring | None) -> None:
        self._config = config
        self._keyring = keyring

    @property
    def max_stream(self) -> int:
        """Bytes of a request or reply, at most."""
        return self._config.max_stream

    def seal(
        self,
        message: Message,
        *,
        dialer: bool,
        nonce: Callable[[], bytes],
        key: bytes | None = None,
    ) -> bytes:
        """Make a request (`dialer`) or a reply; ValueError for what must not be sent.

        `key` is one that need not be the primary.
        """
        return at_once(self.sealing(message, dialer=dialer, nonce=nonce, key=key))

    def sealing(
        self,
        message: Message,
        *,
        dialer: bool,
        nonce: Callable[[], bytes],
        key: bytes | None = None,
    ) -> Bites[bytes]:
        """Make a request or a reply in bites; key and nonce are those of now."""
        if self._keyring and self._config.verify_outgoing:
            return self._sealing(message, dialer, key or self._keyring.primary, nonce())
        return self._sealing(message, dialer, None, b"")

    def _sealing(
        self, message: Message, dialer: bool, key: bytes | None, nonce: bytes
    ) -> Bites[bytes]:
        config = self._config
        data = yield from encoding_stream(message, config.ints)
        if config.compress:
            data = yield from compress.wrapping(data)
        if key is not None:
            data = self._frame(key, data, nonce)
        if len(data) > config.max_stream:
            raise ValueError(f"a stream of {len(data)} bytes, more than {config.max_stream}")
        return label.add(config.label, data) if dialer else data

    def reader(self, *, accepting: bool) -> "StreamReader":
        """Begin to read a request or a reply piece by piece."""
        return StreamReader(self, accepting=accepting)

    def length(self, buffer: bytes, *, accepting: bool) -> int | None:
        """Say how long the request or reply beginning in `buffer` is; None means read on.

        Reads the buffer anew each time: for pieces of a long stream take `reader`.
        """
        reader = self.reader(accepting=accepting)
        reader.feed(buffer)
        return reader.length

    def open(self, data: bytes | memoryview, *, accepting: bool) -> Message:
        """Take a whole request or reply apart; WireError if it is refused."""
        return self.open_keyed(data, accepting=accepting)[0]

    def open_keyed(self, data: bytes | memoryview, *, accepting: bool) -> StreamMessage:
        """Do as `open`, and say which key it was sealed with; None where it was not."""
        return at_once(self.opening(data, accepting=accepting))

    def opening(self, data: bytes | memoryview, *, accepting: bool) -> Bites[StreamMessage]:
        """Do as `open_keyed`, in bites, of which the first one takes little memory.

        Raises WireError.
        """
        if len(data) > BITE:
            yield
        plain: bytes | memoryview = label.strip(data, self.expected_label(accepting))
        key = None
        if not plain:
            raise WireError(Refusal.EMPTY)
        self.check_type(plain[0])
        if plain[0] == MessageType.ENCRYPT:
            plain, key = self._unframe(memoryview(plain))
        if plain[0] == MessageType.COMPRESS:
            plain = yield from compress.unwrapping(plain, self._config.max_stream)
        return StreamMessage((yield from decoding_stream(plain, self._config.max_stream)), key)

    def expected_label(self, accepting: bool) -> bytes:
        """Only what a dialler sends bears the label."""
        return self._config.label if accepting else b""

    def check_type(self, kind: int) -> None:
        """Raise WireError for a first byte that the configuration, or any stream, rules out."""
        if kind == MessageType.ENCRYPT:
            if self._keyring is None:
                raise WireError(Refusal.ENCRYPTED)
            return
        if kind not in ON_STREAM:
            raise WireError(Refusal.UNKNOWN_TYPE)
        if self._keyring is not None and self._config.verify_incoming:
            raise WireError(Refusal.NOT_ENCRYPTED)

    def frame_length(self, start: bytes | memoryview) -> int | None:
        """Read the whole length of an encrypted frame from its first five bytes, once here.

        Raises WireError.
        """
        if len(start) < _FRAME.size:
            return None
        length: int = _FRAME.unpack_from(start)[1]
        if length > self._config.max_stream:
            raise WireError(Refusal.TOO_LONG)
        if length <= crypto.overhead(version=1):
            raise WireError(Refusal.TRUNCATED)
        return _FRAME.size + length

    def _frame(self, key: bytes, plain: bytes, nonce: bytes) -> bytes:
        version = self._config.encryption_version
        head = _FRAME.pack(MessageType.ENCRYPT, crypto.sealed_length(len(plain), version))
        return head + crypto.seal(key, plain, head + self._config.label, nonce, version)

    def _unframe(self, data: memoryview) -> tuple[bytes, bytes]:
        length = self.frame_length(data)
        if length is None or length > len(data) or self._keyring is None:
            raise WireError(Refusal.TRUNCATED)
        aad = bytes(data[: _FRAME.size]) + self._config.label
        return crypto.open_sealed(self._keyring, data[_FRAME.size : length], aad)


class StreamReader:
    """Gathers the pieces of one request or reply; each byte is looked at once."""

    def __init__(self, codec: StreamCodec, *, accepting: bool) -> None:
        self.length: int | None = None
        self._codec = codec
        self._accepting = accepting
        self._buffer = bytearray()
        self._scanner: BodyScanner | None = None
        self._body = 0
        self._scanned = 0

    def feed(self, data: bytes) -> bool:
        """Take the next piece; true once the whole request or reply is here.

        WireError as soon as it can never become valid, or grows beyond the limits.
        """
        self._buffer += data
        if self.length is None:
            self.length = self._find_length()
        if (self.length or len(self._buffer)) > self._codec.max_stream + 2 + label.MAX_LABEL + 5:
            raise WireError(Refusal.TOO_LONG)
        return self.length is not None and len(self._buffer) >= self.length

    @property
    def held(self) -> int:
        """Bytes that this stream keeps in memory, those that only the scanner waits with too."""
        return len(self._buffer) + (self._scanner.waiting if self._scanner else 0)

    def gathered(self) -> memoryview:
        """Return what has come, without what may follow the message; not a copy of it.

        It is the end of this reader, which keeps no more than that: `feed` must not follow.
        """
        self._scanner = None
        return memoryview(self._buffer)[: self.length]

    def message(self) -> Message:
        """Open what has been gathered; call it once `feed` has said true."""
        return self._codec.open(self.gathered(), accepting=self._accepting)

    def _find_length(self) -> int | None:
        if self._scanner is None:
            start = label.measure(self._buffer, self._codec.expected_label(self._accepting))
            if start is None or len(self._buffer) <= start:
                return None
            kind = self._buffer[start]
            self._codec.check_type(kind)
            if kind == MessageType.ENCRYPT:
                length = self._codec.frame_length(bytes(self._buffer[start : start + _FRAME.size]))
                return None if length is None else start + length
            self._scanner = BodyScanner(kind, self._codec.max_stream)
            self._body = self._scanned = start + 1
        fresh = bytes(self._buffer[self._scanned :])
        self._scanned = len(self._buffer)
        length = self._scanner.feed(fresh)
        return None if length is None else self._body + length
