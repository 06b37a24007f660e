"""Looks at all that can be reached, and says of the rest why it could not. A driver."""

import asyncio
import os
import secrets
from dataclasses import replace
from pathlib import Path

import msgspec

from clarion.doctor.agreement import ClockFacts
from clarion.doctor.documents import ClusterFacts, cluster_facts
from clarion.doctor.examination import (
    OF_SPEAKERS,
    ON_HOST,
    ON_WIRE,
    DoctorSight,
    because,
    blind_to,
)
from clarion.doctor.finding import DoctorCheck, plain
from clarion.doctor.kernel import OPTMEM, HostFacts
from clarion.doctor.look.cluster import Gathered, gather
from clarion.doctor.look.gossip_probes import reach_all
from clarion.doctor.look.host import read_exclude, read_host
from clarion.doctor.look.speakers import ask_all
from clarion.doctor.look.wire import echo_all, heard_links
from clarion.doctor.reach import PeerReach
from clarion.reaching.way import UnseenClusterError, cluster
from clarion.sources.dumps import documents
from clarion.sources.trouble import UnseenError
from gossip.wire.crypto import metallb_key
from kube.api.client import ApiError

_OF_CLUSTER = (
    DoctorCheck.KUBE_PROXY, DoctorCheck.CLOCK, DoctorCheck.NODES, DoctorCheck.TAINTS,
    DoctorCheck.ADVERTISEMENTS, DoctorCheck.INTERFACES,
)  # fmt: skip
_LOCAL = (*ON_HOST, DoctorCheck.SEGMENTS, DoctorCheck.INTERFACES)
BESIDE = "this machine is no node: run it in a speaker's pod, or name it by --node-name"
NOT_DUMPED = "a dump does not show it"
NO_RIGHT = "it takes the capability NET_RAW"


class DoctorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    namespace: str
    dump: str | None = None
    context: str | None = None
    kubeconfig: str = ""
    node_name: str = ""
    ml_labels: str = ""
    ml_bindport: int = 7946
    ml_secret_key_path: str = ""
    port: int = 7472
    ignore_exclude_lb: bool = False


async def look(request: DoctorRequest) -> DoctorSight:
    """Look at everything. Raises `UnseenClusterError` where the question is none."""
    if request.dump is not None:
        return _look_at_dump(request, request.dump)
    return await _look_around(request)


# ---- dumps


def _look_at_dump(request: DoctorRequest, source: str) -> DoctorSight:
    try:
        found = Gathered(list(documents(source)))
    except UnseenError as error:
        raise UnseenClusterError(str(error)) from None
    facts = _facts(request, found)
    wanted = ("Node", "Pod", "IPAddressPool", "L2Advertisement", "ConfigMap", "Lease")
    found.missing = dict.fromkeys(set(wanted) - facts.kinds, "the dump has none")
    if facts.proxy is None:
        found.missing["ConfigMap"] = "the dump has no kube-proxy in kube-system"
    unseen = because((*_LOCAL, *ON_WIRE, *OF_SPEAKERS), NOT_DUMPED)
    unseen |= {check: why for check, why in _blind(found, facts).items() if check not in unseen}
    return DoctorSight(
        source=plain(source),
        namespace=request.namespace,
        ignores_label=request.ignore_exclude_lb,
        cluster=facts,
        unseen=unseen,
    )


def _facts(request: DoctorRequest, found: Gathered) -> ClusterFacts:
    facts = cluster_facts(found.documents, request.namespace, _labels(request.ml_labels))
    if "BGPAdvertisement" in found.missing:
        facts = replace(facts, objects=replace(facts.objects, routes=None))
    clocks = ClockFacts(found.skew, facts.clocks.nodes)
    return replace(facts, clocks=clocks)


def _labels(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _blind(found: Gathered, facts: ClusterFacts) -> dict[DoctorCheck, str]:
    unseen = blind_to(found.missing)
    if facts.clocks.own is None and not facts.clocks.nodes:
        unseen[DoctorCheck.CLOCK] = "neither the server's time nor a heartbeat's managed fields"
    if facts.proxy is None and DoctorCheck.KUBE_PROXY not in unseen:
        unseen[DoctorCheck.KUBE_PROXY] = "its ConfigMap holds no KubeProxyConfiguration"
    return unseen


# ---- a cluster, and where we are in it


async def _look_around(request: DoctorRequest) -> DoctorSight:
    unseen: dict[DoctorCheck, str] = {}
    facts = await _look_at_cluster(request, unseen)
    host = _look_at_host(request, unseen)
    peers = await _look_at_wire(request, facts, host, unseen)
    speakers = None
    if facts is not None and not set(OF_SPEAKERS) & unseen.keys():
        speakers, silent = await ask_all(facts.speakers, request.port)
        reason = f"{len(silent)} of {len(facts.speakers)} speakers answered no HTTP"
        if not any(each.version for each in speakers):
            unseen |= because(OF_SPEAKERS, reason if silent else "no speaker says its version")
        elif not any(each.settings for each in speakers):
            unseen |= because((DoctorCheck.SETTINGS,), "no speaker shows its settings")
    return DoctorSight(
        source="cluster" + (f", context {request.context}" if request.context else ""),
        namespace=request.namespace,
        node=request.node_name,
        ignores_label=request.ignore_exclude_lb,
        cluster=facts,
        host=host,
        peers=peers,
        speakers=speakers,
        unseen=unseen,
    )


async def _look_at_cluster(
    request: DoctorRequest, unseen: dict[DoctorCheck, str]
) -> ClusterFacts | None:
    try:
        async with cluster(request.kubeconfig, request.context) as client:
            found = await gather(client, request.namespace)
    except (ApiError, UnseenClusterError) as error:
        reason = error.message if isinstance(error, UnseenClusterError) else str(error)
        needs_objects = (DoctorCheck.BOUND_IP, DoctorCheck.ARP_ANNOUNCE, DoctorCheck.OPTMEM)
        unseen |= because((*_OF_CLUSTER, *needs_objects, *ON_WIRE, *OF_SPEAKERS), reason)
        return None
    facts = _facts(request, found)
    unseen |= _blind(found, facts)
    return facts


def _look_at_host(request: DoctorRequest, unseen: dict[DoctorCheck, str]) -> HostFacts | None:
    if not request.node_name:
        unseen |= because(_LOCAL, BESIDE)
        return None
    try:
        host = read_host(request.node_name, read_exclude())
    except OSError as error:
        unseen |= because(_LOCAL, f"netlink: {error.strerror or error}")
        return None
    if OPTMEM not in host.sysctls:
        unseen.setdefault(DoctorCheck.OPTMEM, "the kernel does not show it here")
    try:
        heard = heard_links(host.announcing(), secrets.token_bytes(16))
    except OSError:
        # Subnets tell as much as can be told without frames.
        return host
    return replace(host, heard=heard)


async def _look_at_wire(
    request: DoctorRequest,
    facts: ClusterFacts | None,
    host: HostFacts | None,
    unseen: dict[DoctorCheck, str],
) -> tuple[PeerReach, ...] | None:
    if facts is None or unseen.keys() & ON_WIRE:
        return None
    if host is None:
        unseen |= because(ON_WIRE, unseen[DoctorCheck.RP_FILTER])
        return None
    others = [place for place in facts.speakers if place.node != request.node_name]
    peers = tuple(PeerReach(each.node, each.ip, request.ml_bindport) for each in others)
    if not peers:
        unseen |= because(ON_WIRE, "no other node has a speaker's pod")
        return None
    peers = await reach_all(peers, _key(request.ml_secret_key_path))
    try:
        return await asyncio.to_thread(
            echo_all, peers, host.announcing(), os.getpid() & 0xFFFF, secrets.token_bytes(16)
        )
    except PermissionError:
        unseen[DoctorCheck.ECHO] = NO_RIGHT
    except OSError as error:
        unseen[DoctorCheck.ECHO] = error.strerror or str(error)
    return peers


def _key(path: str) -> bytes | None:
    """Return the key in a file, or a mounted Secret. Raises `UnseenClusterError`."""
    if not path:
        value = os.environ.get("METALLB_ML_SECRET_KEY", "")
        return metallb_key(value.encode()) if value else None
    file = Path(path)
    file = file / "secretkey" if file.is_dir() else file
    try:
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise UnseenClusterError(f"--ml-secret-key-path: {file}: {reason}") from None
    if not content:
        raise UnseenClusterError(f"--ml-secret-key-path: {file}: the file is empty")
    return metallb_key(content)
