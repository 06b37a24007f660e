"""The lines to type, against a model of the engine that takes them."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bgp_wishes as wishes
from bgp.frr_config import EngineDaemon, FrrConfig, Wanted
from bgp.places import PeerPlaces, places
from bgp.routes import RouteLines
from bgp.tree import Block, ConfigurationError, parse
from bgp.words import LineError, profile
from frr_model import printed, typed
from kube.peering import AddressFamily, AnyAS, Profile, Session
from plan.offers import Offer, Routes

IPV4 = frozenset({AddressFamily.IPV4})
SESSION = Session("a", 64512, 64501, address=IPv4Address("192.0.2.1"), families=IPV4)
P7, P8 = IPv4Network("198.51.100.7/32"), IPv4Network("198.51.100.8/32")


class Engine:
    """Daemons that take and print lines."""

    def __init__(self) -> None:
        self.trees = {daemon: Block() for daemon in EngineDaemon}

    def connect(self, config: FrrConfig) -> list[str]:
        """Type all that is missing, and return it."""
        lines: list[str] = []
        for daemon, tree in self.trees.items():
            new = config.lines(daemon, printed(tree))
            typed(tree, new)
            lines += new
        return lines

    def bgpd(self, lines: tuple[str, ...]) -> None:
        typed(self.trees[EngineDaemon.BGPD], lines)

    def text(self) -> set[str]:
        return {line.strip() for tree in self.trees.values() for line in tree.lines()}


def configured(*sessions: Session, engine: Engine | None = None) -> tuple[FrrConfig, Engine]:
    config, engine = FrrConfig(), engine or Engine()
    config.handle_wanted(Wanted(sessions))
    engine.connect(config)
    return config, engine


@settings(max_examples=40)
@given(st.lists(st.tuples(wishes.wishes, wishes.routes, st.booleans()), min_size=1, max_size=5))
def test_whatever_ran_before_becomes_what_is_wanted(
    steps: list[tuple[Wanted, Routes, bool]],
) -> None:
    config, engine = FrrConfig(), Engine()
    told: Routes = {}
    for wanted, routes, up in steps:
        config.handle_wanted(wanted)
        engine.connect(config)
        assert engine.connect(config) == []
        gone = dict.fromkeys(told.keys() - routes.keys())
        engine.bgpd(config.handle_routes({**gone, **routes}))
        told = routes
        engine.bgpd(config.handle_established(frozenset(config.neighbors) if up else frozenset()))
        engine.bgpd(config.handle_draining(up))
        assert engine.connect(config) == []


@settings(max_examples=40)
@given(wishes.wishes, wishes.routes, wishes.routes)
def test_a_new_speaker_finds_all_as_it_was(wanted: Wanted, before: Routes, now: Routes) -> None:
    """Whatever numbers the classes got in which order."""
    sessions = {each.peer for each in wanted.sessions}
    now = {
        each: {peer: offer for peer, offer in offers.items() if peer in sessions}
        for each, offers in now.items()
        if offers.keys() & sessions
    }
    config, engine = FrrConfig(), Engine()
    config.handle_wanted(wanted)
    config.handle_routes(before)
    engine.connect(config)
    engine.bgpd(config.handle_routes({**dict.fromkeys(before.keys() - now.keys()), **now}))
    new = FrrConfig()
    new.handle_wanted(wanted)
    for each, offers in reversed(list(now.items())):
        new.handle_routes({each: offers})
    assert engine.connect(new) == []


def test_one_prefix_is_one_line() -> None:
    config, _ = configured(SESSION)
    config.handle_routes({P7: {"a": Offer()}})
    assert config.handle_routes({P8: {"a": Offer()}}) == (
        "router bgp 64512",
        "address-family ipv4 unicast",
        f"network {P8} route-map c1",
        "exit-address-family",
        "exit",
    )
    assert config.handle_routes({P8: {"a": Offer()}}) == ()
    assert f"no network {P8}" in config.handle_routes({P8: None})


def test_a_thousand_prefixes_are_a_thousand_lines() -> None:
    config, _ = configured(SESSION)
    many = {each: {"a": Offer()} for each in IPv4Network("10.0.0.0/22").subnets(new_prefix=32)}
    lines = config.handle_routes(dict(list(many.items())[:1000]))
    assert sum(line.startswith("network ") for line in lines) == 1000
    assert len(lines) <= 1000 + 10


class Counting(dict):  # type: ignore[type-arg]
    """Counts how often its values are looked at one after the other."""

    walks = 0

    def items(self):  # type: ignore[no-untyped-def]
        self.walks += 1
        return super().items()

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.walks += 1
        return super().__iter__()


def test_a_change_looks_at_no_other_prefix() -> None:
    routes = RouteLines()
    routes.handle_places(places((SESSION,)))
    many = list(IPv4Network("10.0.0.0/22").subnets(new_prefix=32))
    routes.changes({each: {"a": Offer()} for each in many})
    told = routes._told = Counting(routes._told)
    routes.changes({many[0]: {"a": Offer(med=9)}, many[1]: None})
    assert told.walks == 0


def test_another_class_is_the_same_line_with_another_name_and_the_old_one_goes() -> None:
    config, _ = configured(SESSION)
    config.handle_routes({P7: {"a": Offer()}})
    assert config.handle_routes({P7: {"a": Offer(frozenset({(65535, 0)}))}}) == (
        *("route-map c2 permit 10", "set tag 2", "exit"),
        *("route-map 192.0.2.1-out permit 2", "match tag 2", "set community 65535:0", "exit"),
        *("router bgp 64512", "address-family ipv4 unicast"),
        f"network {P7} route-map c2",
        *("exit-address-family", "exit"),
        *("no route-map c1 permit 10", "no route-map 192.0.2.1-out permit 1"),
    )


def test_classes_have_a_limit_and_what_is_refused_comes_when_there_is_room() -> None:
    routes = RouteLines(most_classes=1)
    routes.handle_places(places((SESSION,)))
    routes.changes({P7: {"a": Offer()}})
    assert routes.changes({P8: {"a": Offer(med=1)}}) == ()
    assert (routes.refused, routes.classes) == (1, 1)
    lines = routes.changes({P7: None})
    assert f"network {P8} route-map c1" in lines
    assert lines.index("no route-map c1 permit 10") < lines.index("route-map c1 permit 10")
    assert routes.refused == 0


def test_bfd_waits_for_its_session_and_stays() -> None:
    config, engine = configured(replace(SESSION, bfd="fast"))
    bfd = {"neighbor 192.0.2.1 bfd", "neighbor 192.0.2.1 bfd profile fast"}
    assert not bfd & engine.text()
    engine.bgpd(config.handle_established(frozenset({("", "192.0.2.1")})))
    assert bfd <= engine.text()
    assert config.handle_established(frozenset()) == ()
    again, _ = configured(replace(SESSION, bfd="fast"), engine=engine)
    assert bfd <= engine.text(), "a new speaker leaves it"
    engine.trees = Engine().trees
    engine.connect(again)
    assert not bfd & engine.text(), "a new engine has no session yet"


def test_a_session_starts_when_its_families_are_there() -> None:
    config = FrrConfig()
    config.handle_wanted(Wanted((replace(SESSION, password="sesame"),)))
    lines = config.lines(EngineDaemon.BGPD, "")
    assert lines[0] == "bgp route-map delay-timer 1"
    assert lines[-2:] == ["neighbor 192.0.2.1 timers connect 5", "exit"]
    assert lines.index("route-map 192.0.2.1-in deny 20") < lines.index("router bgp 64512")


def test_the_first_route_waits_for_no_other_peer() -> None:
    config, engine = configured(SESSION)
    assert "coalesce-time 50" in engine.text()
    typed(engine.trees[EngineDaemon.BGPD], ["router bgp 64512", "coalesce-time 1000", "exit"])
    assert engine.connect(config) == ["router bgp 64512", "coalesce-time 50", "exit"]


def test_what_goes_takes_all_of_its_own_along() -> None:
    config, engine = configured(SESSION, replace(SESSION, peer="b", address=IPv6Address("2001::1")))
    config.handle_wanted(Wanted((SESSION,)))
    assert engine.connect(config) == [
        *("router bgp 64512", "no neighbor 2001::1", "exit"),
        *("no route-map 2001::1-in deny 20", "no route-map 2001::1-out deny 65535"),
    ]


def test_the_lines_of_others_stay() -> None:
    config, engine = configured(SESSION)
    router = engine.trees[EngineDaemon.BGPD].get("router bgp 64512")
    assert router is not None
    router.put("bgp bestpath compare-routerid")
    router.put("neighbor 192.0.2.1 capability orf prefix-list both")
    assert engine.connect(config) == []


def test_versions_print_one_thing_in_several_ways() -> None:
    said = parse(
        "router bgp 1\n neighbor 2001:DB8::1 ebgp-multihop 255\n"
        "route-map a permit 1\n set community local-AS no-export 1:2\n"
    )
    assert list(said.lines()) == [
        "router bgp 1",
        " neighbor 2001:db8::1 ebgp-multihop",
        "route-map a permit 1",
        " set community 1:2 65535:65281 65535:65283",
    ]


HOSTILE = [
    *("", " ", "a b", "a\nb", "a\0b", "a\rb", "a\tb", "\x1b[2J", "a\x7f", "a\x85b", "a\u2028b"),
    *("a\u00a0b", "a\u202eb", "\ud800", "x" * 81, "é" * 41, "a\x0bb", "\n", "a\nexit", "x\x00\x00"),
]
LINKS = [
    *("10.0.0.1", "::1", "fe80::1", "1.2", "123", "eth0 remote-as 1", "eth0\n", "-eth0", "!eth0"),
    *("#eth0", "a/b", "e" * 16, "eth|0", "eth0;x", "eth?", "ëth0", "eth0 ", " eth0", "a:b", "é"),
]
MAKE: dict[str, Callable[[str], Session]] = {
    "password": lambda text: replace(SESSION, password=text),
    "interface": lambda text: replace(SESSION, address=None, interface=text),
    "vrf": lambda text: replace(SESSION, vrf=text),
}


@pytest.mark.parametrize("text", [*HOSTILE, *LINKS])
@pytest.mark.parametrize("field", MAKE)
def test_nothing_hostile_reaches_a_line(field: str, text: str) -> None:
    if text in ("", *(LINKS if field == "password" else ())) and field != "interface":
        return
    config, engine = configured(SESSION)
    before = engine.text()
    with pytest.raises(LineError) as refused:
        config.handle_wanted(Wanted((MAKE[field](text),)))
    assert (refused.value.owner, refused.value.field) == ("BGPPeer a", field)
    assert len(text) < 3 or text not in str(refused.value)
    assert str(refused.value).isprintable()
    assert engine.connect(config) == []
    assert engine.text() == before


@pytest.mark.parametrize("text", ["a\nb", "a | b", "x" * 129, "é", " a", "a  b", "\0"])
def test_no_text_of_a_shutdown_is_more_than_a_text(text: str) -> None:
    config, _ = configured(SESSION)
    with pytest.raises(LineError):
        config.handle_farewell(text)
    assert config.handle_farewell("maintenance, back at 9")


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SESSION, address=IPv6Address("fe80::1%eth0 remote-as 1")),
        replace(SESSION, source=IPv6Address("fe80::1%x")),
        replace(SESSION, port=0),
        replace(SESSION, connect=0),
        replace(SESSION, my_as=0),
        replace(SESSION, peer_as=1 << 32),
        replace(SESSION, peer_as=64512, local_as=7),
        replace(SESSION, peer_as=AnyAS.INTERNAL, local_as=7),
        replace(SESSION, hold=70_000, keepalive=1),
    ],
)
def test_what_the_engine_would_refuse_is_refused_before(wrong: Session) -> None:
    with pytest.raises(LineError):
        FrrConfig().handle_wanted(Wanted((wrong,)))


def test_two_peers_that_are_one_to_the_engine_are_refused() -> None:
    with pytest.raises(LineError):
        places((SESSION, replace(SESSION, peer="b")))
    with pytest.raises(LineError):
        places((SESSION, replace(SESSION, peer="b", my_as=1, address=IPv4Address("192.0.2.9"))))
    with pytest.raises(LineError, match="extras, line 2"):
        FrrConfig().handle_wanted(Wanted(extras="!\nrouter bgp 1\0"))
    assert places(()) == PeerPlaces({}, {})


@given(st.text(max_size=80), st.text(max_size=80))
def test_names_of_profiles_stay_apart(one: str, other: str) -> None:
    assert (profile(one) == profile(other)) == (one == other)
    assert profile(profile(one)) != profile(one) or profile(one) == one
    assert len(profile(one)) <= 63
    assert profile(one).isascii()
    assert profile(one).split() == [profile(one)]


def test_no_password_shows() -> None:
    wanted = Wanted((replace(SESSION, password="sesame"),), extras="neighbor x password sesame")
    tree = parse("router bgp 1\n neighbor 192.0.2.1 password sesame\n")
    assert "sesame" not in repr(wanted) + repr(tree)
    config, engine = FrrConfig(), Engine()
    config.handle_wanted(replace(wanted, extras=""))
    engine.connect(config)
    config.handle_wanted(Wanted((SESSION,)))
    lines = engine.connect(config)
    assert "no neighbor 192.0.2.1 password" in lines
    assert "sesame" not in str(lines)


def test_values_of_a_profile_go_back_to_what_the_engine_takes() -> None:
    config, engine = FrrConfig(), Engine()
    config.handle_wanted(Wanted(profiles=(Profile("fast", receive=50, echo=True),)))
    engine.connect(config)
    config.handle_wanted(Wanted(profiles=(Profile("fast"),)))
    assert engine.connect(config) == [
        *("bfd", "profile fast", "receive-interval 300", "no echo-mode", "exit", "exit")
    ]
    config.handle_wanted(Wanted())
    assert engine.connect(config) == ["bfd", "no profile fast", "exit"]


def test_a_configuration_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgp.tree.MOST_BYTES", 10)
    with pytest.raises(ConfigurationError):
        parse("x" * 11)
