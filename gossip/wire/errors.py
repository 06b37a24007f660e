"""Why bytes from the network are refused, and the one exception that says so."""

from enum import StrEnum


class Refusal(StrEnum):
    """The reason a packet, a stream or one message of a packet is not taken."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    UNKNOWN_TYPE = "unknown_type"
    BAD_BODY = "bad_body"
    BAD_CRC = "bad_crc"
    LABEL = "label"
    VERSION = "version"
    DECRYPT = "decrypt"
    NOT_ENCRYPTED = "not_encrypted"
    """Plaintext, where encryption is configured."""
    ENCRYPTED = "encrypted"
    """An encrypted stream without a key ring here; on UDP it cannot be told from a bad body."""
    COMPRESSION = "compression"
    NESTED = "nested"
    TOO_LONG = "too_long"
    SOURCE = "source"
    """From an address outside of the allowed networks; its bytes are not looked at."""


class WireError(Exception):
    """The only exception that decoders raise; it never quotes the bytes it refuses."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
