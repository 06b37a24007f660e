"""What a node still announces while it drains, and what became of the rest. Pure.

The speakers' own objects say it: ServiceL2Status of the one owner, ServiceBGPStatus of each node
that has routes. A loser of layer 2 deletes its own only once the winner was heard on the wire, and
one that drains by BGP after it has told its peers to turn away; so what is gone was handed over.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from kube.objects.metallb import BGPStatus, L2Status

VERSION = 1
QUIET = 1.0
"""Seconds for which a node has to announce nothing: it may have been elected just before it was
labelled, and say so a moment later."""


class DutyProtocol(StrEnum):
    """How something is announced."""

    LAYER2 = "layer2"
    BGP = "bgp"


@dataclass(frozen=True, slots=True, order=True)
class Duty:
    """One service that a node announces in one way."""

    service: str
    """`namespace/name`."""
    protocol: DutyProtocol


def duties(statuses: Iterable[L2Status | BGPStatus], node: str) -> frozenset[Duty]:
    """Return what the node announces by the objects of all nodes, or of this one."""
    return frozenset(duty(found) for found in statuses if found.node == node)


def duty(found: L2Status | BGPStatus) -> Duty:
    """Return what a status object is of."""
    layer2 = isinstance(found, L2Status)
    return Duty(found.service, DutyProtocol.LAYER2 if layer2 else DutyProtocol.BGP)


def holders(statuses: Iterable[L2Status | BGPStatus]) -> dict[Duty, tuple[str, ...]]:
    """Return which nodes announce what, by name."""
    found: dict[Duty, set[str]] = {}
    for status in statuses:
        found.setdefault(duty(status), set()).add(status.node)
    return {each: tuple(sorted(nodes)) for each, nodes in found.items()}


class DrainWatch:
    """Follows a node until it has announced nothing for a while, or the time is up."""

    def __init__(self, now: float, timeout: float) -> None:
        self.seen: frozenset[Duty] = frozenset()
        """All that it had at any time."""
        self.left: frozenset[Duty] = frozenset()
        self._ends = now + timeout
        self._quiet_since: float | None = None

    def handle_look(self, left: frozenset[Duty], now: float) -> None:
        """Take what is left at this moment."""
        self.seen |= left
        self.left = left
        if left:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now

    def is_done(self, now: float) -> bool:
        """Tell whether all was handed over."""
        return self._quiet_since is not None and now >= self._quiet_since + QUIET

    def is_late(self, now: float) -> bool:
        """Tell whether the time is up."""
        return now >= self._ends

    def heirless(
        self, held: Mapping[Duty, tuple[str, ...]], services: Container[str]
    ) -> frozenset[Duty]:
        """Return what was given up and is announced by nobody; `held` says who announces what.

        A service that was deleted meanwhile, and is not among `services`, wants nobody.
        """
        gone = self.seen - self.left
        return frozenset(each for each in gone if not held.get(each) and each.service in services)


# ---- the answer


class _Row(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class DutyRow(_Row, frozen=True):
    """One service in one protocol."""

    service: str
    protocol: DutyProtocol
    ips: tuple[str, ...]
    nodes: tuple[str, ...]
    """Who announces it now."""


class Drained(_Row, frozen=True, tag_field="kind", tag="Drained", kw_only=True):
    """The answer of `clarion drain`."""

    version: int = VERSION
    source: str
    well: bool
    """Whether all was handed over, and nothing is left without a node."""
    node: str
    was_labelled: bool
    """Before we came."""
    seconds: float
    moved: tuple[DutyRow, ...]
    left: tuple[DutyRow, ...]
    """What the node announces still, as the time was up."""
    orphans: tuple[DutyRow, ...]
    """What it gave up, and nobody has taken."""


class Undrained(_Row, frozen=True, tag_field="kind", tag="Undrained", kw_only=True):
    """The answer of `clarion undrain`."""

    version: int = VERSION
    source: str
    well: bool
    node: str
    was_labelled: bool


def drained(
    watch: DrainWatch,
    now_held: Mapping[Duty, tuple[str, ...]],
    ips: Mapping[str, tuple[str, ...]],
    *,
    source: str,
    node: str,
    was_labelled: bool,
    seconds: float,
) -> Drained:
    """Return the answer; `now_held` is who announces what in the end, `ips` those of services."""

    def rows(some: Iterable[Duty]) -> tuple[DutyRow, ...]:
        return tuple(
            DutyRow(each.service, each.protocol, ips.get(each.service, ()), now_held.get(each, ()))
            for each in sorted(some)
        )

    orphans = watch.heirless(now_held, ips)
    return Drained(
        source=source,
        well=not watch.left and not orphans,
        node=node,
        was_labelled=was_labelled,
        seconds=round(seconds, 3),
        moved=rows(watch.seen - watch.left - orphans),
        left=rows(watch.left),
        orphans=rows(orphans),
    )
