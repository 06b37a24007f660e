"""Pools and advertisements judged together."""

import pytest

from kube.address import parse_ip
from kube.config import PoolConfig
from kube.files.manifest import read
from kube.problem import Problem, Severity
from kube.snapshot import build


def _pool(name: str, *addresses: str, more: str = "") -> str:
    listed = "".join(f"\n  - {address}" for address in addresses)
    return (
        f"kind: IPAddressPool\napiVersion: metallb.io/v1beta1\n"
        f"metadata: {{name: {name}, labels: {{tier: {name}}}}}\nspec:\n  addresses:{listed}{more}\n"
    )


def _ad(name: str, spec: str = "{}") -> str:
    return (
        f"kind: L2Advertisement\napiVersion: metallb.io/v1beta1\nmetadata: {{name: {name}}}\n"
        f"spec: {spec}\n"
    )


def _judge(*documents: str) -> tuple[PoolConfig | None, list[Problem]]:
    snapshot, problems = build(read("---\n".join(documents).encode(), "c.yaml"), "metallb-system")
    return snapshot.config, problems


def test_finds_the_pool_of_an_address() -> None:
    config, problems = _judge(
        _pool("low", "10.0.0.0/24", "2001:db8::/120"), _pool("high", "10.0.1.5-10.0.1.9")
    )
    assert config is not None
    assert problems == []
    found = {
        text: config.pool_of(address)
        for text in ("9.255.255.255", "10.0.0.0", "10.0.0.255", "10.0.1.4", "10.0.1.5", "10.0.1.9",
                     "10.0.1.10", "2001:db8::ff", "2001:db8::100", "::a00:1")
        if (address := parse_ip(text))
    }  # fmt: skip
    assert found == {
        "9.255.255.255": None, "10.0.0.0": "low", "10.0.0.255": "low", "10.0.1.4": None,
        "10.0.1.5": "high", "10.0.1.9": "high", "10.0.1.10": None, "2001:db8::ff": "low",
        "2001:db8::100": None, "::a00:1": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("10.0.0.1", "2001:db8::1"), "low"),
        (("10.0.0.1", "10.0.1.5"), None),
        (("10.0.0.1", "10.9.0.1"), None),
        (("10.9.0.1",), None),
        ((), None),
    ],
)
def test_one_pool_must_hold_all(texts: tuple[str, ...], expected: str | None) -> None:
    config, _ = _judge(_pool("low", "10.0.0.0/24", "2001:db8::/120"), _pool("high", "10.0.1.0/24"))
    assert config is not None
    addresses = [address for text in texts if (address := parse_ip(text))]
    assert config.pool_for(addresses) == expected


@pytest.mark.parametrize(
    ("spec", "pools"),
    [
        ("{}", {"a", "b"}),
        ("{ipAddressPools: [a]}", {"a"}),
        ("{ipAddressPoolSelectors: [{matchLabels: {tier: b}}]}", {"b"}),
        ("{ipAddressPools: [a], ipAddressPoolSelectors: [{matchLabels: {tier: b}}]}", {"a", "b"}),
        ("{ipAddressPools: [none]}", set()),
    ],
)
def test_advertisements_find_their_pools(spec: str, pools: set[str]) -> None:
    config, _ = _judge(_pool("a", "10.0.0.0/24"), _pool("b", "10.0.1.0/24"), _ad("ad", spec))
    assert config is not None
    assert {name for name, ads in config.advertisements.items() if ads} == pools


A = _pool("a", "10.0.0.0/24")


@pytest.mark.parametrize(
    ("documents", "field", "message"),
    [
        (
            (A, _pool("b", "10.0.0.9-10.0.0.10")),
            "spec.addresses[0]",
            "overlaps '10.0.0.0/24' of pool a",
        ),
        ((_pool("a", "10.0.0.0/25", "10.0.0.0/25"),), "spec.addresses", "overlaps"),
        (
            (_pool("a", "10.0.0.0/8", "10.0.0.1/32", "10.2.0.0/32"),),
            "spec.addresses[2]",
            "overlaps",
        ),
        ((_pool("a", "10.0.0.9-10.0.0.1"),), "spec.addresses[0]", "reversed"),
        ((_pool("a", "10.0.0.1"),), "spec.addresses[0]", "neither"),
        ((_pool("a", more=" []"),), "spec.addresses", "is empty"),
        (
            (_pool("a", "10.0.0.0/24", more="\n  serviceAllocation: {namespaces: [x, x]}"),),
            "spec.serviceAllocation.namespaces[1]",
            "twice",
        ),
        (
            (
                _pool(
                    "a",
                    "10.0.0.0/24",
                    more="\n  serviceAllocation: {serviceSelectors: [{matchLabels: {'a b': c}}]}",
                ),
            ),
            "spec.serviceAllocation.serviceSelectors[0].matchLabels.a b",
            "not a label key",
        ),
        ((A, _ad("ad", "{ipAddressPools: [a, a]}")), "spec.ipAddressPools[1]", "twice"),
        (
            (A, _ad("ad", "{nodeSelectors: [{matchLabels: {r: x}}, {matchLabels: {r: x}}]}")),
            "spec.nodeSelectors[1]",
            "twice",
        ),
        (
            (A, _ad("ad", "{nodeSelectors: [{matchExpressions: [{key: r, operator: Is}]}]}")),
            "spec.nodeSelectors[0].matchExpressions[0].operator",
            "'Is' is not one of",
        ),
        (
            (A, _ad("ad", "{preferredNodeSelectors: [{weight: 101, preference: {}}]}")),
            "spec.preferredNodeSelectors[0].weight",
            "1 to 100",
        ),
    ],
)
def test_one_error_refuses_the_whole(documents: tuple[str, ...], field: str, message: str) -> None:
    config, problems = _judge(*documents, _pool("fine", "172.16.0.0/24"))
    assert config is None
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert any(error.field.startswith(field) and message in error.message for error in errors)
    assert all(error.object and error.file == "c.yaml" and error.line for error in errors)


def test_an_invalid_configuration_leaves_the_last_one() -> None:
    good, _ = _judge(A)
    bad = read(_pool("a", "10.0.0.9-10.0.0.1").encode(), "c.yaml")
    snapshot, _ = build(bad, "metallb-system", good)
    assert snapshot.config is good


@pytest.mark.parametrize(
    ("documents", "field", "line", "message"),
    [
        ((A, _ad("ad", "{ipAddressPools: [gone]}")), "spec.ipAddressPools[0]", 11, "'gone'"),
        ((A, _ad("ad", "{interface: [eth0]}")), "spec.interface", 11, "unknown field 'interface'"),
        (
            (A, _ad("ad", "{nodeSelectors: [{matchLabel: {a: b}}]}")),
            "spec.nodeSelectors[0].matchLabel",
            11,
            "unknown field",
        ),
        ((A, _ad("ad") + "specs: 1\n"), "specs", 12, "unknown field 'specs'"),
        (
            (_pool("a", "10.0.0.0/24", more="\n  serviceAllocation: {prio: 1}"),),
            "spec.serviceAllocation.prio",
            7,
            "unknown field",
        ),
        ((_pool("a", "10.0.0.1-2001:db8::1"),), "spec.addresses[0]", 6, "mixes IPv4 and IPv6"),
    ],
)
def test_warnings_refuse_nothing(
    documents: tuple[str, ...], field: str, line: int, message: str
) -> None:
    config, problems = _judge(*documents)
    assert config is not None
    (warning,) = problems
    assert warning.severity is Severity.WARNING
    assert (warning.field, warning.file) == (field, "c.yaml")
    assert message in warning.message
    assert warning.line == line
