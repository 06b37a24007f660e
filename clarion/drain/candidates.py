"""Which services nobody could announce without one node. Pure."""

from collections.abc import Collection, Iterator, Mapping

from clarion.drain.duties import Duty, DutyProtocol
from kube.objects.core import EndpointSlice, Node, Service
from kube.snapshot import Snapshot
from plan.layer2 import Rules
from plan.release import Options


def without_candidate(
    snapshot: Snapshot,
    node: str,
    options: Options,
    held: Mapping[Duty, tuple[str, ...]],
    speakers: Collection[str] | None,
) -> tuple[str, ...]:
    """Return the services, by name, that the node may announce and no other one may.

    `speakers` are the nodes on which one runs, None where that is not known. By layer 2 it is the
    election that is asked; by BGP each node decides for itself, so it counts who has routes.
    """
    found = set(_elected(snapshot, node, options, speakers))
    found |= {
        duty.service
        for duty, nodes in held.items()
        if duty.protocol is DutyProtocol.BGP and nodes == (node,)
    }
    return tuple(sorted(found))


def _elected(
    snapshot: Snapshot, node: str, options: Options, speakers: Collection[str] | None
) -> Iterator[str]:
    rules = Rules(snapshot.config, snapshot.nodes, options)
    for key, service in snapshot.services.items():
        slices = snapshot.slices.get(key, ())
        if not any(entry.can_serve for found in slices for entry in found.endpoints):
            # Nobody announces it as it is.
            continue
        candidates = _candidates(rules, service, slices, snapshot.nodes)
        if speakers is not None:
            candidates &= frozenset(speakers)
        if candidates == {node}:
            yield key


def _candidates(
    rules: Rules,
    service: Service,
    slices: tuple[EndpointSlice, ...],
    nodes: Mapping[str, Node],
) -> frozenset[str]:
    plan, _ = rules.plan(service, slices)
    return frozenset(nodes) if plan.candidates is None else plan.candidates
