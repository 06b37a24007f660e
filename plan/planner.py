"""The plans of all services, kept up to date: only what a change can have touched is planned anew.

A change of a service or of its slices concerns that service alone; one of the nodes or of the
configuration may concern all. What waits is planned in bites, so that the loop keeps turning. Pure.

A pool may shrink under its services. MetalLB's speaker then keeps its whole old configuration for
as long as it announces one of the IPs, until the controller has given the service another. Here
only the plan of that service follows the old one: on all others the speakers go on to agree.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from kube.config import PoolConfig
from kube.objects.core import Service
from kube.problem import Problem, Severity, fault, worst_first
from kube.snapshot import Snapshot
from link.address import IPAddress
from plan.layer2 import Rules
from plan.release import Options, Release
from plan.service import ServicePlan, Withheld, is_ours

BITE = 50
"""Services planned at a time: about a millisecond."""


class Planner:
    """Equal to `plan` of the last snapshot whenever nothing is pending, but for services
    that are kept."""

    def __init__(
        self, options: Options, announced: Callable[[], Container[str]] = frozenset
    ) -> None:
        """`announced()` are the services that this node announces now."""
        self._options = options
        self._announced = announced
        self._snapshot = Snapshot()
        self._rules = Rules(None, {}, options)
        self._plans: dict[str, ServicePlan] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._general: tuple[Problem, ...] = ()
        self._before: PoolConfig | None = None
        """The configuration before this one, by which everything was planned."""
        self._kept: dict[str, PoolConfig] = {}
        """Services that are announced though no pool holds their IPs, and by what configuration."""
        self._older: dict[int, Rules] = {}
        """The rules of those configurations, by identity."""
        self._addresses: Counter[IPAddress] = Counter()
        # Keys in the order in which they came; the values mean nothing.
        self._waiting: dict[str, None] = {}

    @property
    def pending(self) -> bool:
        """Whether `advance` has more to do."""
        return bool(self._waiting)

    @property
    def plans(self) -> Mapping[str, ServicePlan]:
        """A live, read-only view of all plans by `namespace/name`."""
        return MappingProxyType(self._plans)

    @property
    def kept(self) -> Mapping[str, PoolConfig]:
        """A live, read-only view of the services that an older configuration still holds for."""
        return MappingProxyType(self._kept)

    def ips(self) -> frozenset[IPAddress]:
        """Return the IPs that this node may ever announce, whoever owns them now."""
        return frozenset(self._addresses)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the services, worst first."""
        found = (problem for some in self._problems.values() for problem in some)
        return worst_first((*found, *self._general))

    def take(self, snapshot: Snapshot, changed: Iterable[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all.

        Services and slices may change in place between calls; a changed configuration or a changed
        set of nodes must be another object.
        """
        before, self._snapshot = self._snapshot, snapshot
        if before.config != snapshot.config and not self._waiting:
            self._before = before.config
        common = (before.config, before.nodes) == (snapshot.config, snapshot.nodes)
        if not common or changed is None:
            self._take_rules()
            self._older.clear()
            # One call keeps the interpreter: a source may change them meanwhile, in its thread.
            changed = (*self._plans, *tuple(snapshot.services))
        self._waiting.update(dict.fromkeys(changed))

    def _take_rules(self) -> None:
        config, nodes = self._snapshot.config, self._snapshot.nodes
        try:
            rules = Rules(config, nodes, self._options)
            common = tuple(general(self._snapshot, self._options))
        except Exception as error:
            # The last good rules stay, as they do where a configuration is invalid.
            self._general = (fault("configuration", error),)
        else:
            self._rules, self._general = rules, common

    def advance(self, limit: int = BITE) -> dict[str, ServicePlan | None]:
        """Plan at most `limit` services; give the plans that differ now (None: gone)."""
        different: dict[str, ServicePlan | None] = {}
        for _ in range(min(limit, len(self._waiting))):
            key = next(iter(self._waiting))
            del self._waiting[key]
            before, after = self._plans.get(key), self._plan(key)
            if before != after:
                self._replace(key, before, after)
                different[key] = after
        return different

    def _plan(self, key: str) -> ServicePlan | None:
        self._problems.pop(key, None)
        service = self._snapshot.services.get(key)
        found: ServicePlan | None
        if service is None or not is_ours(service, self._options):
            self._kept.pop(key, None)
            return None
        try:
            found, problems = self._rules.plan(service, self._snapshot.slices.get(key, ()))
            if found.withheld is Withheld.IP_NOT_ALLOWED:
                found, problems = self._keep(service, found, problems)
            else:
                self._kept.pop(key, None)
        except Exception as error:
            # It costs this service its news, and no other service anything: a speaker that ended
            # would meet the same object in its next life, as would those of all other nodes.
            found, problems = self._plans.get(key), (fault(f"Service {key}", error),)
        if problems:
            self._problems[key] = problems
        return found

    def _keep(
        self, service: Service, found: ServicePlan, problems: tuple[Problem, ...]
    ) -> tuple[ServicePlan, tuple[Problem, ...]]:
        """Plan what is announced and in no pool any more by the configuration that allowed it."""
        key, before = service.key, self._plans.get(service.key)
        config = self._kept.pop(key, self._before)
        if config is None or before is None or key not in self._announced():
            return found, problems
        if id(config) not in self._older:
            self._older[id(config)] = Rules(config, self._snapshot.nodes, self._options)
        kept, _ = self._older[id(config)].plan(service, self._snapshot.slices.get(key, ()))
        if kept.withheld is Withheld.IP_NOT_ALLOWED or kept.ips != before.ips:
            return found, problems
        self._kept[key] = config
        return kept, tuple(
            replace(problem, message=problem.message + _KEPT) for problem in problems
        )

    def _replace(self, key: str, before: ServicePlan | None, after: ServicePlan | None) -> None:
        if after is None:
            del self._plans[key]
        else:
            self._plans[key] = after
        self._addresses.update(after.ips if after else ())
        for ip in before.ips if before else ():
            self._addresses[ip] -= 1
            if not self._addresses[ip]:
                del self._addresses[ip]


def ips_of(plan: ServicePlan | None) -> tuple[IPAddress, ...]:
    """Return the IPs of a plan, none where there is no plan."""
    return () if plan is None else plan.ips


_KEPT = "; as it is announced here, the configuration before stays in force for it"


def plan(
    snapshot: Snapshot, options: Options, everywhere: bool = False
) -> tuple[dict[str, ServicePlan], list[Problem]]:
    """Plan every service that is ours, all at once; `planner` keeps the same up to date.

    `everywhere`: for no node in particular, see `Rules`.
    """
    rules = Rules(snapshot.config, snapshot.nodes, options, everywhere)
    problems: list[Problem] = []
    plans: dict[str, ServicePlan] = {}
    for service in snapshot.services.values():
        if is_ours(service, options):
            slices = snapshot.slices.get(service.key, ())
            plans[service.key], found = rules.plan(service, slices)
            problems += found
    return plans, worst_first((*problems, *general(snapshot, options)))


def general(snapshot: Snapshot, options: Options) -> Iterator[Problem]:
    """Tell what is wrong with the objects that services have in common."""
    if options.quorum and not snapshot.nodes:
        message = "--quorum=majority: no Node object is known, so nobody has a majority"
        yield Problem(Severity.ERROR, "", 0, "", "", message)
    yield from _without_effect(snapshot.config, options)


def _without_effect(config: PoolConfig | None, options: Options) -> Iterator[Problem]:
    """Warn of fields that the release set does not know: it treats them as absent."""
    if options.release is Release.HEAD or config is None:
        return
    advertisements = {ad.name: ad for found in config.advertisements.values() for ad in found}
    for ad in advertisements.values():
        message = f"has no effect in release {options.release}"
        if ad.preferred_nodes:
            yield ad.origin.warning(("spec", "preferredNodeSelectors"), message)
        if ad.service_selectors and not options.release.selects_services:
            yield ad.origin.warning(("spec", "serviceSelectors"), message)
