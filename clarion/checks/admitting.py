"""What MetalLB's webhooks would refuse, object by object, in MetalLB's words. Pure.

The judges of the whole name a field and find nearly all of it; this is the net below them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from clarion.sources.picture import Picture
from controller.admission import advertisements, communities, peers, pools
from controller.admission.world import AdmissionWorld, BGPType
from kube.problem import Problem, Severity

_Refusals = Callable[[Any, AdmissionWorld], Iterator[str]]


def refusals(picture: Picture, already: Collection[Problem]) -> Iterator[Problem]:
    """Return one error for each object that would not be let in, if it has none `already`."""
    custom, snapshot = picture.custom, picture.snapshot
    bgp = custom.bgp
    world = AdmissionWorld(
        picture.namespace,
        BGPType.FRR,
        {pool.name: pool for pool in custom.pools},
        {ad.name: ad for ad in bgp.advertisements},
        {peer.name: peer for peer in bgp.peers},
        {found.name: found for found in bgp.communities},
        snapshot.nodes,
    )
    blamed = {found.object for found in already if found.severity is Severity.ERROR}
    by_kind: tuple[tuple[Sequence[Any], _Refusals], ...] = (
        (custom.pools, pools.refusals),
        (custom.advertisements, advertisements.layer2_refusals),
        (bgp.advertisements, advertisements.bgp_refusals),
        (bgp.peers, peers.refusals),
        (bgp.communities, communities.refusals),
    )
    for some, rule in by_kind:
        for found in some:
            # Pools that overlap would both be blamed; the judge of the whole blames the later one.
            around = replace(world, pools={}) if rule is pools.refusals else world
            text = next(rule(found, around), None)
            if text is not None and found.origin.object not in blamed:
                yield found.origin.error((), text.replace("\n", "; "))
