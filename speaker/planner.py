"""The plans of all services, kept up to date: only what a change can have touched is planned anew.

A change of a service or of its slices concerns that service alone; one of the nodes or of the
configuration may concern all. What waits is planned in bites, so that the loop keeps turning. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kube.address import IPAddress
from kube.problem import Problem, fault, worst_first
from kube.snapshot import Snapshot
from speaker.desired import Options, Rules, ServicePlan, is_ours, without_effect

BITE = 50
"""Services planned at a time: about a millisecond."""


class Planner:
    """Equal to `desired.plan` of the last snapshot whenever nothing is pending."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._snapshot = Snapshot()
        self._rules = Rules(None, {}, options)
        self._plans: dict[str, ServicePlan] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._general: tuple[Problem, ...] = ()
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

    def ips(self) -> frozenset[IPAddress]:
        """Give the IPs that this node may ever announce, whoever owns them now."""
        return frozenset(self._addresses)

    def problems(self) -> list[Problem]:
        """Give what is wrong with the services, worst first."""
        found = (problem for some in self._problems.values() for problem in some)
        return worst_first((*found, *self._general))

    def take(self, snapshot: Snapshot, changed: Iterable[str] | None) -> None:
        """Take the state of now; `changed` names services that are touched, None may be all.

        Services and slices may change in place between calls; a changed configuration or a changed
        set of nodes must be another object.
        """
        before, self._snapshot = self._snapshot, snapshot
        common = (before.config, before.nodes) == (snapshot.config, snapshot.nodes)
        if not common or changed is None:
            self._take_rules()
            # One call keeps the interpreter: a source may change them meanwhile, in its thread.
            changed = (*self._plans, *tuple(snapshot.services))
        self._waiting.update(dict.fromkeys(changed))

    def _take_rules(self) -> None:
        config, nodes = self._snapshot.config, self._snapshot.nodes
        try:
            rules = Rules(config, nodes, self._options)
            general = tuple(without_effect(config, self._options))
        except Exception as error:
            # The last good rules stay, as they do where a configuration is invalid.
            self._general = (fault("configuration", error),)
        else:
            self._rules, self._general = rules, general

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
            return None
        try:
            found, problems = self._rules.plan(service, self._snapshot.slices.get(key, ()))
        except Exception as error:
            # It costs this service its news, and no other service anything: a speaker that ended
            # would meet the same object in its next life, as would those of all other nodes.
            found, problems = self._plans.get(key), (fault(f"Service {key}", error),)
        if problems:
            self._problems[key] = problems
        return found

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
