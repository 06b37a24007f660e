"""What the lab writes for a speaker says the same as what it types into FRR without one."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.files.manifest import read
from kube.objects.bgp import BFDProfile, BGPPeer
from kube.objects.reading import decode
from netnslab.machines import manifests
from netnslab.routed import plan, sessions
from netnslab.routed.plan import ROUTER_AS

NODES = {"node-1": "10.88.0.11"}
IPS = ["10.100.0.1", "2001:db8:100::1"]


def written(folder: Path, specs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """All objects by kind; each is read as the speaker reads it."""
    manifests.write_bgp(folder, [plan.SERVICES, plan.SERVICES6], NODES, specs)
    manifests.write_services(folder, IPS, NODES)
    found: dict[str, list[Any]] = {}
    for file in sorted(folder.glob("*.yaml")):
        assert read(file.read_bytes(), file.name)
        for document in yaml.safe_load_all(file.read_text()):
            found.setdefault(document["kind"], []).append(document)
    return found


@pytest.mark.parametrize("kind", sessions.KINDS)
def test_each_session_is_a_peer_that_can_be_read(kind: str, tmp_path: Path) -> None:
    given = sessions.agreement("bfd-50x3", kind, "dual", 120)
    routers = ["eth0"] if given.unnumbered else ["10.88.0.1", "2001:db8:88::1"]
    found = written(tmp_path, sessions.specs_of_peers(given, routers))
    assert len(found["Service"]) == len(found["EndpointSlice"]) == 2
    assert len(found["BGPAdvertisement"]) == len(found["Node"]) == 1
    for router, document in zip(routers, found["BGPPeer"], strict=True):
        peer, problems = decode("BGPPeer", json.dumps(document).encode())
        assert problems == []
        assert isinstance(peer, BGPPeer)
        assert router in (peer.spec.peer_address, peer.spec.interface)
        assert (peer.spec.my_asn, peer.spec.peer_asn) == (given.node_as, ROUTER_AS)
        assert (peer.spec.hold_time, peer.spec.keepalive_time) == ("90s", "30s")
        assert peer.spec.password == given.password
        assert peer.spec.enable_graceful_restart
        assert peer.spec.bfd_profile
    for document in found["BFDProfile"]:
        profile, _ = decode("BFDProfile", json.dumps(document).encode())
        assert isinstance(profile, BFDProfile)
        assert profile.spec.transmit_interval == profile.spec.receive_interval == 50
        assert profile.spec.detect_multiplier == 3


def test_without_bfd_there_is_no_profile(tmp_path: Path) -> None:
    given = sessions.agreement("hold-3", "ebgp", "4")
    found = written(tmp_path, sessions.specs_of_peers(given, ["10.88.0.1"]))
    assert "BFDProfile" not in found
    assert "bfdProfile" not in found["BGPPeer"][0]["spec"]
