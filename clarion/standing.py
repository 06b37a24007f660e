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
from plan.layer2 import Rules
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


class Standings:
    """The services of a picture that are ours and of type LoadBalancer, each when asked for."""

    def __init__(self, picture: Picture) -> None:
        snapshot, custom = picture.snapshot, picture.custom
        self._picture = picture
        self._rules = Rules(snapshot.config, snapshot.nodes, picture.options, everywhere=True)
        self._explanation = Layer2Explanation(snapshot, picture.options)
        self._by_bgp = {
            pool.name for ad in custom.bgp.advertisements for pool in chosen(ad, custom.pools)
        }

    def all(self) -> list[Standing]:
        """Return them by name."""
        services = self._picture.snapshot.services
        found = (self.of(services[key]) for key in sorted(services))
        return [standing for standing in found if standing is not None]

    def of(self, service: Service) -> Standing | None:
        """Return the standing of one; None where it is not ours, or no load balancer."""
        snapshot = self._picture.snapshot
        if service.type != "LoadBalancer" or not is_ours(service, self._picture.options):
            return None
        made, _ = self._rules.plan(service, snapshot.slices.get(service.key, ()))
        pool = snapshot.config.pool_for(made.ips) if snapshot.config and made.ips else None
        why = self._explanation.why(service, made)
        if why is None and made.candidates is None:
            why = "no Node is known, so nobody can tell who may own it"
        return Standing(service, made, pool or "", self._protocols(pool), why)

    def _protocols(self, pool: str | None) -> tuple[str, ...]:
        config = self._picture.snapshot.config
        if pool is None or config is None:
            return ()
        there = {"layer2": bool(config.advertisements[pool]), "bgp": pool in self._by_bgp}
        return tuple(name for name, is_there in there.items() if is_there)


def standings(picture: Picture) -> list[Standing]:
    """Return all services that are ours and of type LoadBalancer, by name."""
    return Standings(picture).all()


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
