"""The pools as this speaker reads them, and how many of their addresses services have."""

from collections import Counter
from collections.abc import Iterator

from link.address import IPAddress
from process.local.answer import LocalAnswer, LocalRow
from speaker.inquiry.sight import Sight

POOL_COLUMNS = ("pool", "addresses", "used")
MOST = 2**63 - 1
"""Of addresses: a pool of IPv6 may have more than a number of JSON's readers."""
AT_ONCE = 500
"""Services between two rests."""


def answer(sight: Sight, after: str) -> LocalAnswer:
    """Return the pools after this one, by name."""
    return LocalAnswer(_rows(sight, after), POOL_COLUMNS)


def _rows(sight: Sight, after: str) -> Iterator[LocalRow | None]:
    snapshot = sight.configuration.snapshot
    config = None if snapshot is None else snapshot.config
    if config is None:
        return
    sizes, used = Counter[str](), Counter[str]()
    for span, pool in config.ranges:
        sizes[pool] += span.last - span.first + 1
    seen = set[IPAddress]()
    for number, ips in enumerate(_in_use(sight), 1):
        for ip in ips:
            pool_of = None if ip in seen else config.pool_of(ip)
            seen.add(ip)
            if pool_of is not None:
                used[pool_of] += 1
        if number % AT_ONCE == 0:
            yield None
    for pool in sorted(sizes):
        if pool > after:
            yield LocalRow((pool, min(sizes[pool], MOST), used[pool]), pool)


def _in_use(sight: Sight) -> Iterator[tuple[IPAddress, ...]]:
    """Yield the IPs of each service; a service of both modes comes twice."""
    for plan in list(sight.core.plans().values()):
        yield plan.ips
    for ips in list(sight.routing.announced().values()):
        yield tuple(ips)
