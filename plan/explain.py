"""Why a node may announce a service, or why not: each rule named, with what it was held against.

What is decided stands in `layer2` and `bgp`; this module asks them, and puts the answer into words
for a person. Pure.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kube.bgp_config import BgpConfig
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.core import Node, Service
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.problem import Problem
from kube.rules.advertisements import chosen
from kube.selector import LabelSelector, any_matches, shown_label
from kube.snapshot import Snapshot
from plan.bgp import BgpPlan, BgpRules
from plan.layer2 import Rules, interfaces_of, serving_nodes
from plan.offers import IPNetwork, Offers
from plan.release import Options
from plan.routes import RouteTable
from plan.service import EXCLUDE_LABEL, Admitted, ServicePlan, Withheld, check, is_ours

Links = Mapping[str, frozenset[str]]
"""By node, the names of the links on which it can announce; who is not in it is not known."""


class NodeRule(StrEnum):
    """The rule that lets a node in, or keeps it out."""

    ADMITTED = "admitted"
    NOT_SELECTED = "notSelected"
    """No advertisement selects the node."""
    NETWORK_UNAVAILABLE = "networkUnavailable"
    EXCLUDED = "excluded"
    CORDONED = "cordoned"
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    NO_ENDPOINTS = "noEndpoints"
    NO_INTERFACE = "noInterface"
    """It is selected, and has none of the interfaces that the advertisements name."""
    NO_CONFIGURATION = "noConfiguration"
    """By BGP: what is wanted of the node cannot be used as a whole."""
    CONFLICT = "conflict"
    """By BGP: advertisements want it told in two ways."""
    NO_SESSION = "noSession"
    """By BGP: no BGPPeer that would hear of it selects the node."""


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What is decided of one node for one service, and by what."""

    node: str
    rule: NodeRule
    detail: str
    """A sentence that names the label, the condition, the interface."""
    advertisements: tuple[str, ...] = ()
    """Those that select the node, by name."""
    interfaces: frozenset[str] | None = None
    """Where it announces; None: on all."""

    @property
    def admitted(self) -> bool:
        """Whether it may own the service, or announces it."""
        return self.rule is NodeRule.ADMITTED


_BARRIERS = {
    Withheld.NODE_NETWORK_UNAVAILABLE: (
        NodeRule.NETWORK_UNAVAILABLE,
        "its condition NetworkUnavailable is True",
    ),
    Withheld.NODE_LABELED_EXCLUDE_BALANCERS: (
        NodeRule.EXCLUDED,
        f"it has the label {EXCLUDE_LABEL}",
    ),
    Withheld.NODE_CORDONED: (
        NodeRule.CORDONED,
        "spec.unschedulable is true (taint node.kubernetes.io/unschedulable)",
    ),
}

SAID: Mapping[Withheld, str] = {
    **{reason: reason.value for reason in Withheld},
    Withheld.NOT_LOAD_BALANCER: "its type is not LoadBalancer",
    Withheld.NO_CONFIG: "there is no valid configuration of pools and advertisements",
    Withheld.NO_IP_ALLOCATED: "it is pending: no address was given to it",
    Withheld.SHARED_IP_WITH_SELECTOR: (
        "it may share its address, and an advertisement selects services: "
        "this release does not allow both"
    ),
    Withheld.CONFLICTING_ADVERTISEMENTS: "advertisements that match it differ in localPref",
    Withheld.NO_ENDPOINTS: "none of its endpoints can serve",
    Withheld.NOT_OWNER: "no advertisement selects a node that may own it",
}
"""What a reason means for a whole service, where no rule has more to say."""


# ---- layer 2


class Layer2Explanation:
    """Explains services of one snapshot, node by node."""

    def __init__(self, snapshot: Snapshot, options: Options, links: Links | None = None) -> None:
        """`links`: what is known of the nodes' interfaces, by a speaker that runs."""
        self._snapshot, self._options = snapshot, options
        self._links = links or {}
        self._rules = Rules(snapshot.config, snapshot.nodes, options, everywhere=True)

    def why(self, service: Service, plan: ServicePlan) -> str | None:
        """Return why no node at all announces the service; None where one may.

        `plan` was made for no node in particular.
        """
        if plan.withheld is None:
            return None
        slices = self._snapshot.slices.get(service.key, ())
        if plan.withheld is Withheld.NOT_OWNER and not serving_nodes(slices):
            there = any(found.endpoints for found in slices)
            return SAID[Withheld.NO_ENDPOINTS] if there else "it has no endpoints"
        if plan.withheld is Withheld.NOT_OWNER and plan.voters:
            return "externalTrafficPolicy is Local, and no node that is admitted has an endpoint"
        problems: list[Problem] = []
        checked = check(service, self._snapshot.config, self._options, problems)
        if isinstance(checked, Admitted) and plan.withheld is Withheld.NO_MATCHING_ADVERTISEMENT:
            return self._unadvertised(service, checked.pool)
        # What a rule has words of its own for, as which address is in no pool.
        return problems[0].message if problems else SAID[plan.withheld]

    def _unadvertised(self, service: Service, pool: str) -> str:
        config = self._snapshot.config
        ads = config.advertisements[pool] if config is not None else ()
        if not ads:
            return f"no L2Advertisement is for its pool {pool}"
        found = [
            f"{ad.name}: of the service, {unmatched(ad.service_selectors, service.labels)}"
            for ad in ads[:MOST_NAMED]
        ]
        return "; ".join(found)

    def verdicts(self, service: Service) -> Iterator[NodeVerdict]:
        """Return the verdict on each node, by name; none where it is withheld from all alike."""
        ads = self._rules.advertisements(service)
        if not ads:
            return
        slices = self._snapshot.slices.get(service.key, ())
        local = service.external_traffic_policy == "Local"
        here = serving_nodes(slices) if local else None
        for name in sorted(self._snapshot.nodes):
            yield self._verdict(self._snapshot.nodes[name], ads, here)

    def interfaces(self, service: Service, node: str) -> frozenset[str] | None:
        """Return where the node announces the service if it owns it; None: on all."""
        labels = self._snapshot.nodes[node].labels
        ads = self._rules.advertisements(service)
        return interfaces_of([ad for ad in ads if any_matches(ad.node_selectors, labels)])

    def _verdict(
        self, node: Node, ads: Sequence[L2Advertisement], here: set[str | None] | None
    ) -> NodeVerdict:
        mine = [ad for ad in ads if any_matches(ad.node_selectors, node.labels)]
        names = tuple(ad.name for ad in mine)
        if (barrier := self._rules.barrier(node)) is not None:
            return NodeVerdict(node.name, *_BARRIERS[barrier], names)
        if not mine:
            return NodeVerdict(node.name, NodeRule.NOT_SELECTED, _unselected(ads, node))
        if here is not None and node.name not in here:
            return NodeVerdict(node.name, NodeRule.NO_LOCAL_ENDPOINTS, _NOT_HERE, names)
        wanted, known = interfaces_of(mine), self._links.get(node.name)
        if wanted is not None and known is not None and not wanted & known:
            text = f"it has none of the interfaces {_listed(wanted)}"
            return NodeVerdict(node.name, NodeRule.NO_INTERFACE, text, names, wanted)
        text = f"selected by {_named('L2Advertisement', names)}"
        if node.unschedulable:
            text += "; its cordon does not count"
        return NodeVerdict(node.name, NodeRule.ADMITTED, text, names, wanted)


def _unselected(ads: Sequence[L2Advertisement | BGPAdvertisement], node: Node) -> str:
    """Say for each advertisement why it does not select the node."""
    return "; ".join(
        f"{ad.name}: {unmatched(ad.node_selectors, node.labels)}" for ad in ads[:MOST_NAMED]
    ) + (f"; and {len(ads) - MOST_NAMED} more" if len(ads) > MOST_NAMED else "")


def unmatched(selectors: Sequence[LabelSelector], labels: Mapping[str, str]) -> str:
    """Say why none of the selectors matches; the first condition that is not met, of each."""
    found = [text for selector in selectors if (text := selector.unmet(labels)) is not None]
    return " or ".join(found[:MOST_NAMED])


MOST_NAMED = 5
"""Advertisements, selectors or names that one sentence lists."""


def _named(kind: str, names: Sequence[str]) -> str:
    return f"{kind} {_listed(names)}"


def _listed(names: Collection[str]) -> str:
    some = [shown_label(name) for name in sorted(names)]
    more = f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else ""
    return ", ".join(some[:MOST_NAMED]) + more


# ---- BGP


@dataclass(frozen=True, slots=True)
class Silence:
    """Why an advertisement, or a peer, has no part in what a node announces of a service."""

    object: str
    """`BGPAdvertisement x` or `BGPPeer x`."""
    detail: str


@dataclass(frozen=True, slots=True)
class BgpVerdict:
    """What one node announces of one service by BGP, to whom, and why not to others."""

    verdict: NodeVerdict
    routes: Mapping[IPNetwork, Offers]
    silences: tuple[Silence, ...] = ()


@dataclass(frozen=True, slots=True)
class BgpWishes:
    """All that is there of BGP, and what each node makes of it.

    What is not for a node stands in none of its configurations, so the objects are here too.
    """

    pools: Sequence[IPAddressPool]
    advertisements: Sequence[BGPAdvertisement]
    peers: Sequence[BGPPeer]
    config_of: Callable[[Node], BgpConfig | None]
    """None where what is wanted of the node is not valid."""


class BgpExplanation:
    """Explains services of one snapshot, node by node."""

    def __init__(self, snapshot: Snapshot, wishes: BgpWishes, options: Options) -> None:
        self._snapshot, self._wishes, self._options = snapshot, wishes, options
        self._sharing: dict[frozenset[IPNetwork], tuple[Service, ...]] = {}

    def verdicts(self, service: Service) -> Iterator[BgpVerdict]:
        """Return what each node announces of the service, by the node's name.

        None where the service has no address of one pool.
        """
        admitted = self._admitted(service)
        if admitted is None:
            return
        pool, nodes = admitted.pool, self._snapshot.nodes
        for name in sorted(nodes):
            yield self._verdict(service, pool, nodes[name])

    def _admitted(self, service: Service) -> Admitted | None:
        found = check(service, self._snapshot.config, self._options, [])
        return found if isinstance(found, Admitted) else None

    def _verdict(self, service: Service, pool: str, node: Node) -> BgpVerdict:
        silent = list(self._silent_advertisements(service, pool, node))
        mine = self._for_service(service, pool, node)
        silences = (*silent, *self._silent_peers(node, mine))
        config = self._wishes.config_of(node)
        if config is None:
            text = "what BGP objects want of this node is not valid: see `clarion check`"
            return BgpVerdict(NodeVerdict(node.name, NodeRule.NO_CONFIGURATION, text), {}, silences)
        rules = BgpRules(
            self._snapshot.config,
            config,
            self._snapshot.nodes,
            replace(self._options, own_node=node.name),
        )
        plan = self._plan(rules, service)
        if plan.withheld is not None:
            rule, text = _kept_out(plan.withheld, silent)
            return BgpVerdict(NodeVerdict(node.name, rule, text), {}, silences)
        routes = self._routes(plan, rules, [session.peer for session in config.sessions])
        names = tuple(ad.name for ad in mine)
        text = f"told by {_named('BGPAdvertisement', names)}"
        if not routes:
            text += ", but it has no session with a peer that is to hear of it"
        rule = NodeRule.ADMITTED if routes else NodeRule.NO_SESSION
        return BgpVerdict(NodeVerdict(node.name, rule, text, names), routes, silences)

    def _plan(self, rules: BgpRules, service: Service) -> BgpPlan:
        return rules.plan(service, self._snapshot.slices.get(service.key, ()))[0]

    def _routes(
        self, plan: BgpPlan, rules: BgpRules, peers: Sequence[str]
    ) -> Mapping[IPNetwork, Offers]:
        """Return the offers, with what other services want of the same prefixes."""
        table = RouteTable(peers)
        for other in self._services_on(frozenset(plan.wishes)):
            table.set(other.key, self._plan(rules, other))
        table.changes()
        return {prefix: table.routes[prefix] for prefix in plan.wishes if prefix in table.routes}

    def _services_on(self, prefixes: frozenset[IPNetwork]) -> tuple[Service, ...]:
        """Return the services that have an address in one of the prefixes: for many nodes once."""
        if prefixes not in self._sharing:
            found = ((each, self._admitted(each)) for each in self._snapshot.services.values())
            self._sharing[prefixes] = tuple(
                each
                for each, admitted in found
                if admitted is not None and is_ours(each, self._options)
                if any(ip in prefix for ip in admitted.ips for prefix in prefixes)
            )
        return self._sharing[prefixes]

    def _for_service(self, service: Service, pool: str, node: Node) -> list[BGPAdvertisement]:
        ads = self._wishes.advertisements
        return [ad for ad in ads if self._silence(ad, service, pool, node) is None]

    def _silent_advertisements(self, service: Service, pool: str, node: Node) -> Iterator[Silence]:
        for ad in sorted(self._wishes.advertisements, key=lambda ad: ad.name):
            if (why := self._silence(ad, service, pool, node)) is not None:
                yield Silence(f"BGPAdvertisement {ad.name}", why)

    def _silence(self, ad: BGPAdvertisement, service: Service, pool: str, node: Node) -> str | None:
        if pool not in (found.name for found in chosen(ad, self._wishes.pools)):
            return f"is not for pool {pool}"
        if not any_matches(ad.node_selectors, node.labels):
            return unmatched(ad.node_selectors, node.labels)
        if not any_matches(ad.service_selectors, service.labels):
            return f"of the service, {unmatched(ad.service_selectors, service.labels)}"
        return None

    def _silent_peers(self, node: Node, ads: Sequence[BGPAdvertisement]) -> Iterator[Silence]:
        """Say which peers hear of none of the advertisements, or not of all."""
        for peer in sorted(self._wishes.peers, key=lambda peer: peer.name):
            selectors = peer.spec.node_selectors
            if not any_matches(selectors, node.labels):
                why = unmatched(selectors, node.labels)
                yield Silence(f"BGPPeer {peer.name}", f"no session with this node: {why}")
                continue
            for ad in ads:
                if ad.peers and peer.name not in ad.peers:
                    text = f"{ad.name} is for {_listed(ad.peers)} alone"
                    yield Silence(f"BGPPeer {peer.name}", text)


def _kept_out(reason: Withheld, silent: Sequence[Silence]) -> tuple[NodeRule, str]:
    if reason in _BARRIERS:
        return _BARRIERS[reason]
    if reason is Withheld.NO_LOCAL_ENDPOINTS:
        return NodeRule.NO_LOCAL_ENDPOINTS, _NOT_HERE
    if reason is Withheld.NO_ENDPOINTS:
        return NodeRule.NO_ENDPOINTS, SAID[reason]
    if reason is Withheld.CONFLICTING_ADVERTISEMENTS:
        return NodeRule.CONFLICT, SAID[reason]
    found = [f"{entry.object.split()[1]}: {entry.detail}" for entry in silent[:MOST_NAMED]]
    return NodeRule.NOT_SELECTED, "; ".join(found) or "there is no BGPAdvertisement"


_NOT_HERE = "externalTrafficPolicy is Local, and no endpoint that can serve is on it"
