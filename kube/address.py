"""IP addresses and address ranges, read as MetalLB (Go's net package) reads them."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

IPAddress = IPv4Address | IPv6Address
"""As in `link.address`: said a second time, because kube imports nothing of ours."""

MAX_TEXT = 100
_MAPPED_BITS = 96


class Range(NamedTuple):
    """Addresses from `first` to `last`, both included, as integers of IP version 4 or 6."""

    version: int
    first: int
    last: int

    def __contains__(self, address: object) -> bool:
        """Tell if an `IPAddress` lies in the range."""
        return (
            isinstance(address, IPv4Address | IPv6Address)
            and address.version == self.version
            and self.first <= int(address) <= self.last
        )


def parse_ip(text: str) -> IPAddress | None:
    """Read an address, or give None. No zone; a v4-mapped IPv6 address is the IPv4 address.

    So `str` of the result is Go's text of the address, which every speaker hashes.
    """
    if len(text) > MAX_TEXT or "%" in text or not text.isascii():
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def parse_range(text: str) -> Range | str:
    """Read one entry of a pool, `10.0.0.0/24` or `10.0.0.1-10.0.0.9`, or say what is wrong."""
    if "-" in text:
        return _from_to(text)
    return _cidr(text)


def _from_to(text: str) -> Range | str:
    # Blanks may stand around the dash, as MetalLB trims each side.
    start, _, end = (part.strip() for part in text.partition("-"))
    first, last = parse_ip(start), parse_ip(end)
    if first is None or last is None:
        return "is not a range of two IP addresses"
    if first.version != last.version:
        return "mixes IPv4 and IPv6"
    if int(first) > int(last):
        return "is reversed: its start is above its end"
    return Range(first.version, int(first), int(last))


def _cidr(text: str) -> Range | str:
    base, slash, length_text = text.partition("/")
    address = parse_ip(base)
    if not slash:
        hint = f"; write {address}/{address.max_prefixlen}" if address is not None else ""
        return "is neither a CIDR nor a range" + hint
    # `isdecimal` alone would admit the digits of other scripts.
    if address is None or len(length_text) > 3 or not length_text.isascii():
        return "is not a CIDR"
    length = int(length_text) if length_text.isdecimal() else -1
    if ":" in base and address.version == 4:
        length -= _MAPPED_BITS
    if not 0 <= length <= address.max_prefixlen:
        return "has a bad prefix length"
    host = (1 << (address.max_prefixlen - length)) - 1
    first = int(address) & ~host
    return Range(address.version, first, first | host)
