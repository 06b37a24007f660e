"""All answers of the command as types: `-o json` writes them, the schema is made of them. Pure.

Every answer has `kind` and `version`; a field may be added within a version, none goes or changes
its meaning. Free text that a cluster's users wrote goes through `plain` first.
"""

from collections.abc import Iterable

import msgspec

VERSION = 1
"""Of all answers together."""
LONGEST = 400
"""Characters of a text that others wrote."""


def plain(text: str, most: int = LONGEST) -> str:
    """Return a text as one line that moves no terminal's cursor, cut where it is long."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def named_links(names: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names of interfaces as an answer has them; nobody has judged them."""
    return None if names is None else tuple(plain(name) for name in sorted(names))


class _Base(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class Remark(_Base, frozen=True):
    """One thing that is wrong with an object. `line` is 0 where there is none."""

    severity: str
    """`error` or `warning`."""
    file: str
    line: int
    object: str
    field: str
    message: str


class Envelope(_Base, frozen=True, tag_field="kind", kw_only=True):
    """What all answers have."""

    version: int = VERSION
    source: str
    """Where it was looked: the file, the folder, or the cluster."""
    well: bool
    """Whether the exit status is 0."""
    remarks: tuple[Remark, ...] = ()
    """What is wrong with the objects that were read."""


class OwnedIP(_Base, frozen=True):
    """One address of one service, and who should announce it."""

    ip: str
    service: str
    pool: str
    protocols: tuple[str, ...]
    """`layer2`, `bgp`, both, or none where no advertisement is for the pool."""
    owner: str | None
    """By layer 2."""
    next: str | None
    """Who owns it once the owner is gone."""
    candidates: int
    """How many nodes may own it."""
    interfaces: tuple[str, ...] | None
    """Where the owner announces it; null: on all."""
    why: str | None
    """Why nobody owns it."""


class Owners(Envelope, frozen=True, tag="Owners", kw_only=True):
    """Of `clarion owners`."""

    owners: tuple[OwnedIP, ...]
    pending: tuple[str, ...]
    """Services of type LoadBalancer that have no address."""


class NodeRow(_Base, frozen=True):
    """One node, and the rule that let it in or kept it out."""

    node: str
    admitted: bool
    rule: str
    """`admitted`, or a word for the rule: see docs/clarion.md."""
    detail: str
    """The label, the condition, the interface."""
    rank: int | None
    """Its place in the order of those that are admitted: 1 owns."""
    score: int
    """Points of preferred nodes; 0 in releases that know none."""
    advertisements: tuple[str, ...]
    """Those that select it."""
    interfaces: tuple[str, ...] | None
    """Where it would announce; null: on all."""


class PeerOffer(_Base, frozen=True):
    """What one peer hears of a prefix."""

    peer: str
    communities: tuple[str, ...]
    large_communities: tuple[str, ...]
    local_pref: int
    """0: none is sent."""


class RouteRow(_Base, frozen=True):
    """One prefix that a node announces."""

    prefix: str
    offers: tuple[PeerOffer, ...]


class SilenceRow(_Base, frozen=True):
    """An advertisement or a peer that has no part in it, and why."""

    object: str
    detail: str


class BgpRow(_Base, frozen=True):
    """What one node announces of the service by BGP."""

    node: str
    announces: bool
    rule: str
    detail: str
    routes: tuple[RouteRow, ...]
    silences: tuple[SilenceRow, ...]


class PoolRow(_Base, frozen=True):
    """A pool that was looked at for a pending service."""

    pool: str
    detail: str
    """What kept the service out of it."""


class AllocationRow(_Base, frozen=True):
    """What a controller would do about a service without an address, and what it says of it."""

    ips: tuple[str, ...]
    """What it would give."""
    pool: str
    events: tuple[str, ...]
    pools: tuple[PoolRow, ...]


class Explained(_Base, frozen=True):
    """All there is to say of one service."""

    service: str
    ips: tuple[str, ...]
    pool: str
    protocols: tuple[str, ...]
    owner: str | None
    why: str | None
    """Why nobody owns it."""
    order: tuple[str, ...]
    """The nodes that are admitted, the owner first."""
    hashed: str
    """The address that the order is made of."""
    nodes: tuple[NodeRow, ...]
    bgp: tuple[BgpRow, ...]
    allocation: AllocationRow | None
    """None where it has an address."""


class Explanation(Envelope, frozen=True, tag="Explanation", kw_only=True):
    """Of `clarion explain`; several services may have one address."""

    asked: str
    services: tuple[Explained, ...]


class MoveRow(_Base, frozen=True):
    """One address that another node owns after the change."""

    ip: str
    service: str
    before: str | None
    after: str | None
    reason: str


class NodeCount(_Base, frozen=True):
    """How many addresses a node owns."""

    node: str
    before: int
    after: int


class Counts(_Base, frozen=True):
    """Addresses that layer 2 announces, before and after."""

    ips: int
    """After the change."""
    moved: int
    """From one node to another."""
    lost: int
    """Left without an owner."""
    gained: int
    """That had no owner."""
    without_owner: int
    """After the change, whether they had one before or not."""
    bgp_only: int
    """That no layer 2 announces: each node that may announces them, nothing moves."""


class Simulation(Envelope, frozen=True, tag="Simulation", kw_only=True):
    """Of `clarion simulate`."""

    changes: tuple[str, ...]
    counts: Counts
    moves: tuple[MoveRow, ...]
    nodes: tuple[NodeCount, ...]
    """Those that own more or fewer than before."""


class Check(Envelope, frozen=True, tag="Check", kw_only=True):
    """Of `clarion check`; what it found are the remarks."""

    files: int
    objects: int
    errors: int
    warnings: int


ANSWERS = Owners | Explanation | Simulation | Check
"""Of the commands that answer from objects."""
