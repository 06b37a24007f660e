"""The Internet checksum (RFC 1071), alone and over the pseudo-header of IPv6 (RFC 8200 8.1)."""

ICMPV6 = 58


def internet_checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """Return the ICMPv6 checksum of `message`, whose own checksum field must be zero.

    `source` and `destination` are packed addresses (16 bytes). The result is 0 for a message that
    carries its right checksum, which is how a received one is verified.
    """
    # 2**16 is 1 modulo 2**16 - 1, so the remainder of the whole number is the ones' complement sum
    # of its 16-bit words: one division in C in place of a loop.
    padded = message + b"\0" * (len(message) % 2)
    total = int.from_bytes(source + destination + padded, "big") + len(message) + ICMPV6
    return -total % 0xFFFF


def checksum(message: bytes) -> int:
    """Return the checksum of `message`, as ICMP for IPv4 has it; 0 for one that carries its own."""
    return -int.from_bytes(message + b"\0" * (len(message) % 2), "big") % 0xFFFF
