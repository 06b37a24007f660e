"""Host names to join through, looked up by whatever resolver the application has. No I/O itself."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from gossip.io import Address

MAX_ADDRESSES = 64
"""Of one name: each is dialled, so a resolver must not be able to make us dial a network."""

Resolver = Callable[[str, int], Awaitable[Iterable[str]]]
"""Gives the IPs of a host, A and AAAA alike; OSError or UnicodeError where it cannot."""


@dataclass(frozen=True, slots=True)
class Found:
    """Every address of every name, each once, in order; and why some names gave none."""

    addresses: tuple[Address, ...]
    failures: tuple[tuple[str, str], ...]


async def look_up(seeds: Iterable[tuple[str, int]], resolve: Resolver) -> Found:
    """Resolve (host, port) pairs. All addresses count: any of them may be the one that lives."""
    addresses: dict[Address, None] = {}
    failures = []
    for host, port in seeds:
        try:
            ips = list(await resolve(host, port))
        except (OSError, UnicodeError) as error:
            # UnicodeError: a name that no DNS message could carry.
            failures.append((host, getattr(error, "strerror", None) or str(error)))
            continue
        addresses |= dict.fromkeys(Address(ip, port) for ip in ips[:MAX_ADDRESSES])
    return Found(tuple(addresses), tuple(failures))
