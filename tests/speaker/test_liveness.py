"""Several nodes' liveness cores on one wire, in virtual time: kernels, processes, letters."""

import random
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_interface

import pytest

from gossip.mark import Flags
from gossip.wire.messages import State
from link.interface import Interface
from speaker.letters import Kind, PeerLink, Send, decode_link_name
from speaker.liveness import BEAT_INTERVAL, BEAT_PATIENCE, REPEATS, Liveness
from speaker.roster import WITNESSES, Peer, Roster
from speaker.verdict import PROCESS, Subject
from speaker.watch import Kernel, Timing

TIMING = Timing.of(0.35)
ETH0 = 5
NAMES = ["node-0", "node-1", "node-2", "node-3"]
MORE = [*NAMES, "node-4", "node-5"]


def ip_of(name: str) -> IPv4Address:
    return IPv4Address(f"192.0.2.{MORE.index(name) + 1}")


def interface_of(name: str) -> Interface:
    mac = b"\x02\0\0\0\0" + bytes([MORE.index(name)])
    address = ip_interface(f"{ip_of(name)}/24")
    return Interface(
        ETH0, "eth0", mac, True, True, True, False, None, frozenset({address}), frozenset()
    )


class Node:
    """A core, and what works of its machine."""

    def __init__(self, name: str, names: list[str]) -> None:
        self.name, self.roster = name, Roster(name)
        self.core = Liveness(self.roster, name, TIMING, random.Random(name), 0.0)
        self.kernel = self.process = self.running = True
        self.filtered = False
        """Whether its kernel answers no echo request though it lives."""
        self.told: list[tuple[float, Send]] = []
        peers = [Peer(other, 1, Flags.NONE, State.ALIVE) for other in names if other != name]
        self.roster.set_peers(peers, 0.0)
        for peer in peers:
            link = interface_of(peer.name)
            self.roster.set_links(peer.name, (PeerLink("eth0", link.mac, (ip_of(peer.name),)),))
        self.core.set_interfaces({ETH0: interface_of(name)})
        self.core.retarget((), 0.0)


@dataclass
class Cluster:
    """Delivers echoes and letters without delay, and lets time pass."""

    size: int = 4
    now: float = 0.0

    def __post_init__(self) -> None:
        names = MORE[: self.size]
        self.nodes = {name: Node(name, names) for name in names}

    def run(self, until: float) -> None:
        while self.now < until:
            self.now = min(until, self.now + 0.005)
            for node in self.nodes.values():
                if node.running and self.now >= node.core.deadline():
                    node.core.handle_timeout(self.now)
                self._carry(node)

    def _carry(self, node: Node) -> None:
        if not node.running:
            return
        for request in node.core.requests():
            asked = next(each for each in self.nodes.values() if ip_of(each.name) == request.ip)
            if node.kernel and asked.kernel and not asked.filtered:
                node.core.echoed(ETH0, request.ip, request.token, self.now)
        for letter in node.core.letters():
            node.told.append((self.now, letter))
            for other in self.nodes.values():
                if other is not node and (letter.to is None or other.name in letter.to):
                    self._deliver(letter, node, other)

    def _deliver(self, letter: Send, sender: Node, to: Node) -> None:
        if not (sender.kernel and sender.process and to.kernel and to.running):
            return
        match letter.kind:
            case Kind.BEAT:
                to.core.beat(sender.name, self.now)
            case Kind.MISSING:
                subject = Subject(letter.about, decode_link_name(letter.payload))
                to.core.missed(subject, sender.name, self.now)
            case Kind.GONE:
                to.core.gone(Subject(letter.about, decode_link_name(letter.payload)), self.now)
            case Kind.HEAR if to.process:
                sender.core.spoke(to.name, ip_of(to.name), self.now)

    def cut(self, *names: str) -> None:
        """Power off."""
        for name in names:
            self.nodes[name].kernel = self.nodes[name].running = False

    def told(self, kind: Kind, *names: str) -> list[tuple[float, Send]]:
        """What these nodes (or all) wrote."""
        found = [item for name in names or self.nodes for item in self.nodes[name].told]
        return [(at, letter) for at, letter in found if letter.kind is kind]

    def gone(self, name: str) -> frozenset[Subject]:
        """What this node believes."""
        bars = self.nodes[name].core.bars()
        silent = {Subject(node, PROCESS) for node in self.nodes[name].core.silent_processes()}
        return frozenset(bars.links | silent)


def eth0(name: str) -> Subject:
    return Subject(name, "eth0")


def run_with_client(cluster: Cluster, watcher: str, until: float) -> None:
    """A client's frames come in by the watcher's link all the time."""
    while cluster.now < until:
        cluster.run(cluster.now + 0.05)
        cluster.nodes[watcher].core.heard(ETH0, cluster.now)


@pytest.mark.parametrize("size", [3, 4])
def test_a_dead_machine_is_barred_by_all_within_half_a_second(size: int) -> None:
    cluster = Cluster(size)
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.5)
    for name in NAMES[1:size]:
        assert cluster.gone(name) == {eth0("node-0")}
        assert cluster.nodes[name].core.bars().bar("node-0", None)


@pytest.mark.parametrize("client", [False, True])
def test_of_two_nodes_one_judges_the_other_only_if_somebody_else_is_heard(client: bool) -> None:
    """One witness is enough where nobody else is able, but not without proof of its own link."""
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    if client:
        run_with_client(cluster, "node-1", 5.5)
    cluster.run(10.0)
    assert cluster.gone("node-1") == ({eth0("node-0")} if client else frozenset())


@pytest.mark.parametrize(
    "dead", [["node-0", "node-1"], ["node-0", "node-1", "node-2"]], ids=["half", "all-but-one"]
)
def test_many_that_die_at_once_are_barred_though_their_witnesses_die_too(dead: list[str]) -> None:
    """The last one has the silence of all, but no proof of its own link: a frame gives it."""
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut(*dead)
    run_with_client(cluster, "node-3", 6.0)
    assert cluster.gone("node-3") == {eth0(name) for name in dead}


def test_nothing_is_reported_while_all_live() -> None:
    cluster = Cluster()
    cluster.run(20.0)
    for node in cluster.nodes.values():
        assert {letter.kind for _, letter in node.told} == {Kind.BEAT}
        assert not cluster.gone(node.name)


def test_one_witness_alone_makes_no_verdict_where_others_can_say() -> None:
    """One node's own hearing is bad: it reports, the others check, and nobody is barred."""
    cluster = Cluster()
    cluster.run(5.0)
    liar, target = cluster.nodes["node-1"], eth0("node-0")
    while cluster.now < 7.0:
        for other in ("node-2", "node-3"):
            cluster.nodes[other].core.missed(target, liar.name, cluster.now)
        cluster.run(cluster.now + 0.1)
    assert cluster.gone("node-2") == cluster.gone("node-3") == frozenset()


def test_a_verdict_of_somebody_who_is_wrong_is_contradicted_by_who_knows_better() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    watcher = next(node for node in cluster.nodes.values() if "node-0" in node.roster.watched())
    watcher.core.gone(eth0("node-0"), cluster.now)
    assert cluster.gone(watcher.name) == frozenset()


def test_a_verdict_that_was_believed_is_void_at_the_first_answer() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.6)
    assert cluster.gone("node-1") == {eth0("node-0")}
    cluster.nodes["node-0"].kernel = True
    cluster.run(5.8)
    for name in NAMES[1:]:
        assert cluster.gone(name) == frozenset()
    assert cluster.nodes["node-1"].core.verdicts["voided"] == 1


def test_an_answer_that_was_asked_for_before_the_verdict_does_not_void_it() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    node = cluster.nodes["node-1"]
    due = node.core.deadline()
    while not (requests := node.core.requests()):
        due = node.core.deadline()
        node.core.handle_timeout(due)
    node.core.gone(eth0("node-0"), due + 1.0)
    assert cluster.gone("node-1") == {eth0("node-0")}
    node.core.echoed(ETH0, requests[0].ip, requests[0].token, due + 1.1)
    assert cluster.gone("node-1") == {eth0("node-0")}


def test_gone_of_ourselves_is_believed_of_our_link_until_somebody_answers() -> None:
    """We may be the one that is cut and does not know yet."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"]
    own.kernel = False
    cluster.run(5.35)
    own.core.gone(eth0("node-0"), cluster.now)
    assert cluster.gone("node-0") == {eth0("node-0")}
    own.kernel = True
    cluster.run(5.6)
    assert cluster.gone("node-0") == frozenset()


def test_gone_of_ourselves_is_not_believed_while_others_answer_us() -> None:
    """What we send arrives, so that a witness's own hearing is bad; and our IPs stay where they
    are."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"].core
    own.gone(eth0("node-0"), cluster.now)
    assert cluster.gone("node-0") == frozenset()
    assert own.heard_since(ETH0, 4.9)


def test_our_own_process_being_missed_is_answered_to_everybody() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-0"].core
    own.letters()
    own.missed(Subject("node-0", PROCESS), "node-1", cluster.now)
    assert own.letters() == [Send(Kind.BEAT, "node-0")]
    own.gone(Subject("node-0", PROCESS), cluster.now)
    assert own.letters() == [Send(Kind.BEAT, "node-0")]
    assert cluster.gone("node-0") == frozenset()


# ---- processes


def test_a_silent_process_on_a_live_machine_is_judged_but_its_kernel_is_not() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].process = cluster.nodes["node-0"].running = False
    cluster.run(5.0 + BEAT_PATIENCE - 0.01 - BEAT_INTERVAL)
    assert cluster.gone("node-1") == frozenset()
    cluster.run(7.0)
    for name in NAMES[1:]:
        assert cluster.gone(name) == {Subject("node-0", PROCESS)}
        assert cluster.nodes[name].core.bars().nodes == {"node-0"}
        assert cluster.nodes[name].core.kernel("node-0", [ETH0], cluster.now) is not Kernel.SILENT


def test_a_freeze_of_one_second_is_no_silence() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].running = False
    cluster.run(6.0)
    cluster.nodes["node-0"].running = True
    cluster.run(9.0)
    for node in cluster.nodes.values():
        assert node.core.verdicts == {}


def test_one_beat_voids_the_verdict_on_a_process() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].process = False
    cluster.run(7.0)
    assert cluster.gone("node-1") == {Subject("node-0", PROCESS)}
    cluster.nodes["node-0"].process = True
    cluster.run(7.5)
    for name in NAMES[1:]:
        assert cluster.gone(name) == frozenset()


def test_a_dead_machine_is_no_silent_process() -> None:
    """Its beats end too, but that is the kernel's verdict, and the takeover must be loud."""
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(10.0)
    for name in NAMES[1:]:
        assert cluster.gone(name) == {eth0("node-0")}


@pytest.mark.parametrize("stall", [0.5, 2.0, 15.0])
def test_who_stood_still_misses_no_beat_for_it(stall: float) -> None:
    """Others' beats to us were lost while we did not run: nobody is judged for that."""
    cluster = Cluster()
    cluster.run(5.0)
    own = cluster.nodes["node-3"]
    own.running = False
    cluster.run(5.0 + stall)
    own.running = True
    own.told.clear()
    cluster.run(8.0 + stall)
    assert not [letter for _, letter in own.told if letter.kind is not Kind.BEAT]


def test_who_never_beat_is_not_missed() -> None:
    cluster = Cluster()
    cluster.nodes["node-0"].process = False
    cluster.run(10.0)
    assert cluster.gone("node-1") == frozenset()


# ---- letters


def test_beats_go_to_watchers_four_times_a_second() -> None:
    cluster = Cluster()
    cluster.run(10.0)
    node = cluster.nodes["node-0"]
    beats = [letter for _, letter in node.told if letter.kind is Kind.BEAT]
    assert len(beats) == pytest.approx(10 / BEAT_INTERVAL, abs=2)
    assert {letter.to for letter in beats} == {node.roster.watchers()}


def test_what_is_missed_is_told_until_the_verdict_and_that_is_told_three_times() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(12.0)
    told = [item for name in NAMES[1:] for item in cluster.nodes[name].told]
    missing = [at for at, letter in told if letter.kind is Kind.MISSING]
    gone = [at for at, letter in told if letter.kind is Kind.GONE]
    assert missing
    assert max(missing) <= min(gone) + 0.1
    makers = sum(cluster.nodes[name].core.verdicts["reached"] for name in NAMES[1:])
    assert len(gone) == REPEATS * makers
    assert max(gone) <= min(gone) + 0.5


def test_a_node_alone_neither_beats_nor_asks() -> None:
    cluster = Cluster(1)
    cluster.run(5.0)
    assert cluster.nodes["node-0"].told == []


# ---- bars


@pytest.mark.parametrize(
    ("flags", "state", "barred"),
    [
        (Flags.NONE, State.ALIVE, False),
        (Flags.NO_LINK, State.ALIVE, True),
        (Flags.LEAVING, State.ALIVE, True),
        (Flags.NOT_SYNCED, State.SUSPECT, True),
        (Flags.NO_LINK, State.DEAD, False),
        # A flag of a later version that says nothing we know.
        (Flags(64), State.ALIVE, False),
    ],
)
def test_a_living_nodes_own_word_bars_it(flags: Flags, state: State, barred: bool) -> None:
    node = Node("node-0", ["node-0", "node-1"])
    node.roster.set_peers([Peer("node-1", 1, flags, state)], 0.0)
    assert (node.core.bars().nodes == {"node-1"}) is barred


def test_a_new_life_is_not_barred_by_the_verdict_on_the_last() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(6.0)
    node = cluster.nodes["node-1"]
    reborn = [replace(peer, start_id=2) for peer in node.roster.peers() if peer.name == "node-0"]
    rest = [peer for peer in node.roster.peers() if peer.name != "node-0"]
    for name in node.roster.set_peers(reborn + rest, cluster.now):
        node.core.new_life(name)
    assert cluster.gone("node-1") == frozenset()
    assert node.core.missing() == 0


def test_of_kernels_of_several_links_one_that_is_silent_decides_and_one_unknown_is_no_answer() -> (
    None
):
    cluster = Cluster()
    cluster.run(5.0)
    core = cluster.nodes["node-1"].core
    core.check("node-0", cluster.now)
    cluster.run(5.1)
    assert core.kernel("node-0", [ETH0], cluster.now) is Kernel.ANSWERS
    assert core.kernel("node-0", [ETH0, 99], cluster.now) is Kernel.UNKNOWN
    assert core.kernel("node-0", [], cluster.now) is Kernel.UNKNOWN
    cluster.cut("node-0")
    cluster.run(5.7)
    assert core.kernel("node-0", [ETH0, 99], cluster.now) is Kernel.SILENT


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
        found = [key.who for key in node.core.filtered()]
        assert found == (["node-0"] if "node-0" in node.roster.watched() else [])
    assert {letter.to for _, letter in cluster.told(Kind.HEAR)} == {("node-0",)}
    assert cluster.told(Kind.MISSING) == []


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
    assert cluster.told(Kind.HEAR)


def test_who_is_no_living_clarion_is_asked_by_no_letter() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    held_dead(cluster, "node-1", "node-0")
    cluster.run(8.0)
    assert cluster.told(Kind.HEAR) == []


# ---- telling those that were judged


@pytest.mark.parametrize("what", ["link", "process"])
def test_who_was_judged_is_told_by_its_watchers_when_it_is_back(what: str) -> None:
    """As often as it was, so that it may bar itself."""
    cluster = Cluster(6)
    cluster.run(5.0)
    node = cluster.nodes["node-0"]
    if what == "link":
        node.kernel = False
    else:
        node.process = False
    cluster.run(8.0)
    assert cluster.told(Kind.BACK) == []
    node.kernel = node.process = True
    cluster.run(10.0)
    told = [letter for _, letter in cluster.told(Kind.BACK)]
    link = b"eth0" if what == "link" else b""
    assert set(told) == {Send(Kind.BACK, "node-0", link, ("node-0",))}
    assert len(told) == len(cluster.nodes["node-0"].roster.watchers()) == WITNESSES


def test_who_was_not_judged_is_told_nothing() -> None:
    cluster = Cluster()
    cluster.run(5.0)
    cluster.nodes["node-0"].kernel = False
    cluster.run(5.2)
    cluster.nodes["node-0"].kernel = True
    cluster.run(8.0)
    assert cluster.told(Kind.BACK) == []


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
    while not own.core.returned(cluster.now):
        cluster.run(cluster.now + 0.005)
        assert cluster.now < back + 0.5
    own.told.clear()
    cluster.run(10.0)
    assert {letter.kind for _, letter in own.told} == {Kind.BEAT}


# ---- being accused


def test_who_is_missed_and_heard_by_nobody_has_heard_nobody_whatever_comes_in() -> None:
    """A mute node hears all others: it must take nothing over."""
    cluster = Cluster(2)
    cluster.run(5.0)
    own = cluster.nodes["node-1"]
    cluster.cut("node-0")
    cluster.run(5.05)
    own.core.heard(ETH0, cluster.now)
    assert own.core.heard_since(ETH0, 5.0)
    own.core.missed(eth0("node-1"), "node-0", cluster.now)
    own.core.heard(ETH0, cluster.now)
    assert own.core.heard_since(ETH0, 5.0) is True
    cluster.run(5.4)
    own.core.missed(eth0("node-1"), "node-0", cluster.now)
    own.core.heard(ETH0, cluster.now)
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
        own.heard(ETH0, cluster.now)
        own.missed(eth0("node-1"), "node-0", cluster.now)
    assert own.missing() == 1
    assert cluster.gone("node-1") == frozenset()


def test_an_accusation_of_a_link_that_is_not_ours_or_of_our_process_is_none() -> None:
    cluster = Cluster(2)
    cluster.run(5.0)
    cluster.cut("node-0")
    cluster.run(5.4)
    own = cluster.nodes["node-1"].core
    for link in ("eth9", PROCESS):
        own.missed(Subject("node-1", link), "node-0", cluster.now)
    own.heard(ETH0, cluster.now)
    assert own.heard_since(ETH0, 5.0)


# ---- those that gossip holds dead


def held_dead(cluster: Cluster, by: str, *names: str) -> None:
    """Let gossip declare these dead for one node, whatever their machines do."""
    node = cluster.nodes[by]
    peers = [
        replace(peer, state=State.DEAD) if peer.name in names else peer
        for peer in node.roster.peers()
    ]
    for name in node.roster.set_peers(peers, cluster.now):
        node.core.new_life(name)
    node.core.retarget((), cluster.now)


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
        assert core.kernel(name, [ETH0], cluster.now) is Kernel.ANSWERS
        assert core.answers(name, cluster.now)
    cluster.cut("node-1")
    cluster.run(61.0)
    assert core.kernel("node-1", [ETH0], cluster.now) is Kernel.SILENT
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
