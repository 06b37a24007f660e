"""`bgpextras`: which ConfigMap is read, and which of its lines never get to the engine."""

import json

import pytest

from kube.bgp_config import BgpConfig
from kube.files.manifest import read
from kube.objects.config_map import BgpExtras
from kube.objects.reading import WITH_BGP, decode
from kube.problem import Problem, Severity
from kube.rules import extras
from kube.snapshot import BgpScope, Snapshot, assemble, read_documents

NS = "metallb-system"
PEER = f"""
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{name: router, namespace: {NS}}}
spec: {{myASN: 64512, peerASN: 64501, peerAddress: 192.0.2.1}}
"""
LINES = "router bgp 64512\n neighbor 192.0.2.1 allowas-in\n"


def _map(text: str, name: str = "bgpextras", namespace: str = NS, key: str = "extras") -> str:
    about = {"name": name, "namespace": namespace}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {key: text}}
    return json.dumps(document)


def _build(*documents: str, last: BgpConfig | None = None) -> tuple[Snapshot, list[Problem]]:
    found = read("\n---\n".join(documents).encode(), "m.yaml")
    return assemble([read_documents(found, WITH_BGP)], NS, bgp=BgpScope("n1", last))


def _errors(problems: list[Problem]) -> list[str]:
    return [str(found) for found in problems if found.severity is Severity.ERROR]


def test_the_lines_come_with_the_configuration() -> None:
    snapshot, problems = _build(PEER, _map(LINES))
    assert problems == []
    assert snapshot.bgp is not None
    assert snapshot.bgp.extras == LINES
    assert snapshot.bgp != _build(PEER)[0].bgp


@pytest.mark.parametrize(
    "other",
    [
        _map("do write", name="other"),
        _map("do write", namespace="default"),
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": 5}),
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bgpextras"}}),
    ],
)
def test_of_other_config_maps_nothing_is_read(other: str) -> None:
    snapshot, problems = _build(PEER, other)
    assert _errors(problems) == []
    assert snapshot.bgp is not None
    assert snapshot.bgp.extras == ""


def test_a_map_without_the_key_is_told_of() -> None:
    _, problems = _build(PEER, _map(LINES, key="extra"))
    (warning,) = problems
    assert "has no key extras" in str(warning)
    assert warning.severity is Severity.WARNING


def test_one_bad_line_is_named_by_its_number_and_leaves_the_last_good_ones() -> None:
    before = _build(PEER, _map(LINES))[0].bgp
    bad = LINES + "!\nneighbor 192.0.2.1 password sesame\x07\ndo write\n"
    snapshot, problems = _build(PEER.replace("64501", "64502"), _map(bad), last=before)
    assert snapshot.bgp == before
    (error,) = _errors(problems)
    where = f"ConfigMap {NS}/bgpextras: data.extras: line 4: has control characters"
    assert error.endswith(where)
    assert "m.yaml:" in error
    assert "sesame" not in error


def test_without_any_of_bgp_a_bad_line_is_told_of_too() -> None:
    assert "line 1: is a command" in _errors(_build(_map("do write"))[1])[0]


def test_a_text_that_is_none_names_its_field() -> None:
    number = _map(LINES).replace(json.dumps(LINES), "7")
    (error,) = _errors(_build(PEER, number)[1])
    assert "data.extras: is no text" in error
    with pytest.raises(Exception, match="is no mapping"):
        decode("ConfigMap", b'{"metadata": {"name": "bgpextras"}, "data": [1]}')


def test_nothing_shows_a_line() -> None:
    view, _ = decode("ConfigMap", _map("neighbor x password sesame").encode())
    assert isinstance(view, BgpExtras)
    assert view.text == "neighbor x password sesame"
    assert "sesame" not in repr(view)
    assert "sesame" not in repr(BgpConfig(extras=view.text))


REFUSED = {
    "do write": "is a command",
    "do  clear bgp *": "is a command",
    "quit": "leave a context",
    "q": "leave a context",
    "ex": "leave a context",
    "exit-addr": "leave a context",
    "exit now": "leave a context",
    "no router bgp 64512": "would take away",
    "  no  router b 1": "would take away",
    "router b 64512": "must be `router bgp AS`",
    "router ospf": "must be `router bgp AS`",
    "router bgp 64512 view x": "must be `router bgp AS`",
    "log file /run/frr/x": "write a file",
    "log fi x": "write a file",
    "dump bgp all /x": "write a file",
    "show run | include x": "a pipe",
    "hostname \x1b[2J": "control characters",
    "hostname a\u2028b": "control characters",
    "hostname a\x0bb": "control characters",
    "x" * 1_001: "more than 1000 characters",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_before_the_engine_sees_it(line: str) -> None:
    found = extras.fault(f"!\n{line}\n")
    assert found is not None
    assert (found[0], REFUSED[line] in found[1]) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        *("", "!", "# do write", "! quit", "exit", "end", " exit-address-family", "exit-vrf\r"),
        *("router bgp 64512", "router bgp 64512 vrf red", "log stdout", "enable password x"),
        *("bgp as-path access-list a permit ^65001|65002$", "\troute-map x permit 1", "end\t"),
        *("no bgp default ipv4-unicast", "route-map no permit 1", "export x", "english"),
    ],
)
def test_what_is_not_refused(line: str) -> None:
    assert extras.fault(line) is None


def test_sizes_have_limits() -> None:
    full = "hostname a\n" * extras.MOST_LINES
    assert extras.fault(full) is None
    assert extras.fault(full + "!\n") == (0, "has more than 4000 lines")
    big = ("x" * 900 + "\n") * 300
    assert extras.fault(big) == (0, "has more than 262144 bytes")
    assert extras.fault("\ud800") == (1, "has control characters")


def test_a_router_with_another_number_than_the_peers_is_refused() -> None:
    for line in ("router bgp 64513", "router bgp 64513 vrf default"):
        (error,) = _errors(_build(PEER, _map(f"!\n{line}"))[1])
        assert "line 2: is not the router of the peers, whose myASN is 64512" in error
    assert _errors(_build(PEER, _map("router bgp 64513 vrf red"))[1]) == []
