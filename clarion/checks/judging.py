"""What is wrong with manifests by the rules that speakers and controllers go by. Pure."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from clarion.checks import admitting
from clarion.sources.picture import Judged, Picture, selecting, with_passwords
from kube.bgp_config import BgpObjects, judge_bgp
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.core import Node
from kube.problem import Problem
from plan.bgp import BgpRules
from plan.planner import plan
from plan.service import is_ours


def judged_nodes(picture: Picture) -> list[Judged]:
    """Return what BGP wants of the nodes, once for those of which it wants the same.

    Where no Node is among the manifests: of a node without labels.
    """
    nodes = list(picture.snapshot.nodes.values()) or [Node("")]
    return list(dict.fromkeys(picture.bgp.judged(node) for node in nodes))


def judgements(picture: Picture) -> list[Problem]:
    """Return what each rule says, each thing once."""
    found = [*picture.problems, *plan(picture.snapshot, picture.options, everywhere=True)[1]]
    if picture.custom.bgp.wanted:
        kinds = judged_nodes(picture)
        found += (problem for judged in kinds for problem in judged.problems)
        found += (problem for judged in kinds for problem in _services(picture, judged))
        found += _unselected(picture, kinds)
        found += _without_secrets(picture)
    found += admitting.refusals(picture, found)
    return list(dict.fromkeys(found))


def _services(picture: Picture, judged: Judged) -> Iterator[Problem]:
    """Return what BGP has against services that have an address."""
    snapshot = picture.snapshot
    options = replace(picture.options, own_node=judged.node.name)
    rules = BgpRules(snapshot.config, judged.config, snapshot.nodes, options)
    for service in snapshot.services.values():
        if any(service.ingress) and is_ours(service, options):
            yield from rules.plan(service, snapshot.slices.get(service.key, ()))[1]


def _unselected(picture: Picture, kinds: list[Judged]) -> Iterator[Problem]:
    """Judge what selects no node that is known as if it selected one: each by itself."""
    seen = frozenset(identity for judged in kinds for identity in judged.objects)
    objects = with_passwords(picture.custom.bgp)
    for found, _ in selecting(objects):
        if id(found) not in seen:
            yield from judge_bgp(_alone(found, objects), picture.custom.pools, {}, "")[1]


def _alone(found: BGPPeer | BGPAdvertisement, objects: BgpObjects) -> BgpObjects:
    if isinstance(found, BGPPeer):
        spec = msgspec.structs.replace(found.spec, node_selectors=())
        peer = msgspec.structs.replace(found, spec=spec)
        return replace(objects, peers=(peer,), advertisements=())
    everywhere = msgspec.structs.replace(found, node_selectors=())
    return replace(objects, advertisements=(everywhere,))


def _without_secrets(picture: Picture) -> Iterator[Problem]:
    """Say which Secrets are not there: they may be elsewhere, as they should."""
    known = picture.custom.bgp.passwords
    for peer in picture.custom.bgp.peers:
        name = peer.spec.password_secret.name
        if name and name not in known:
            text = "the Secret is not among the manifests: without it no BGP at all is configured"
            yield peer.origin.warning(("spec", "passwordSecret"), text)
