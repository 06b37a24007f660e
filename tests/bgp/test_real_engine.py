"""Random configurations typed into a real FRR, each over the one before, and read back."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroute2 import IPRoute

import bgp_wishes as wishes
from bgp.frr_config import EngineDaemon, FrrConfig, Wanted
from frr_engine import FrrEngine, engine, missing_engine
from kube.peering import AddressFamily, Session
from netns import missing_right
from plan.offers import Routes

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or missing_right() is not None, reason="needs root"),
    pytest.mark.skipif(missing_engine() is not None, reason=str(missing_engine())),
]


@pytest.fixture(scope="module")
def frr() -> Iterator[FrrEngine]:
    with engine("lines") as running:
        running.namespace.run(_give_an_address)
        yield running


def _give_an_address() -> None:
    with IPRoute() as netlink:
        netlink.addr("add", index=1, address="192.0.2.77", prefixlen=32)


def type_all(frr: FrrEngine, config: FrrConfig) -> None:
    for daemon in EngineDaemon:
        frr.configure(daemon, config.lines(daemon, frr.running(daemon)))


def assert_nothing_left(frr: FrrEngine, config: FrrConfig) -> None:
    assert [config.lines(each, frr.running(each)) for each in EngineDaemon] == [[], [], []]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(wishes.wishes, wishes.routes, st.booleans()), min_size=1, max_size=4))
def test_what_was_typed_reads_back_as_wanted(
    frr: FrrEngine, steps: list[tuple[Wanted, Routes, bool]]
) -> None:
    config = FrrConfig()
    told: Routes = {}
    for wanted, routes, up in steps:
        config.handle_wanted(wanted)
        type_all(frr, config)
        assert_nothing_left(frr, config)
        gone = dict.fromkeys(told.keys() - routes.keys())
        frr.configure("bgpd", config.handle_routes({**gone, **routes}))
        told = routes
        assert_nothing_left(frr, config)
        frr.configure("bgpd", config.handle_established(frozenset(config.neighbors)) if up else ())
        frr.configure("bgpd", config.handle_draining(up))
        frr.configure("bgpd", config.handle_farewell("bye for now" if up else ""))
        assert_nothing_left(frr, config)


SESSION = Session(
    "a",
    64512,
    64501,
    address=IPv4Address("192.0.2.1"),
    families=frozenset({AddressFamily.IPV4}),
)
EXTRAS = """
ip prefix-list all permit 0.0.0.0/0 le 32
ip prefix-list all seq 20 deny 10.0.0.0/8
ipv6 prefix-list some seq 5 permit 2001:db8::/32
access-list who permit 192.0.2.0/24
bgp as-path access-list way permit ^64501|64502$
bgp community-list standard blue permit 64512:1
bgp large-community-list standard red permit 1:2:3
route-map 192.0.2.1-in permit 20
  match ip address prefix-list all
  match as-path way
  set local-preference 77
  set src 192.0.2.77
route-map 192.0.2.1-out permit 60000
  match community blue
router bgp 64512
bgp bestpath as-path multipath-relax
neighbor 192.0.2.1 allowas-in
neighbor 192.0.2.1 ttl-security hops 1
neighbor 192.0.2.9 remote-as 64509
neighbor 192.0.2.9 description somebody  else
neighbor 192.0.2.1 description the router
aggregate-address 10.8.0.0/16 summary-only
address-family ipv6 unicast
  neighbor 192.0.2.9 activate
exit-address-family
bfd
 profile people
  receive-interval 77
ip protocol bgp route-map 192.0.2.1-in
router bgp 64513 vrf red
  neighbor 10.0.0.1 remote-as 64514
"""


def said(frr: FrrEngine, daemon: EngineDaemon) -> set[str]:
    """Return what runs, without contexts that are empty: they say nothing."""
    empty = {"bfd", "!", "exit", "exit-address-family", "address-family ipv6 unicast"}
    lines = (line.strip() for line in frr.running(daemon).splitlines())
    return {line for line in lines if line not in empty}


def test_extras_of_people_are_kept_and_taken_back(frr: FrrEngine) -> None:
    config = FrrConfig()
    config.handle_wanted(Wanted((SESSION,)))
    type_all(frr, config)
    before = [said(frr, each) for each in EngineDaemon]
    config.handle_wanted(Wanted((SESSION,), extras=EXTRAS))
    type_all(frr, config)
    assert_nothing_left(frr, config)
    running = frr.running("bgpd")
    for line in ("route-map 192.0.2.1-in permit 20", "allowas-in", "bgp as-path access-list way"):
        assert line in running
    zebra = frr.running("zebra")
    for line in ("ip protocol bgp route-map 192.0.2.1-in", "set src 192.0.2.77", "prefix-list all"):
        assert line in zebra
    assert "set src" not in running
    assert "local-preference" not in zebra
    config.handle_wanted(Wanted((SESSION,)))
    type_all(frr, config)
    assert_nothing_left(frr, config)
    assert "route-map 192.0.2.1-in deny 20" in frr.running("bgpd")
    after = [said(frr, each) for each in EngineDaemon]
    assert [now ^ then for now, then in zip(after, before, strict=True)] == [set(), set(), set()]


def test_an_entry_of_a_list_that_changes_is_there_once(frr: FrrEngine) -> None:
    """To take away an entry the engine looks at its number alone."""
    config = FrrConfig()
    for text in ("permit 10.0.0.0/8", "permit 10.0.0.0/9", "deny any"):
        config.handle_wanted(Wanted((SESSION,), extras=f"ip prefix-list once seq 5 {text}"))
        type_all(frr, config)
        assert_nothing_left(frr, config)
        assert frr.running("bgpd").count("ip prefix-list once") == 1
    config.handle_wanted(Wanted((SESSION,)))
    type_all(frr, config)
    assert "ip prefix-list once" not in frr.running("bgpd")
