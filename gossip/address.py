"""IP addresses as the wire carries them (4 or 16 raw bytes) and as text."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_CACHED = 4096
_MAPPED = bytes(10) + b"\xff\xff"
"""RFC 4291 section 2.5.5.2."""


@lru_cache(maxsize=_CACHED)
def to_bytes(ip: str) -> bytes:
    """Return the raw 4 or 16 bytes of `ip`; ValueError when it is no IP address."""
    return ip_address(ip).packed


@lru_cache(maxsize=_CACHED)
def to_text(raw: bytes) -> str | None:
    """Return the text to open a socket with, or None when `raw` is no 4 or 16 bytes.

    A v4-mapped IPv6 address becomes plain IPv4: Go nodes bound to 0.0.0.0 advertise that form.
    """
    if len(raw) == 4:
        return str(IPv4Address(raw))
    if len(raw) != 16:
        return None
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def unmapped(raw: bytes) -> bytes:
    """Return the 4 bytes of a v4-mapped IPv6 address, any other address as it is."""
    return raw[len(_MAPPED) :] if len(raw) == 16 and raw.startswith(_MAPPED) else raw


@lru_cache(maxsize=_CACHED)
def allowed(ip: str, networks: tuple[Network, ...] | None) -> bool:
    """Tell whether `ip` lies in one of `networks`; None allows every address, () none."""
    if networks is None:
        return True
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in networks)
