"""The settings that are to be the same on all nodes, as a metric shows them. Pure."""

from dataclasses import fields
from hashlib import sha256

from speaker.settings import Settings

LONGEST = 64
"""Characters of a value that are shown: a class has any name that its operator likes."""


def agreed(settings: Settings) -> dict[str, str]:
    """Return the values by setting; what is secret or of one node is not among them."""
    found = {
        "metallb_release": settings.release.value,
        "failover_after": f"{settings.failover_after:g}s" if settings.failover_after else "off",
        "quorum": settings.quorum.value,
        "lb_class": settings.lb_class or "",
        "ignore_exclude_lb": _word(settings.ignore_exclude_lb),
        "drain_on_cordon": _word(settings.drain_on_cordon),
        "bgp_fast_failover": _word(settings.bgp_fast_failover),
        "gossip_encrypted": _word(settings.secret.key is not None),
        "gossip": _gossip(settings),
    }
    return {name: value[:LONGEST] for name, value in found.items()}


def _word(on: bool) -> str:
    return "true" if on else "false"


def _gossip(settings: Settings) -> str:
    """Tell one set of memberlist's numbers from another."""
    numbers = [
        f"{each.name}={getattr(settings.gossip, each.name)!r}" for each in fields(settings.gossip)
    ]
    return sha256(" ".join(numbers).encode()).hexdigest()[:8]
