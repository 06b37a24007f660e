"""Random configurations typed into a real FRR, each over the one before, and read back."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        yield running


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


def test_extras_of_people_are_kept(frr: FrrEngine) -> None:
    extras = """
ip prefix-list all seq 5 permit 0.0.0.0/0 le 32
route-map 192.0.2.1-in permit 20
  match ip address prefix-list all
router bgp 64512
neighbor 192.0.2.1 allowas-in
"""
    config = FrrConfig()
    session = Session(
        "a",
        64512,
        64501,
        address=IPv4Address("192.0.2.1"),
        families=frozenset({AddressFamily.IPV4}),
    )
    config.handle_wanted(Wanted((session,), extras=extras))
    type_all(frr, config)
    assert_nothing_left(frr, config)
    assert "route-map 192.0.2.1-in permit 20" in frr.running("bgpd")
    config.handle_wanted(Wanted((session,)))
    type_all(frr, config)
    assert "route-map 192.0.2.1-in deny 20" in frr.running("bgpd")
