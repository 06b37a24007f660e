"""What is wrong with the cluster's objects as they stand together: nodes, advertisements, pools.

Pure. Each object by itself is judged elsewhere (`clarion check`); here it is about what matches
nothing, and so is silent.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity, command, plain, some
from clarion.doctor.kernel import HostFacts
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.core import Node
from kube.objects.metallb import IPAddressPool, L2Advertisement
from kube.selector import LabelSelector, any_matches
from plan.service import EXCLUDE_LABEL

Advertisement = L2Advertisement | BGPAdvertisement


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """The objects that decide where anything is announced."""

    nodes: Mapping[str, Node]
    pools: tuple[IPAddressPool, ...] = ()
    advertisements: tuple[L2Advertisement, ...] = ()
    routes: tuple[BGPAdvertisement, ...] | None = ()
    """None: they may not be read, so that nobody can tell which pools have none."""
    peers: tuple[BGPPeer, ...] = ()


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods off a node that do not tolerate it."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else self.words

    @property
    def words(self) -> str:
        """How kubectl writes one without a value."""
        return f"{self.key}:{self.effect}"


def judge_taints(
    taints: Mapping[str, tuple[Taint, ...]], running: Collection[str]
) -> Iterator[DoctorFinding]:
    """Return the tainted nodes that have no speaker; `running` are those that have one."""
    for node, found in sorted(taints.items()):
        # What Kubernetes itself puts on a node, every DaemonSet tolerates.
        kept_off = [each for each in found if not each.key.startswith("node.kubernetes.io/")]
        if node not in running and kept_off:
            yield DoctorFinding(
                DoctorCheck.TAINTS,
                Gravity.WARNING,
                plain(node, 253),
                f"no speaker's pod runs there, and it has the taint {some(kept_off)}",
                "It announces nothing; if that is meant, nothing needs to be done.",
                _tolerate(kept_off[0]),
            )


def _tolerate(taint: Taint) -> str:
    toleration = {"key": taint.key, "operator": "Exists", "effect": taint.effect}
    path = "/spec/template/spec/tolerations/-"
    patch = json.dumps([{"op": "add", "path": path, "value": toleration}])
    return command(
        *("kubectl", "-n", "metallb-system", "patch", "daemonset", "speaker"),
        *("--type=json", "-p", patch),
    )


def judge_nodes(facts: ObjectFacts, ignores_label: bool = False) -> Iterator[DoctorFinding]:
    """Return which nodes may announce nothing; `ignores_label` as the speakers were told."""
    out = [] if ignores_label else [n for n in facts.nodes.values() if EXCLUDE_LABEL in n.labels]
    all_out = len(out) == len(facts.nodes)
    for node in sorted(out, key=lambda each: each.name):
        yield DoctorFinding(
            DoctorCheck.NODES,
            Gravity.ERROR if all_out else Gravity.WARNING,
            node.name,
            f"it has the label {EXCLUDE_LABEL}",
            "It announces nothing, and neither does any other node."
            if all_out
            else "It announces nothing, so the others carry its share as well.",
            command("clarion", "undrain", node.name),
        )
    for node in facts.nodes.values():
        if node.network_unavailable:
            yield DoctorFinding(
                DoctorCheck.NODES,
                Gravity.ERROR,
                node.name,
                "its condition NetworkUnavailable is True",
                "It announces nothing until its network plug-in says that the network is there.",
                command("kubectl", "describe", "node", node.name),
            )


def judge_advertisements(facts: ObjectFacts) -> Iterator[DoctorFinding]:
    """Return what advertises nothing, and what nobody advertises."""
    advertised: set[str] = set()
    every: tuple[Advertisement, ...] = (*facts.advertisements, *(facts.routes or ()))
    for ad in every:
        pools = _pools_of(ad, facts.pools)
        advertised.update(pool.name for pool in pools)
        if not pools:
            yield _matches_nothing(ad, "it is for no IPAddressPool that there is", "its pools")
        yield from _nodeless(ad, _kind(ad), ad.node_selectors, facts)
    for peer in facts.peers:
        yield from _nodeless(peer, "BGPPeer", peer.spec.node_selectors, facts)
    for pool in facts.pools if facts.routes is not None else ():
        if pool.name not in advertised:
            yield _unadvertised(pool)


def judge_readable(problems: Sequence[str]) -> Iterator[DoctorFinding]:
    """Return that there are objects that cannot be read; `problems` says why, a line each."""
    if problems:
        yield DoctorFinding(
            DoctorCheck.ADVERTISEMENTS,
            Gravity.ERROR,
            "objects",
            f"{len(problems)} cannot be read, as {plain(problems[0])}",
            "Speakers keep what they understood last, and one that starts now has nothing.",
            "kubectl -n metallb-system get"
            " ipaddresspools,l2advertisements,bgpadvertisements,bgppeers -o yaml"
            " | clarion check -",
        )


def judge_interfaces(facts: ObjectFacts, host: HostFacts) -> Iterator[DoctorFinding]:
    """Return the advertisements that are for this node, and for none of its links."""
    node = facts.nodes.get(host.node)
    names = {link.name for link in host.links}
    usable = {link.name for link in host.announcing()}
    for ad in facts.advertisements if node is not None else ():
        assert node is not None  # noqa: S101 - the loop has none without it
        if not ad.interfaces or not any_matches(ad.node_selectors, node.labels):
            continue
        if not usable.intersection(ad.interfaces):
            there = names.intersection(ad.interfaces)
            how = "none of them can announce" if there else "it has none of them"
            yield DoctorFinding(
                DoctorCheck.INTERFACES,
                Gravity.ERROR,
                plain(host.node, 253),
                f"L2Advertisement {ad.name} names {some(ad.interfaces)}, and {how}",
                "The node is elected all the same, and the IPs that it wins are answered for by"
                " nobody.",
                _edit("l2advertisement", ad.namespace, ad.name),
            )


def _pools_of(ad: Advertisement, pools: Sequence[IPAddressPool]) -> list[IPAddressPool]:
    """Return the pools that it is for: named, selected, or all."""
    if not ad.pools and not ad.pool_selectors:
        return list(pools)
    return [
        pool
        for pool in pools
        if pool.name in ad.pools or any(each.matches(pool.labels) for each in ad.pool_selectors)
    ]


def _nodeless(
    found: Advertisement | BGPPeer,
    kind: str,
    selectors: Sequence[LabelSelector],
    facts: ObjectFacts,
) -> Iterator[DoctorFinding]:
    if not facts.nodes or not selectors:
        return
    if not any(any_matches(selectors, node.labels) for node in facts.nodes.values()):
        yield DoctorFinding(
            DoctorCheck.ADVERTISEMENTS,
            Gravity.ERROR,
            f"{kind} {found.name}",
            f"its nodeSelectors match none of {len(facts.nodes)} nodes",
            "Nobody acts on it, so that what it is for is not announced.",
            _label(selectors) or _edit(kind.lower(), found.namespace, found.name),
        )


def _label(selectors: Sequence[LabelSelector]) -> str:
    """Return how to label a node so that it matches, where labels alone are wanted."""
    for selector in selectors:
        if selector.match_labels and not selector.match_expressions:
            pairs = (f"{key}={value}" for key, value in sorted(selector.match_labels.items()))
            return command("kubectl", "label", "node", "NODE", *pairs)
    return ""


def _matches_nothing(ad: Advertisement, seen: str, what: str) -> DoctorFinding:
    kind = _kind(ad)
    return DoctorFinding(
        DoctorCheck.ADVERTISEMENTS,
        Gravity.WARNING,
        f"{kind} {ad.name}",
        seen,
        f"It advertises nothing; most likely {what} were renamed.",
        _edit(kind.lower(), ad.namespace, ad.name),
    )


def _unadvertised(pool: IPAddressPool) -> DoctorFinding:
    manifest = (
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n"
        f"metadata: {{name: {pool.name}, namespace: {pool.namespace or 'metallb-system'}}}\n"
        f"spec: {{ipAddressPools: [{pool.name}]}}"
    )
    return DoctorFinding(
        DoctorCheck.ADVERTISEMENTS,
        Gravity.ERROR,
        f"IPAddressPool {pool.name}",
        "no L2Advertisement and no BGPAdvertisement is for it",
        "Services get addresses from it that no node announces.",
        "kubectl apply -f - <<< '" + manifest + "'",
    )


def _edit(kind: str, namespace: str, name: str) -> str:
    return command("kubectl", "-n", namespace or "metallb-system", "edit", kind, name)


def _kind(ad: Advertisement) -> str:
    return type(ad).__name__
