"""Profiles of BFD as lines of bfdd. Every value is typed, as the engine has no way back. Pure."""

from collections.abc import Iterable, Iterator

from bgp.tree import Block
from bgp.words import number, profile
from kube.peering import Profile

INTERVAL, MULTIPLIER, ECHO_INTERVAL, MINIMUM_TTL = 300, 3, 50, 254
"""What the engine takes where nobody says another; milliseconds, packets, hops."""
_BOUNDS = 10, 60_000
"""Milliseconds that the engine takes."""


def put_profiles(root: Block, profiles: Iterable[Profile]) -> None:
    """Add the profiles. Raises `LineError`."""
    bfd = root.put("bfd")
    for each in profiles:
        block = bfd.put(f"profile {profile(each.name)}")
        for line in _lines(each):
            block.put(line)


def _lines(wanted: Profile) -> Iterator[str]:
    def interval(field: str, value: int | None, otherwise: int) -> str:
        return number(owner, field, otherwise if value is None else value, *_BOUNDS)

    owner = f"BFDProfile {wanted.name}"
    yield f"receive-interval {interval('receiveInterval', wanted.receive, INTERVAL)}"
    yield f"transmit-interval {interval('transmitInterval', wanted.transmit, INTERVAL)}"
    multiplier = MULTIPLIER if wanted.multiplier is None else wanted.multiplier
    yield f"detect-multiplier {number(owner, 'detectMultiplier', multiplier, 2, 255)}"
    yield "echo-mode" if wanted.echo else "no echo-mode"
    echo = interval("echoInterval", wanted.echo_interval, ECHO_INTERVAL)
    yield f"echo transmit-interval {echo}"
    yield f"echo receive-interval {echo}"
    yield "passive-mode" if wanted.passive else "no passive-mode"
    ttl = MINIMUM_TTL if wanted.minimum_ttl is None else wanted.minimum_ttl
    yield f"minimum-ttl {number(owner, 'minimumTtl', ttl, 1, 254)}"
