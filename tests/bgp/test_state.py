from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp import state
from bgp.state import EngineStateError
from bgp.tree import difference, parse
from kube.peering import AddressFamily

GOLDEN = Path(__file__).parents[1] / "golden" / "bgp"
ROUTER = "", "10.77.0.12"
READERS = state.neighbors, state.bfd_peers, state.bfd_counters, state.advertised


def recorded(name: str) -> str:
    return (GOLDEN / name).read_text()


def test_sessions_as_recorded() -> None:
    found = state.neighbors(recorded("neighbors.json"))
    assert set(found) == {ROUTER, ("", "192.0.2.99"), ("", "eth7"), ("red", "192.0.2.98")}
    router = found[ROUTER]
    assert router.established
    assert router.hold == 9000
    assert router.sent == {AddressFamily.IPV4: 2}
    assert router.messages.opens_sent > 0
    assert router.messages.updates_sent > 0
    assert router.uptime > 0
    assert not found["", "eth7"].established


def test_a_session_that_is_gone() -> None:
    router = state.neighbors(recorded("neighbors-down.json"))[ROUTER]
    assert not router.established
    assert router.dropped >= 1
    assert router.sent == {AddressFamily.IPV4: 0}
    assert router.last_reset


def test_routes_that_were_sent() -> None:
    service = IPv4Network(f"{IPv4Address('198.51.100.7')}/32")
    assert service in state.advertised(recorded("advertised.json"))
    assert state.advertised("{}") == frozenset()


def test_bfd_sessions_by_the_engines_names() -> None:
    peers = state.bfd_peers('[{"peer":"10.0.0.1","vrf":"default","status":"up","uptime":3}]')
    assert peers["", "10.0.0.1"].up
    counts = state.bfd_counters('[{"peer":"FE80::1","vrf":"red","control-packet-input":7}]')
    assert counts["red", "fe80::1"].control_packet_input == 7


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("raw", ["", "[", "7", '"x"', "[7]", '{"a":7}x', b"\xff", "[" * 100_000])
def test_what_is_not_of_the_engine(read: object, raw: str | bytes) -> None:
    assert callable(read)
    with pytest.raises(EngineStateError):
        read(raw)


@given(st.binary(max_size=200))
def test_no_other_exception_comes_out(raw: bytes) -> None:
    for read in READERS:
        try:
            read(raw)
        except EngineStateError:
            continue


def test_the_recorded_configuration_is_read_whole() -> None:
    text = recorded("running-bgpd.conf")
    tree = parse(text)
    assert {"router bgp", "router bgp vrf red", "route-map c1 10"} <= tree.below.keys()
    assert difference(tree, parse(text)) == []
