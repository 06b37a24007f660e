"""Our schemas, field by field against MetalLB's, and against good and hostile objects.

`metallb-crds.json` lists the fields of MetalLB's CRDs as of July 2026. Ours may refuse more than
those only where MetalLB's code refuses it too: `CODE` names each such place.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

THEIRS: dict[str, Any] = json.loads((Path(__file__).parent / "metallb-crds.json").read_text())
FIELDS = [(name, path) for name, entry in THEIRS.items() for path in entry["fields"]]
LIMITS = ("format", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern")

CODE = {
    ("Community/v1beta1", "spec.communities[].value"): {"pattern"},
    ("L2Advertisement/v1beta1", "spec.preferredNodeSelectors[].preference.matchExpressions[]"
     ".operator"): {"enum"},
    ("IPAddressPool/v1beta1", "spec.addresses[]"): {"anyOf"},
    **{
        (f"BGPPeer/{version}", f"spec.{name}"): {"anyOf"}
        for version in ("v1beta1", "v1beta2")
        for name in ("peerAddress", "routerID", "sourceAddress")
    },
}  # fmt: skip
SETS = {
    ("IPAddressPool/v1beta1", "spec.addresses"),
    ("IPAddressPool/v1beta1", "spec.serviceAllocation.namespaces"),
    ("L2Advertisement/v1beta1", "spec.ipAddressPools"),
    ("BGPAdvertisement/v1beta1", "spec.ipAddressPools"),
    ("BGPAdvertisement/v1beta1", "spec.communities"),
    ("BGPAdvertisement/v1beta1", "spec.peers"),
}


def _type(schema: dict[str, Any]) -> str:
    if schema["type"] == "array":
        items = schema["items"]
        if items.get("x-kubernetes-map-type") == "atomic" and "matchLabels" in items["properties"]:
            return "[]LabelSelector"
        return "[]string" if items["type"] == "string" else "array"
    return "map[string]string" if "additionalProperties" in schema else str(schema["type"])


def _flatten(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Give path, schema and "required" of each field, as the list of MetalLB's fields does."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if here in ("apiVersion", "kind", "metadata"):
            continue
        yield here, field, name in schema.get("required", ())
        if _type(field) == "[]LabelSelector":
            continue
        if field["type"] == "array":
            yield f"{here}[]", field["items"], False
            yield from _flatten(field["items"], f"{here}[]")
        yield from _flatten(field, here)


def _ours(schemas: dict[str, Any], name: str) -> dict[str, tuple[dict[str, Any], bool]]:
    return {path: (field, required) for path, field, required in _flatten(schemas[name].root, "")}


def test_the_kinds_and_versions_are_metallbs(
    crds: dict[str, dict[str, Any]], schemas: dict[str, Any]
) -> None:
    assert schemas.keys() == THEIRS.keys()
    for kind, crd in crds.items():
        spec = crd["spec"]
        names = spec["names"]
        assert (spec["group"], spec["scope"]) == ("metallb.io", "Namespaced")
        assert crd["metadata"]["name"] == f"{names['plural']}.metallb.io"
        assert names["listKind"] == f"{kind}List"
        assert names["singular"] == kind.lower()
        for version in spec["versions"]:
            theirs = THEIRS[f"{kind}/{version['name']}"]
            assert version["served"] is True
            assert version["storage"] is theirs["storage"]
            assert version["subresources"] == {"status": {}}
            columns = {
                column["name"]: [column["jsonPath"], column["type"]]
                for column in version.get("additionalPrinterColumns", ())
            }
            assert columns == theirs["columns"]


@pytest.mark.parametrize("name", THEIRS)
def test_there_are_exactly_their_fields(schemas: dict[str, Any], name: str) -> None:
    # The items of an array are a line of their own only where they are objects.
    ours = {
        path
        for path, (field, _) in _ours(schemas, name).items()
        if not path.endswith("[]") or field["type"] == "object"
    }
    assert ours == THEIRS[name]["fields"].keys()
    assert schemas[name].root.get("required", []) == THEIRS[name]["required"]


@pytest.mark.parametrize(("name", "path"), FIELDS)
def test_no_field_is_narrower_than_theirs(schemas: dict[str, Any], name: str, path: str) -> None:
    ours, required = _ours(schemas, name)[path]
    theirs = THEIRS[name]["fields"][path]
    assert _type(ours) == theirs["type"]
    assert required is theirs.get("required", False)
    assert ours.get("default") == theirs.get("default")
    mine = {key: ours[key] for key in (*LIMITS, "anyOf") if key in ours}
    assert mine.keys() - theirs.keys() == CODE.get((name, path), set())
    for key in mine.keys() & theirs.keys():
        assert mine[key] == theirs[key]
    assert ours.get("x-kubernetes-map-type") == theirs.get("x-kubernetes-map-type")


def test_only_lists_whose_duplicates_their_code_refuses_are_sets(schemas: dict[str, Any]) -> None:
    found = {
        (name, path)
        for name in schemas
        for path, (field, _) in _ours(schemas, name).items()
        if field.get("x-kubernetes-list-type") == "set"
    }
    assert found == SETS


def test_strings_in_lists_are_free_but_for_addresses(schemas: dict[str, Any]) -> None:
    for name in schemas:
        for path, (field, _) in _ours(schemas, name).items():
            if path.endswith("[]") and field["type"] == "string":
                limits = {key for key in (*LIMITS, "anyOf") if key in field}
                assert limits == CODE.get((name, path), set()), (name, path)


def test_the_guides_objects_pass(schemas: dict[str, Any], guide: list[dict[str, Any]]) -> None:
    served = [entry for entry in guide if entry["apiVersion"].startswith("metallb.io/")]
    assert len(served) == 9
    for entry in served:
        schema = schemas[f"{entry['kind']}/{entry['apiVersion'].partition('/')[2]}"]
        assert schema.complaints(entry) == []


def _body(kind: str, spec: str, version: str = "v1beta1") -> dict[str, Any]:
    return {
        "apiVersion": f"metallb.io/{version}",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": yaml.safe_load(spec),
    }


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.0/24", "192.0.2.7/24", "192.0.2.1/32", "192.0.2.1-192.0.2.9", "2001:db8::/64",
        " 192.0.2.1 - 192.0.2.9 ", "2001:db8::1-2001:DB8::ffff", "::ffff:192.0.2.1/128",
        "192.0.2.1-2001:db8::1",
    ],
)  # fmt: skip
def test_admits_what_metallb_reads_as_addresses(schemas: dict[str, Any], address: str) -> None:
    pool = _body("IPAddressPool", json.dumps({"addresses": [address]}))
    assert schemas["IPAddressPool/v1beta1"].complaints(pool) == []


@pytest.mark.parametrize(
    "address",
    ["", "192.0.2.1", "192.0.2.0/33", "192.0.2.0/-1", "300.0.2.0/24", "192.0.2/24", "first-last",
     "192.0.2.1-192.0.2.9-", "192.0.2.1-", "-", "fe80::1%eth0/64", "fe80::1%a-fe80::2%a", 7],
)  # fmt: skip
def test_refuses_what_is_no_address(schemas: dict[str, Any], address: object) -> None:
    pool = _body("IPAddressPool", json.dumps({"addresses": [address]}))
    complaints = schemas["IPAddressPool/v1beta1"].complaints(pool)
    assert [text.partition(":")[0] for text in complaints] == [".spec.addresses[0]"]


_PEER = "myASN: 1, peerASN: 2, peerAddress: 192.0.2.1"


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("IPAddressPool/v1beta1", "{}", ".spec.addresses"),
        ("IPAddressPool/v1beta1", "[]", ".spec"),
        ("IPAddressPool/v1beta1", "{addresses: 192.0.2.0/24}", ".spec.addresses"),
        ("IPAddressPool/v1beta1", "{addresses: [192.0.2.0/24, 192.0.2.0/24]}", ".spec.addresses"),
        ("IPAddressPool/v1beta1", "{addresses: [], autoAssign: 'yes'}", ".spec.autoAssign"),
        ("IPAddressPool/v1beta1", "{addresses: [], protocol: layer2}", ".spec.protocol"),
        ("IPAddressPool/v1beta1", "{addresses: [], serviceAllocation: {namespaces: [a, a]}}",
         ".spec.serviceAllocation.namespaces"),
        ("L2Advertisement/v1beta1", "{ipAddressPools: [a, b, a]}", ".spec.ipAddressPools"),
        ("L2Advertisement/v1beta1", "{interfaces: [1]}", ".spec.interfaces[0]"),
        ("L2Advertisement/v1beta1", "{nodeSelectors: [{matchLabels: {a: 1}}]}",
         ".spec.nodeSelectors[0].matchLabels.a"),
        ("L2Advertisement/v1beta1",
         "{nodeSelectors: [{matchExpressions: [{key: a, operator: Like}]}]}",
         ".spec.nodeSelectors[0].matchExpressions[0].operator"),
        ("L2Advertisement/v1beta1", "{serviceSelectors: [{matchExpressions: [{key: a}]}]}",
         ".spec.serviceSelectors[0].matchExpressions[0].operator"),
        ("L2Advertisement/v1beta1", "{preferredNodeSelectors: [{weight: 0, preference: {}}]}",
         ".spec.preferredNodeSelectors[0].weight"),
        ("L2Advertisement/v1beta1", "{preferredNodeSelectors: [{weight: 1}]}",
         ".spec.preferredNodeSelectors[0].preference"),
        ("BGPPeer/v1beta2", "{peerASN: 2, peerAddress: 192.0.2.1}", ".spec.myASN"),
        ("BGPPeer/v1beta2", "{myASN: 4294967296}", ".spec.myASN"),
        ("BGPPeer/v1beta2", "{myASN: 1, peerAddress: router-1}", ".spec.peerAddress"),
        ("BGPPeer/v1beta2", "{myASN: 1, routerID: '1'}", ".spec.routerID"),
        ("BGPPeer/v1beta2", "{myASN: 1, dynamicASN: any}", ".spec.dynamicASN"),
        ("BGPPeer/v1beta2", "{myASN: 1, peerPort: 0}", ".spec.peerPort"),
        ("BGPPeer/v1beta1", f"{{{_PEER}, vrf: red}}", ".spec.vrf"),
        ("BGPPeer/v1beta1", f"{{{_PEER}, sourceAddress: 1.2.3}}", ".spec.sourceAddress"),
        ("BGPPeer/v1beta1", "{myASN: 1, peerASN: 2}", ".spec.peerAddress"),
        ("BGPAdvertisement/v1beta1", "{aggregationLength: 0}", ".spec.aggregationLength"),
        ("BGPAdvertisement/v1beta1", "{communities: ['1:2', '1:2']}", ".spec.communities"),
        ("BGPAdvertisement/v1beta1", "{localPref: 2147483648}", ".spec.localPref"),
        ("BFDProfile/v1beta1", "{detectMultiplier: 1}", ".spec.detectMultiplier"),
        ("BFDProfile/v1beta1", "{receiveInterval: 9}", ".spec.receiveInterval"),
        ("BFDProfile/v1beta1", "{minimumTtl: 255}", ".spec.minimumTtl"),
        ("Community/v1beta1", "{communities: [{name: a, value: 'large:1:2'}]}",
         ".spec.communities[0].value"),
        ("Community/v1beta1", "{communities: [{name: a, value: b}]}", ".spec.communities[0].value"),
    ],
)  # fmt: skip
def test_refuses_and_names_the_field(
    schemas: dict[str, Any], name: str, spec: str, field: str
) -> None:
    kind, _, version = name.partition("/")
    complaints = schemas[name].complaints(_body(kind, spec, version))
    assert [text.partition(":")[0] for text in complaints] == [field]


def test_every_field_is_explained(schemas: dict[str, Any]) -> None:
    for name in schemas:
        for path, (field, _) in _ours(schemas, name).items():
            if not path.endswith("[]"):
                assert field.get("description"), (name, path)
