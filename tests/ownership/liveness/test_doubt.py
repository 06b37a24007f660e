"""What else tells who lives: letters in doubt, accusations, clients, knocks at the dead."""

from ipaddress import IPv4Address

import pytest

from liveness_cluster import CLIENT, ETH0, NAMES, Cluster, eth0, held_dead, interface_of, ip_of
from ownership.io import Ask, Send
from ownership.letters.letters import LetterKind
from ownership.liveness.roster import WITNESSES
from ownership.liveness.targets import KernelState
from ownership.liveness.verdicts import PROCESS, Subject
from ownership.liveness.witness import (
    BEAT_PATIENCE,
    KNOCK_INTERVAL,
    KNOCK_LONG,
    KNOCK_SLOWLY,
    KNOCKS,
    REPEATS,
)

# ---- echo requests that are dropped


def test_a_node_that_answers_no_echo_any_more_is_asked_by_letter_and_never_judged() -> None:
    """A firewall rule of one moment must not take its IPs away."""
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].filtered = True
    cluster.run(30.0)
    for name, node in cluster.nodes.items():
        assert cluster.gone(name) == frozenset()
        assert node.core.verdicts == {}
        found = [key.who for key in node.core.filtered_kernels()]
        assert found == (["node-0"] if "node-0" in node.roster.watched() else [])
    assert {letter.to for _, letter in cluster.told(LetterKind.HEAR)} == {("node-0",)}
    assert cluster.told(LetterKind.MISSING) == []


def test_where_all_drop_echo_requests_nobody_is_judged() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    for node in cluster.nodes.values():
        node.filtered = True
    cluster.run(60.0)
    for name in NAMES:
        assert cluster.gone(name) == frozenset()


def test_who_answers_no_letter_either_is_judged_as_soon_as_ever() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.5)
    assert cluster.gone("node-1") == {eth0("node-0")}
    assert cluster.told(LetterKind.HEAR)


def test_who_is_no_living_clarion_is_asked_by_no_letter() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    held_dead(cluster, "node-1", "node-0")
    cluster.run(8.0)
    assert cluster.told(LetterKind.HEAR) == []


# ---- telling those that were judged


@pytest.mark.parametrize("what", ["link", "process"])
def test_who_was_judged_is_told_by_its_watchers_when_it_is_back(what: str) -> None:
    """Each time that it was, so that it may bar itself; one letter may come before it can hear."""
    cluster = Cluster(6)
    cluster.run(5.0)
    node = cluster.nodes["node-0"]
    if what == "link":
        node.kernel = False
    else:
        node.process = False
    cluster.run(8.0)
    assert cluster.told(LetterKind.BACK) == []
    node.kernel = node.process = True
    cluster.run(10.0)
    told = [letter for _, letter in cluster.told(LetterKind.BACK)]
    link = b"eth0" if what == "link" else b""
    assert set(told) == {Send(LetterKind.BACK, "node-0", link, ("node-0",))}
    assert len(cluster.nodes["node-0"].roster.watchers()) == WITNESSES
    assert len(told) == REPEATS * WITNESSES


def test_who_was_not_judged_is_told_nothing() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].kernel = False
    cluster.run(5.2)
    cluster.nodes["node-0"].kernel = True
    cluster.run(8.0)
    assert cluster.told(LetterKind.BACK) == []


def test_whose_link_is_back_is_not_missed_for_the_beats_that_could_not_come() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].kernel = False
    cluster.run(9.0)
    assert cluster.gone("node-1") == {eth0("node-0")}
    # Its next beat is long in coming.
    cluster.nodes["node-0"].kernel, cluster.nodes["node-0"].process = True, False
    cluster.run(9.0 + BEAT_PATIENCE - 0.1)
    for name in NAMES[1:]:
        assert cluster.gone(name) == frozenset()


@pytest.mark.parametrize("back", [9.0, 9.1, 9.2, 9.3])
def test_who_was_cut_off_itself_misses_nobodys_beats(back: float) -> None:
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"]
    own.kernel = False
    cluster.run(back)
    own.kernel = True
    while not own.core.link_returns(cluster.now):
        cluster.run(cluster.now + 0.005)
        assert cluster.now < back + 0.5
    own.told.clear()
    cluster.run(10.0)
    assert {letter.kind for _, letter in own.told} == {LetterKind.BEAT}


# ---- being accused


def test_who_is_missed_and_heard_by_nobody_has_heard_nobody_whatever_comes_in() -> None:
    """A mute node hears all others: it must take nothing over."""
    cluster = Cluster(2)
    cluster.run(5.0)
    own = cluster.nodes["node-1"]
    cluster.cut("node-0")
    cluster.run(5.05)
    own.core.handle_frames(ETH0, cluster.now)
    assert own.core.heard_since(ETH0, 5.0)
    own.core.handle_missing(eth0("node-1"), "node-0", cluster.now)
    own.core.handle_frames(ETH0, cluster.now)
    assert own.core.heard_since(ETH0, 5.0) is True
    cluster.run(5.4)
    own.core.handle_missing(eth0("node-1"), "node-0", cluster.now)
    own.core.handle_frames(ETH0, cluster.now)
    assert not own.core.heard_since(ETH0, 5.0)
    # Somebody answers.
    cluster.nodes["node-0"].kernel = True
    cluster.run(5.6)
    assert own.core.heard_since(ETH0, 5.0)


def test_who_is_accused_judges_nobody_by_itself() -> None:
    """Of two nodes one is mute: it misses the other, as it is missed."""
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    while cluster.now < 10.0:
        cluster.run(cluster.now + 0.05)
        own = cluster.nodes["node-1"].core
        own.handle_frames(ETH0, cluster.now)
        own.handle_missing(eth0("node-1"), "node-0", cluster.now)
    assert own.missing() == 1
    assert cluster.gone("node-1") == frozenset()


def test_who_hears_all_the_time_learns_from_accusers_that_it_was_cut_off() -> None:
    """Its frames did not leave; when one gets through, the link came back, and is held."""
    cluster = Cluster(2)
    cluster.run(5.0)
    own = cluster.nodes["node-1"].core
    cluster.cut("node-0")
    while cluster.now < 9.0:
        cluster.run(cluster.now + 0.05)
        own.handle_frames(ETH0, cluster.now)
        if cluster.now < 6.0:
            own.handle_missing(eth0("node-1"), "node-0", cluster.now)
        assert own.link_returns(cluster.now) == []
    cluster.nodes["node-0"].kernel = True
    cluster.run(9.2)
    [returned] = own.link_returns(cluster.now)
    assert returned.ifindex == ETH0
    # From the last word of that.
    assert returned.gap == pytest.approx(3.0, abs=0.25)
    cluster.run(12.0)
    assert own.link_returns(cluster.now) == []


def test_an_accusation_of_a_link_that_is_not_ours_or_of_our_process_is_none() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.4)
    own = cluster.nodes["node-1"].core
    for link in ("eth9", PROCESS):
        own.handle_missing(Subject("node-1", link), "node-0", cluster.now)
    own.handle_frames(ETH0, cluster.now)
    assert own.heard_since(ETH0, 5.0)


# ---- those that gossip holds dead


def test_a_dead_nodes_machine_is_known_to_live_as_long_as_it_answers() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    others = NAMES[1:]
    held_dead(cluster, "node-0", *others)
    for name in others:
        cluster.nodes[name].running = False
    cluster.run(60.0)
    core = cluster.nodes["node-0"].core
    for name in others:
        assert core.kernel(name, [ETH0], cluster.now) is KernelState.ANSWERS
        assert core.answers(name, cluster.now)
    cluster.cut("node-1")
    cluster.run(61.0)
    assert core.kernel("node-1", [ETH0], cluster.now) is KernelState.SILENT
    assert not core.answers("node-1", cluster.now)
    # Nobody has to be told: gossip knows.
    assert [letter for at, letter in cluster.nodes["node-0"].told if at > 60.0] == []


def test_to_hear_somebody_all_are_asked_once() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    own = cluster.nodes["node-1"].core
    own.requests()
    own.probe(cluster.now)
    own.handle_timeout(cluster.now)
    assert [request.ip for request in own.requests()] == [ip_of("node-0")]


def test_on_a_link_on_which_nobody_ever_answered_nobody_has_to_be_heard() -> None:
    """There is nobody, or nobody answers echo requests."""
    cluster = Cluster(1)
    cluster.run(5.0)
    assert cluster.nodes["node-0"].core.heard_since(ETH0, 4.0)


@pytest.mark.parametrize("missed", [True, False])
def test_who_announces_is_asked_only_where_it_is_missed(missed: bool) -> None:
    """That proves that it sends, not that it hears."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-1"].core
    if missed:
        cluster.cut("node-0")
    cluster.run(7.0)
    due = own.deadline()
    own.check_missing("node-0", cluster.now)
    assert (own.deadline() <= cluster.now < due) is missed


# ---- clients that bear witness


def with_clients(*ips: IPv4Address) -> Cluster:
    """Node-1 of two has been asked by these clients lately; all answer echo requests."""
    cluster = Cluster(2)
    cluster.clients = frozenset(ips)
    cluster.nodes["node-1"].core.retarget((), {ETH0: ips}, 0.0)
    return cluster


@pytest.mark.parametrize("ips", [(), (CLIENT,)], ids=["nobody", "a client"])
def test_of_two_nodes_one_judges_the_other_by_the_word_of_a_client(
    ips: tuple[IPv4Address, ...],
) -> None:
    """It is asked in doubt, as a gateway is."""
    cluster = with_clients(*ips)
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.6)
    assert cluster.gone("node-1") == ({eth0("node-0")} if ips else frozenset())


def test_an_address_that_a_node_has_told_is_no_clients() -> None:
    """Who fell silent itself is no witness."""
    cluster = with_clients(ip_of("node-0"))
    cluster.run(5.0)
    assert cluster.nodes["node-1"].core.unwitnessed() == ["eth0"]


@pytest.mark.parametrize(
    ("size", "ips", "found"), [(2, (), ["eth0"]), (2, (CLIENT,), []), (3, (), []), (1, (), [])]
)
def test_links_on_which_one_other_node_is_all_that_answers_are_named(
    size: int, ips: tuple[IPv4Address, ...], found: list[str]
) -> None:
    cluster = Cluster(size) if not ips else with_clients(*ips)
    cluster.run(5.0)
    assert cluster.nodes[f"node-{size - 1}"].core.unwitnessed() == found


# ---- knocking at the dead


def knocks(cluster: Cluster, name: str, seconds: float) -> list[tuple[float, Ask]]:
    """Let time pass; return which questions on the wire were due, and when."""
    found, end = [], cluster.now + seconds
    while cluster.now < end:
        cluster.run(cluster.now + 0.005)
        found += [(cluster.now, ask) for ask in cluster.nodes[name].core.knocks()]
    return found


def knock_at(name: str) -> Ask:
    return Ask(ip_of(name), ETH0, interface_of(name).mac)


def test_the_dead_are_asked_for_their_addresses_by_turns_and_later_less_often() -> None:
    """After a long cut our kernel does not know their MACs, and would ask once a second."""
    cluster = Cluster(3)
    cluster.run(5.0)
    cluster.cut("node-0", "node-2")
    held_dead(cluster, "node-1", "node-0", "node-2")
    knocks(cluster, "node-1", 1.0)
    found = knocks(cluster, "node-1", 10.0)
    for name in ("node-0", "node-2"):
        assert len([ask for _, ask in found if ask == knock_at(name)]) == pytest.approx(
            10 / (2 * KNOCK_INTERVAL), abs=2
        )
    assert len({ask for _, ask in found}) == 2
    knocks(cluster, "node-1", KNOCK_LONG)
    assert len(knocks(cluster, "node-1", 10.0)) == pytest.approx(10 / KNOCK_SLOWLY, abs=2)


def test_a_dead_node_whose_kernel_answers_is_not_knocked_at() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.nodes["node-0"].running = False
    held_dead(cluster, "node-1", "node-0")
    cluster.run(6.0)
    assert knocks(cluster, "node-1", 10.0) == []


@pytest.mark.parametrize("answers", [True, False])
def test_one_that_is_back_is_knocked_at_until_its_kernel_answers_some_times_at_most(
    answers: bool,
) -> None:
    cluster = Cluster(3)
    cluster.run(5.0)
    if not answers:
        cluster.nodes["node-0"].kernel = False
        cluster.run(6.0)
    cluster.nodes["node-1"].core.knocks()
    cluster.nodes["node-1"].core.handle_return("node-0", cluster.now)
    found = knocks(cluster, "node-1", 5.0)
    assert [ask for _, ask in found] == ([] if answers else [knock_at("node-0")] * KNOCKS)
