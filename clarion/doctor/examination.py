"""All judges over all facts that there are: one diagnosis. Pure."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from clarion.doctor.agreement import SpeakerFacts, judge_clocks, judge_speakers
from clarion.doctor.cluster_objects import (
    judge_advertisements,
    judge_interfaces,
    judge_nodes,
    judge_readable,
    judge_taints,
)
from clarion.doctor.documents import ClusterFacts
from clarion.doctor.finding import (
    Diagnosis,
    DoctorCheck,
    DoctorFinding,
    UnseenCheck,
    diagnosis,
    plain,
)
from clarion.doctor.kernel import HostFacts, judge_kernel
from clarion.doctor.proxy import judge_proxy
from clarion.doctor.reach import PeerReach, judge_reach

ON_HOST = (
    DoctorCheck.BOUND_IP,
    DoctorCheck.ARP_ANNOUNCE,
    DoctorCheck.RP_FILTER,
    DoctorCheck.OPTMEM,
)
ON_WIRE = (
    DoctorCheck.ECHO, DoctorCheck.GOSSIP_UDP, DoctorCheck.GOSSIP_TCP, DoctorCheck.GOSSIP_MTU,
)  # fmt: skip
USUAL_NAMESPACE = "metallb-system"
"""That of the judges' commands."""
OF_SPEAKERS = (DoctorCheck.VERSIONS, DoctorCheck.SETTINGS)
NEEDS: Mapping[DoctorCheck, tuple[str, ...]] = {
    DoctorCheck.BOUND_IP: ("Service",),
    DoctorCheck.ARP_ANNOUNCE: ("Service",),
    DoctorCheck.OPTMEM: ("Service",),
    DoctorCheck.KUBE_PROXY: ("ConfigMap",),
    DoctorCheck.NODES: ("Node",),
    DoctorCheck.TAINTS: ("Node", "Pod"),
    DoctorCheck.ADVERTISEMENTS: ("Node", "IPAddressPool", "L2Advertisement"),
    DoctorCheck.INTERFACES: ("Node", "L2Advertisement"),
    **dict.fromkeys((*ON_WIRE, *OF_SPEAKERS), ("Pod",)),
}
"""The kinds of objects without which a check says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSight:
    """What could be looked at; None: it could not, and `unseen` says why."""

    source: str
    namespace: str = USUAL_NAMESPACE
    """Of MetalLB's objects."""
    node: str = ""
    """Where we are; empty: beside the cluster."""
    ignores_label: bool = False
    cluster: ClusterFacts | None = None
    host: HostFacts | None = None
    peers: tuple[PeerReach, ...] | None = None
    speakers: tuple[SpeakerFacts, ...] | None = None
    unseen: Mapping[DoctorCheck, str] = field(default_factory=dict)


def examine(sight: DoctorSight) -> Diagnosis:
    """Return what is wrong, and what could not be looked at."""
    made = tuple(check for check in DoctorCheck if check not in sight.unseen)
    found = [_at_home(each, sight.namespace) for each in _judged(sight) if each.check in made]
    unseen = (UnseenCheck(check, plain(why)) for check, why in sight.unseen.items())
    return diagnosis(sight.source, made, found, unseen)


def _at_home(found: DoctorFinding, namespace: str) -> DoctorFinding:
    """Return it with the namespace that MetalLB's objects are in here."""
    usual, here = (f" -n {name} " for name in (USUAL_NAMESPACE, shlex.quote(namespace)))
    return msgspec.structs.replace(found, mend=found.mend.replace(usual, here))


def blind_to(
    missing: Mapping[str, str], kinds: Mapping[DoctorCheck, tuple[str, ...]] = NEEDS
) -> dict[DoctorCheck, str]:
    """Return which checks cannot be made without kinds that are missing, and why."""
    found: dict[DoctorCheck, str] = {}
    for check, wanted in kinds.items():
        for kind in wanted:
            if kind in missing:
                found.setdefault(check, f"{kind}: {missing[kind]}")
    return found


def because(checks: Iterable[DoctorCheck], reason: str) -> dict[DoctorCheck, str]:
    """Return one reason for several checks."""
    return dict.fromkeys(checks, reason)


def _judged(sight: DoctorSight) -> Iterator[DoctorFinding]:
    cluster, host = sight.cluster, sight.host
    if cluster is not None:
        yield from judge_nodes(cluster.objects, sight.ignores_label)
        yield from judge_taints(cluster.taints, {each.node for each in cluster.speakers})
        yield from judge_advertisements(cluster.objects)
        yield from judge_readable(cluster.problems)
        yield from judge_clocks(sight.node, cluster.clocks)
        if cluster.proxy is not None:
            yield from judge_proxy(cluster.proxy)
    if host is not None:
        yield from judge_kernel(host, cluster.ips if cluster is not None else ())
        if cluster is not None:
            yield from judge_interfaces(cluster.objects, host)
    yield from judge_reach(sight.node, sight.peers or ())
    yield from judge_speakers(sight.speakers or ())
