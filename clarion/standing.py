"""Who should own each service of a picture: as if every Node had a speaker, and all had settled.

Pure.
"""

from dataclasses import dataclass

from clarion.sources.picture import Picture
from kube.address import parse_ip
from kube.objects.core import Service
from kube.rules.advertisements import chosen
from ownership.election.election import Electors
from plan.explain import Layer2Explanation
from plan.planner import plan
from plan.service import ServicePlan, is_ours


@dataclass(frozen=True, slots=True)
class Standing:
    """One service, for no node in particular."""

    service: Service
    plan: ServicePlan
    pool: str
    """Empty where its addresses are of no pool, or not of one alone."""
    protocols: tuple[str, ...]
    """`layer2` and `bgp`, where any advertisement is for its pool."""
    why: str | None
    """Why no node owns it by layer 2; None where one may."""

    @property
    def by_layer2(self) -> bool:
        """Whether it wants an owner: what only BGP announces needs none."""
        return "layer2" in self.protocols


def standings(picture: Picture) -> list[Standing]:
    """Return all services that are ours and of type LoadBalancer, by name."""
    snapshot = picture.snapshot
    plans, _ = plan(snapshot, picture.options, everywhere=True)
    explanation = Layer2Explanation(snapshot, picture.options)
    layer2 = snapshot.config.advertisements if snapshot.config is not None else {}
    bgp = {
        pool.name
        for ad in picture.custom.bgp.advertisements
        for pool in chosen(ad, picture.custom.pools)
    }
    found = []
    for key in sorted(plans):
        service = snapshot.services[key]
        if service.type != "LoadBalancer":
            continue
        made = plans[key]
        config = snapshot.config
        pool = config.pool_for(made.ips) if config is not None and made.ips else None
        names = {"layer2": bool(layer2.get(pool or "")), "bgp": (pool or "") in bgp}
        why = explanation.why(service, made)
        if why is None and made.candidates is None:
            why = "no Node is known, so nobody can tell who may own it"
        protocols = tuple(name for name, there in names.items() if there)
        found.append(Standing(service, made, pool or "", protocols, why))
    return found


class Ranking:
    """Who comes first for each service, of the nodes that are admitted."""

    def __init__(self) -> None:
        self._electors: dict[frozenset[str], Electors] = {}

    def first(self, standing: Standing, count: int) -> list[str]:
        """Return the owner and those after it, at most `count`; nobody where it is withheld."""
        candidates = standing.plan.candidates
        if standing.why is not None or not candidates:
            return []
        if candidates not in self._electors:
            self._electors[candidates] = Electors.of(candidates)
        electors = self._electors[candidates]
        return electors.first(count, standing.plan.hash_ip, standing.plan.scores)


def services_of(picture: Picture, wanted: str) -> list[Service]:
    """Return the services that `wanted` names: an IP, `namespace/name`, or a name alone."""
    ours = [s for s in picture.snapshot.services.values() if is_ours(s, picture.options)]
    by_name = [found for found in ours if wanted in (found.key, found.name)]
    if by_name:
        return sorted(by_name, key=lambda found: found.key)
    ip = _plain(wanted)
    return sorted(
        (found for found in ours if ip in map(_plain, found.ingress)), key=lambda found: found.key
    )


def _plain(text: str) -> str:
    """Return an address in the one way to write it."""
    found = parse_ip(text)
    return text if found is None else str(found)
