"""Lines that people add: typed once, kept while they are wanted, and taken back."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp import extras
from bgp.extras_trial import ExtrasTrial, RefusedExtra
from bgp.frr_config import EngineDaemon, FrrConfig, Wanted
from bgp.tree import Block, parse
from bgp.words import LineError
from frr_model import printed, typed
from kube.peering import AddressFamily, Profile, Session

IPV4 = frozenset({AddressFamily.IPV4})
SESSION = Session("a", 64512, 64501, address=IPv4Address("192.0.2.1"), families=IPV4)
ACCEPT = """
ip prefix-list all seq 5 permit 0.0.0.0/0 le 32
route-map 192.0.2.1-in permit 20
  match ip address prefix-list all
router bgp 64512
  neighbor 192.0.2.1 allowas-in
"""


class Engine:
    """Daemons that take and print lines."""

    def __init__(self) -> None:
        self.trees = {daemon: Block() for daemon in EngineDaemon}

    def connect(self, config: FrrConfig) -> list[str]:
        lines: list[str] = []
        for daemon, tree in self.trees.items():
            new = config.lines(daemon, printed(tree))
            typed(tree, new)
            lines += new
        return lines

    def text(self) -> str:
        return "".join(printed(tree) for tree in self.trees.values())


def _with(text: str, *sessions: Session) -> Wanted:
    return Wanted(sessions or (SESSION,), extras=text)


def _typed(config: FrrConfig, engine: Engine, wanted: Wanted) -> list[str]:
    config.handle_wanted(wanted)
    lines = engine.connect(config)
    assert engine.connect(config) == []
    return lines


def test_what_is_taken_away_is_taken_back_and_ours_is_there_again() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(""))
    before = engine.text()
    lines = _typed(config, engine, _with(ACCEPT))
    list_, user = "ip prefix-list all seq 5 permit 0.0.0.0/0 le 32", "neighbor 192.0.2.1 allowas-in"
    # A list that is not there refuses everything.
    assert lines.index(list_) < lines.index(user)
    lines = _typed(config, engine, _with(""))
    assert engine.text() == before
    assert lines.index(f"no {user}") < lines.index(f"no {list_}")


def test_one_line_of_many_goes_alone() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(ACCEPT))
    assert _typed(config, engine, _with(ACCEPT.replace("neighbor 192.0.2.1 allowas-in", ""))) == [
        "router bgp 64512",
        "address-family ipv4 unicast",
        "no neighbor 192.0.2.1 allowas-in",
        "exit-address-family",
        "exit",
    ]


def test_an_entry_that_changes_keeps_its_number_and_is_not_taken_away() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(ACCEPT))
    changed = ACCEPT.replace("0.0.0.0/0 le 32", "10.0.0.0/8 le 32")
    new = "ip prefix-list all seq 5 permit 10.0.0.0/8 le 32"
    assert _typed(config, engine, _with(changed)) == [new]


def test_an_entry_without_a_number_is_known_by_what_it_says() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(""))
    before = engine.text()
    config.handle_wanted(_with("ip prefix-list all permit any"))
    assert engine.connect(config) == ["ip prefix-list all permit any"]
    # As the engine prints it.
    bgpd = engine.trees[EngineDaemon.BGPD]
    del bgpd.below["ip prefix-list all permit any"]
    bgpd.put("ip prefix-list all seq 5 permit any")
    assert engine.connect(config) == []
    assert _typed(config, engine, _with("")) == ["no ip prefix-list all seq 5 permit any"]
    assert engine.text() == before


def test_contexts_that_were_made_go_and_those_that_are_there_anyway_stay() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(""))
    before = engine.text()
    added = (
        "vrf red\nip route 10.0.0.0/8 192.0.2.9\nexit-vrf\ninterface eth0\n ip nht x\n"
        "bfd\n profile more\n  receive-interval 50\n"
        "router bgp 64512\naddress-family l2vpn evpn\n advertise-all-vni\nexit\n"
        "router bgp 7 vrf red\n neighbor 10.0.0.1 remote-as 7\n"
    )
    _typed(config, engine, _with(added))
    assert "router bgp 7 vrf red" in engine.text()
    _typed(config, engine, _with(""))
    left = set(engine.text().splitlines()) - set(before.splitlines())
    assert left <= {"vrf red", "interface eth0", "bfd", " address-family l2vpn evpn"}


def test_a_peer_that_goes_takes_what_was_added_to_it_along() -> None:
    config, engine = FrrConfig(), Engine()
    other = replace(SESSION, peer="b", address=IPv4Address("192.0.2.2"))
    _typed(config, engine, _with("", SESSION))
    before = engine.text()
    _typed(config, engine, _with(ACCEPT.replace("192.0.2.1", "192.0.2.2"), SESSION, other))
    _typed(config, engine, _with("", SESSION))
    assert engine.text() == before


def test_what_another_speaker_was_told_is_taken_back_by_the_next_one() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(""))
    before = engine.text()
    _typed(config, engine, _with(ACCEPT + "router bgp 64512\nneighbor 192.0.2.1 password sesame"))
    written = extras.to_bytes(config.memory)
    assert b"sesame" not in written
    assert b"all" not in written
    _typed(FrrConfig(memory=extras.from_bytes(written)), engine, _with(""))
    assert engine.text() == before


def test_lines_of_strangers_stay() -> None:
    config, engine = FrrConfig(), Engine()
    _typed(config, engine, _with(ACCEPT))
    engine.trees[EngineDaemon.BGPD].put("ip prefix-list mine seq 5 permit any")
    _typed(config, engine, _with(""))
    assert "ip prefix-list mine seq 5 permit any" in engine.text()


def test_what_is_gone_is_not_remembered() -> None:
    config, engine = FrrConfig(), Engine()
    for number in range(20):
        _typed(config, engine, _with(f"ip prefix-list p{number} seq 5 permit any"))
    assert sum(map(len, config.memory.values())) == 1
    # It is forgotten when the engine has shown that it is gone.
    _typed(config, engine, _with(""))
    assert not any(config.memory.values())


@pytest.mark.parametrize("hostile", [b"", b"\xff\xfe\n", b"bgpd x\nbgpd \nzzz " + b"a" * 32, b"\0"])
def test_a_memory_that_is_none_is_empty(hostile: bytes) -> None:
    assert extras.from_bytes(hostile) == {}


_ROUTER = (
    *("neighbor 192.0.2.1 allowas-in", "neighbor 192.0.2.1 timers 7 21", "bgp cluster-id 1.1.1.1"),
    *("neighbor 10.0.0.1 remote-as 1", "network 10.9.0.0/16", "neighbor 192.0.2.1 password x"),
    *("address-family ipv6 unicast\nneighbor 192.0.2.1 activate\nexit-address-family", "!"),
)
_MAP = ("match community x", "set community 1:2", "set metric 7", "match tag 1", "set tag 9")


def _some(head: str, *inner: str) -> st.SearchStrategy[str]:
    lines = st.lists(st.sampled_from(inner), max_size=4) if inner else st.just([])
    return lines.map(lambda some: "\n".join([head, *some]))


_LINES = st.lists(
    st.one_of(
        *(_some(f"route-map 192.0.2.1-{name}", *_MAP) for name in ("in permit 20", "out permit 9")),
        *(_some(f"router bgp {words}", *_ROUTER) for words in ("64512", "64512 vrf red")),
        *(_some(f"ip prefix-list {words}") for words in ("a seq 5 deny any", "a seq 5 permit any")),
        *(_some(line) for line in ("interface eth0", "ip nht resolve-via-default", "hostname x")),
        _some("bfd\nprofile fast", "receive-interval 77", "echo-mode"),
    ),
    max_size=5,
).map("\n".join)


@settings(max_examples=30)
@given(st.lists(_LINES, min_size=1, max_size=4))
def test_whatever_was_added_and_taken_away_leaves_nothing(some: list[str]) -> None:
    """But contexts that are empty: they say nothing."""
    wanted = replace(_with(""), profiles=(Profile("fast", receive=50),))
    config, engine = FrrConfig(), Engine()
    config.handle_wanted(wanted)
    engine.connect(config)
    before = {line for line in engine.text().splitlines() if "interface" not in line}
    for text in some:
        config.handle_wanted(replace(wanted, extras=text))
        engine.connect(config)
    config.handle_wanted(wanted)
    engine.connect(config)
    engine.connect(config)
    left = {line for line in engine.text().splitlines() if "interface" not in line}
    assert {each for each in left if "address-family" not in each} <= before
    assert before <= left


def test_the_lines_are_judged_where_they_are_read_too() -> None:
    with pytest.raises(LineError, match="extras, line 2: is a command"):
        extras.read("!\ndo write")
    with pytest.raises(LineError, match="extras: has more than 4000 lines"):
        extras.read("!\n" * 4_001)


def test_each_line_has_its_number() -> None:
    found = extras.numbers("!\n  set community local-AS no-export\n\n\tneighbor 1::0 activate\n")
    assert found == {"set community 65535:65281 65535:65283": 2, "neighbor 1:: activate": 4}


# ---- what the engine refuses


GOOD, BAD = _with("hostname a"), _with("hostname a\nhonstame b\nhonstame c")
REFUSED = [("honstame c", "bgpd does not know it"), ("honstame b", "bgpd does not know it")]


def test_a_line_that_is_refused_brings_the_last_good_ones_back() -> None:
    trial = ExtrasTrial()
    assert trial.handle_wanted(GOOD) == GOOD
    assert trial.handle_refusals([("neighbor x y", "of ours")]) is None
    assert trial.refused is None
    assert trial.handle_wanted(BAD) == BAD
    assert trial.handle_refusals(REFUSED) == GOOD
    assert trial.refused == RefusedExtra(2, "bgpd does not know it")
    assert trial.handle_refusals([]) is None
    assert trial.refused is not None
    assert trial.handle_wanted(BAD) == GOOD


def test_the_first_ones_give_way_to_none() -> None:
    trial = ExtrasTrial()
    trial.handle_wanted(BAD)
    assert trial.handle_refusals(REFUSED) == _with("")


def test_they_are_tried_again_with_anything_new_and_at_a_new_engine() -> None:
    trial = ExtrasTrial()
    trial.handle_wanted(BAD)
    trial.handle_refusals(REFUSED)
    assert trial.handle_new_engine() == BAD
    assert trial.handle_refusals([]) is None
    assert trial.refused is None
    trial = ExtrasTrial()
    trial.handle_wanted(BAD)
    trial.handle_refusals(REFUSED)
    more = replace(BAD, router_id=IPv4Address("192.0.2.7"))
    assert trial.handle_wanted(more) == more
    assert trial.handle_refusals([]) is None
    assert trial.refused is None


def test_lines_that_were_good_stay_when_one_of_them_does_not_fit_any_more() -> None:
    """As when the peer of which it speaks is gone: there is nothing better."""
    trial = ExtrasTrial()
    trial.handle_wanted(BAD)
    trial.handle_refusals([])
    later = replace(BAD, sessions=())
    trial.handle_wanted(later)
    assert trial.handle_refusals(REFUSED) is None
    assert trial.refused == RefusedExtra(2, "bgpd does not know it")
    assert trial.handle_refusals([]) is None
    assert trial.refused is None


def test_who_wants_none_has_none_refused() -> None:
    trial = ExtrasTrial()
    trial.handle_wanted(BAD)
    trial.handle_refusals(REFUSED)
    assert trial.handle_wanted(_with("")) == _with("")
    assert trial.refused is None


def test_a_tree_is_found_among_what_runs() -> None:
    tree = parse("router bgp 1\n neighbor a b\nhostname x\n")
    known = extras.digests(parse("router bgp 1\n neighbor a b\n"))
    assert list(extras.among(tree, known).lines()) == ["router bgp 1", " neighbor a b"]
