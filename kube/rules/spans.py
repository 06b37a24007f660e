"""The ranges of a pool, as the rules that compare them with prefixes need them. Pure."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range

from kube.address import Range, parse_range
from kube.objects.metallb import IPAddressPool

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=65_536)
def read(text: str) -> Range | str:
    """Remember ranges: the same pools are read again for every object that is judged."""
    return parse_range(text)


def spans(pool: IPAddressPool) -> Iterator[Range]:
    """Return the ranges of a pool; an entry that cannot be read has none."""
    for text in pool.addresses:
        if isinstance(span := read(text), Range):
            yield span


def versions(pool: IPAddressPool) -> frozenset[int]:
    """Return the IP versions of which the pool has addresses."""
    return frozenset(span.version for span in spans(pool))


def networks(span: Range) -> Iterator[Network]:
    """Split a range into the fewest networks, ascending."""
    if span.version == 4:
        return summarize_address_range(IPv4Address(span.first), IPv4Address(span.last))
    return summarize_address_range(IPv6Address(span.first), IPv6Address(span.last))
