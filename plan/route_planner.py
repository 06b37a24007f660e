"""What this node announces by BGP, of all services, kept up to date in bites. Pure.

A change of a service or of its slices concerns that service alone; one of our own node, of the
pools or of BGP's configuration may concern all. An invalid configuration is no configuration: the
snapshot then holds the one before.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from types import MappingProxyType

from kube.bgp_config import BgpConfig
from kube.problem import Problem, fault, worst_first
from kube.snapshot import Snapshot
from plan.bgp import BgpPlan, BgpRules
from plan.offers import IPNetwork, Offers, Routes
from plan.release import Options
from plan.routes import RouteTable
from plan.service import Withheld, is_ours

BITE = 50
"""Services planned at a time: about a millisecond."""


class RoutePlanner:
    """Plans every service that is ours; `table` has the routes of all together."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._snapshot = Snapshot()
        self._rules = BgpRules(None, None, {}, options)
        self._table = RouteTable()
        self._plans: dict[str, BgpPlan] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        # Keys in the order in which they came; the values mean nothing.
        self._waiting: dict[str, None] = {}

    @property
    def pending(self) -> bool:
        """Whether `advance` has more to do."""
        return bool(self._waiting)

    @property
    def config(self) -> BgpConfig | None:
        """BGP's configuration that is in force; None: not known yet."""
        return self._snapshot.bgp

    @property
    def plans(self) -> Mapping[str, BgpPlan]:
        """A live, read-only view of all plans by `namespace/name`."""
        return MappingProxyType(self._plans)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the services, worst first."""
        return worst_first(problem for some in self._problems.values() for problem in some)

    def take(self, snapshot: Snapshot, changed: Iterable[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all.

        Before the first valid configuration of BGP nothing is planned, and nothing waits.
        """
        before, self._snapshot = self._snapshot, snapshot
        if snapshot.bgp is None:
            return
        if changed is None or _rules_of(before, self._own) != _rules_of(snapshot, self._own):
            self._rules = BgpRules(snapshot.config, snapshot.bgp, snapshot.nodes, self._options)
            changed = (*self._plans, *tuple(snapshot.services))
        self._table.set_peers([session.peer for session in snapshot.bgp.sessions])
        self._waiting.update(dict.fromkeys(changed))

    def advance(self, limit: int = BITE) -> list[str]:
        """Plan at most `limit` services; return their names."""
        keys = list(islice(self._waiting, limit))
        for key in keys:
            del self._waiting[key]
            self._plan(key)
        return keys

    def changes(self) -> dict[IPNetwork, Offers | None]:
        """Drain the prefixes whose offers differ since the last call (None: gone)."""
        return self._table.changes()

    @property
    def routes(self) -> Routes:
        """A live, read-only view of all routes, as `changes` has told them."""
        return self._table.routes

    def peers_of(self, service: str) -> tuple[str, ...]:
        """Return the names of the peers that are to hear of a service, sorted."""
        return self._table.peers_of(service)

    def services_on(self, prefixes: Collection[IPNetwork]) -> frozenset[str]:
        """Name the services that want any of the prefixes."""
        return self._table.services_on(prefixes)

    def withheld(self, service: str) -> Withheld | None:
        """Return why a service is not announced by BGP; None where it is, or is not ours."""
        found = self._plans.get(service)
        return found.withheld if found is not None else None

    @property
    def _own(self) -> str:
        return self._options.own_node

    def _plan(self, key: str) -> None:
        self._problems.pop(key, None)
        service = self._snapshot.services.get(key)
        if service is None or not is_ours(service, self._options):
            self._plans.pop(key, None)
            self._table.set(key, None)
            return
        try:
            found, problems = self._rules.plan(service, self._snapshot.slices.get(key, ()))
        except Exception as error:
            # It costs this service its news, and no other service anything.
            self._problems[key] = (fault(f"Service {key}", error),)
            return
        if problems:
            self._problems[key] = problems
        self._plans[key] = found
        self._table.set(key, found)


def _rules_of(snapshot: Snapshot, own: str) -> tuple[object, ...]:
    """Return what all plans depend on: of the nodes only our own."""
    return snapshot.config, snapshot.bgp, snapshot.nodes.get(own)
