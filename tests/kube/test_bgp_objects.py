"""The kinds that only BGP needs: every field that MetalLB's schemas have, and who reads them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube.document import ManifestError
from kube.files.manifest import read
from kube.objects import bgp
from kube.objects.reading import decode
from kube.selector import LabelSelector
from kube.snapshot import read_documents

SCHEMAS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "manifests" / "metallb-crds.json").read_text()
)
VERSIONS = {
    "BGPAdvertisement": ["v1beta1"],
    "BFDProfile": ["v1beta1"],
    "Community": ["v1beta1"],
    "BGPPeer": ["v1beta1", "v1beta2"],
}
META = {"name": "q", "namespace": "metallb-system"}


def _decoded(kind: str, spec: Any) -> Any:
    view, problems = decode(kind, json.dumps({"metadata": META, "spec": spec}).encode())
    assert problems == []
    return view


def test_the_views_have_every_field_of_the_schemas() -> None:
    assert bgp.KINDS.keys() == VERSIONS.keys()
    for kind, versions in VERSIONS.items():
        shape = bgp.KINDS[kind].strict
        assert shape is not None
        ours = {field.encode_name for field in msgspec.structs.fields(shape)}
        paths = {path for version in versions for path in SCHEMAS[f"{kind}/{version}"]["fields"]}
        theirs = {path.split(".")[1].rstrip("[]") for path in paths if path.startswith("spec.")}
        assert ours == theirs


def test_a_field_that_is_absent_has_the_schema_s_default() -> None:
    advertisement = _decoded("BGPAdvertisement", {})
    assert (advertisement.aggregation_length, advertisement.aggregation_length_v6) == (32, 128)
    peer = _decoded("BGPPeer", {"myASN": 1}).spec
    assert (peer.peer_port, peer.hold_time, peer.disable_mp) == (179, None, False)
    assert _decoded("BFDProfile", {}).spec.receive_interval is None
    assert _decoded("Community", {}).aliases == ()


def test_fields_are_read_by_their_names() -> None:
    peer = _decoded(
        "BGPPeer",
        {"myASN": 1, "localASN": 2, "routerID": "10.0.0.1", "ebgpMultiHop": True, "vrf": "red",
         "passwordSecret": {"name": "s"}, "dualStackAddressFamily": True, "connectTime": "5s",
         "nodeSelectors": [{"matchLabels": {"rack": "a"}}]},
    ).spec  # fmt: skip
    assert (peer.my_asn, peer.local_asn, peer.router_id) == (1, 2, "10.0.0.1")
    assert (peer.ebgp_multi_hop, peer.dual_stack_address_family) == (True, True)
    assert (peer.password_secret.name, peer.connect_time, peer.vrf) == ("s", "5s", "red")
    assert peer.node_selectors == (LabelSelector({"rack": "a"}),)
    assert _decoded("BFDProfile", {"minimumTtl": 7}).spec.minimum_ttl == 7


def test_a_view_that_is_printed_shows_no_password() -> None:
    peer = _decoded("BGPPeer", {"myASN": 1, "password": "opensesame"})
    assert peer.spec.password == "opensesame"
    assert "opensesame" not in repr(peer)


@pytest.mark.parametrize("spec", [{}, {"myASN": "1"}, {"myASN": 1, "nodeSelectors": [7]}])
def test_a_peer_with_wrong_types_is_not_read(spec: Any) -> None:
    with pytest.raises(ManifestError):
        _decoded("BGPPeer", spec)


def test_a_folder_of_manifests_is_read_as_before() -> None:
    text = "".join(
        f"---\nkind: {kind}\napiVersion: metallb.io/{version}\nmetadata: {{name: q}}\nspec: 7\n"
        for kind, versions in VERSIONS.items()
        for version in versions
    )
    reading = read_documents(read(text.encode(), "bgp.yaml"))
    assert reading.ignored == VERSIONS.keys()
    assert (reading.views, reading.problems) == ({}, ())
