"""The routes of this node kept up to date: only what a change can have touched is planned anew.

A change of a service or of its slices concerns that service alone; one of the nodes or of the
configuration may concern all. What waits is planned in bites, so that the loop keeps turning. Pure.

As in `planner`, a service that is announced and in no pool any more keeps the configuration that
allowed it, until it has another address.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kube.bgp_config import BgpConfig
from kube.config import PoolConfig
from kube.problem import Problem, fault, worst_first
from kube.snapshot import Snapshot
from plan.bgp import BgpPlan, BgpRules
from plan.release import Options
from plan.routes import RouteTable
from plan.service import Withheld, is_ours

BITE = 50
"""Services planned at a time: about three milliseconds."""

_Basis = tuple[PoolConfig | None, BgpConfig]


class RoutePlanner:
    """Plans all services and fills the table; what is known counts once nothing is pending.

    Until a snapshot has a BGP configuration nothing is known, and nothing is planned: whatever the
    engine announces from an earlier life is to stay.
    """

    def __init__(self, options: Options) -> None:
        self.table = RouteTable()
        """All routes; its changes are the driver's to drain, best when nothing is pending."""
        self._options = options
        self._snapshot = Snapshot()
        self._basis: _Basis | None = None
        self._before: _Basis | None = None
        """The configuration before this one, by which everything was planned."""
        self._kept: dict[str, _Basis] = {}
        self._rules: dict[int, BgpRules] = {}
        """By the identity of a basis that is in use, since the nodes last changed."""
        self._plans: dict[str, BgpPlan] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        # Keys in the order in which they came; the values mean nothing.
        self._waiting: dict[str, None] = {}

    @property
    def known(self) -> bool:
        """Whether it is known what is wanted; False: the engine is left as it is."""
        return self._basis is not None

    @property
    def pending(self) -> bool:
        """Whether `advance` has more to do."""
        return bool(self._waiting)

    @property
    def plans(self) -> Mapping[str, BgpPlan]:
        """A live, read-only view of all plans by `namespace/name`."""
        return MappingProxyType(self._plans)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the services for BGP alone, worst first."""
        return worst_first(problem for some in self._problems.values() for problem in some)

    def take(self, snapshot: Snapshot, changed: Iterable[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all.

        Services and slices may change in place between calls; a changed configuration or a changed
        set of nodes must be another object.
        """
        before, self._snapshot = self._snapshot, snapshot
        if snapshot.bgp is None:
            return
        basis = snapshot.config, snapshot.bgp
        if basis != self._basis:
            if not self._waiting:
                self._before = self._basis
            self._basis, changed = basis, None
            self.table.set_peers([session.peer for session in snapshot.bgp.sessions])
        if before.nodes is not snapshot.nodes and before.nodes != snapshot.nodes:
            changed = None
        if changed is None:
            self._rules.clear()
            # One call keeps the interpreter: a source may change them meanwhile, in its thread.
            changed = (*self._plans, *tuple(snapshot.services))
        self._waiting.update(dict.fromkeys(changed))

    def advance(self, limit: int = BITE) -> dict[str, BgpPlan | None]:
        """Plan at most `limit` services; give the plans that differ now (None: gone)."""
        different: dict[str, BgpPlan | None] = {}
        for _ in range(min(limit, len(self._waiting))):
            key = next(iter(self._waiting))
            del self._waiting[key]
            before, after = self._plans.get(key), self._plan(key)
            if before == after:
                continue
            different[key] = after
            self.table.set(key, after)
            if after is None:
                del self._plans[key]
            else:
                self._plans[key] = after
        return different

    def _plan(self, key: str) -> BgpPlan | None:
        self._problems.pop(key, None)
        service = self._snapshot.services.get(key)
        if service is None or not is_ours(service, self._options):
            self._kept.pop(key, None)
            return None
        slices = self._snapshot.slices.get(key, ())
        try:
            found, problems = self._by(self._basis).plan(service, slices)
            if found.withheld is Withheld.IP_NOT_ALLOWED:
                found = self._keep(key, found)
            else:
                self._kept.pop(key, None)
        except Exception as error:
            # It costs this service its news, and no other service anything.
            problems = (fault(f"Service {key}", error),)
            found = self._plans.get(key) or BgpPlan(key, withheld=Withheld.INVALID_IP)
        if problems:
            self._problems[key] = problems
        return found

    def _keep(self, key: str, found: BgpPlan) -> BgpPlan:
        """Plan what is announced and in no pool any more by the configuration that allowed it."""
        basis = self._kept.pop(key, self._before)
        before, service = self._plans.get(key), self._snapshot.services[key]
        if basis is None or before is None or before.withheld is not None:
            return found
        kept, _ = self._by(basis).plan(service, self._snapshot.slices.get(key, ()))
        if kept.withheld is Withheld.IP_NOT_ALLOWED or kept.ips != before.ips:
            return found
        self._kept[key] = basis
        return kept

    def _by(self, basis: _Basis | None) -> BgpRules:
        """Return the rules of a configuration, for the nodes of now."""
        if id(basis) not in self._rules:
            config, bgp = basis or (None, None)
            nodes = self._snapshot.nodes
            self._rules[id(basis)] = BgpRules(config, bgp, nodes, self._options)
        return self._rules[id(basis)]
