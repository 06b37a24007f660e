"""How IPs change hands on one node: what it answers and announces, what it writes to others."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from gossip.mark import Flags
from gossip.wire.messages import State
from link.drop import DropReason
from link.interface import Interface
from speaker.announcer import Announcer
from speaker.contact import Contact
from speaker.handover import FOREIGN_GRACE
from speaker.letters import Kind, PeerLink, Send, decode_ips
from speaker.roster import Peer, Roster
from speaker.succession import CLAIM_KEPT, CONFLICT_EVERY, SETTLED_AFTER, Succession
from speaker.takeover import ANSWER_WITHIN, BACK_GRACE, Ask
from speaker.watch import Kernel

VIP, OTHER = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")
MAC_B, MAC_C, MAC_M = (b"\x02\0\0\0\0" + bytes([last]) for last in b"\x0b\x0c\x0d")
B = Peer("b", 1, Flags.NONE, State.ALIVE)
FOREIGN = Peer("m", None, Flags.NONE, State.ALIVE)


def link(index: int) -> Interface:
    address = IPv4Interface(f"192.0.{index}.1/24")
    mac = b"\x02\0\0\0\x01" + bytes([index])
    return Interface(index, f"eth{index}", mac, True, True, True, False, None, frozenset({address}))


ETH0, ETH1 = 0, 1


@dataclass
class Node:
    """Node `a` with one or two links, its peer b on the same segments, and m of MetalLB."""

    links: int = 1
    kernel: Kernel = Kernel.SILENT
    now: float = 100.0
    letters: list[tuple[float, Send]] = field(default_factory=list)
    announced: list[float] = field(default_factory=list)
    """When VIP was announced."""
    kernels_asked: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    deaf: set[int] = field(default_factory=set)
    asked: list[tuple[float, Ask]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Who was lost without a word."""
    cut_off: bool = False
    """Whether nobody is heard since a takeover began."""

    def __post_init__(self) -> None:
        interfaces = {index: link(index) for index in range(self.links)}
        self.contact = Contact(0.0, alone=True)
        self.announcer = Announcer(self.contact)
        self.announcer.set_interfaces(interfaces, self.now)
        self.roster = Roster("a")
        self.roster.set_peers([B, FOREIGN], self.now)
        ips = [(IPv4Address(f"192.0.{index}.2"),) for index in interfaces]
        self.roster.set_links("b", tuple(PeerLink("ens", MAC_B, each) for each in ips))
        self.core = Succession("a", self.roster, self.announcer, self, self.now)
        self.core.set_interfaces(interfaces)

    def kernel_of(self, name: str) -> Kernel:
        return self.kernels.get(name, self.kernel)

    # What the core asks of the world.

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> Kernel:
        assert now == self.now
        self.kernels_asked.add((name, tuple(ifindexes)))
        return self.kernel_of(name)

    def hears(self, ifindex: int, now: float) -> bool:
        assert now == self.now
        return ifindex not in self.deaf

    def heard_since(self, ifindexes: Collection[int], at: float) -> bool:
        return not self.cut_off

    def lost_its_owner(self, name: str) -> bool:
        return name in self.gone

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.01)
            self.announcer.handle_timeout(self.now)
            if self.core.deadline() <= self.now or self.core.inherited_from():
                self.core.handle_timeout(self.now)
            self.drain()

    def drain(self) -> None:
        self.letters += [(self.now, letter) for letter in self.core.letters()]
        self.announced += [self.now for item in self.announcer.transmits() if item.ip == VIP]

    def won(self, heir_of: str | None = None, service: str = "ns/a") -> None:
        self.core.won(service, VIP, None, heir_of, self.now)

    def lost(self, winner: str | None, service: str = "ns/a") -> None:
        self.core.lost(service, VIP, winner, self.now)

    def answers(self, ifindex: int = ETH0) -> bool:
        return self.announcer.answers(VIP, ifindex) is None


def owning(links: int = 1) -> Node:
    """It has owned VIP for ten seconds."""
    node = Node(links)
    node.won()
    node.run(10.0)
    node.core.changed()
    node.announced.clear()
    return node


def quiet_heir() -> Node:
    """It has had VIP for a second, as b's speaker died on a machine that lives."""
    node = Node(kernel=Kernel.ANSWERS)
    node.won(heir_of="b")
    node.run(1.0)
    return node


# ---- beginning


def test_what_nobody_was_to_hand_over_is_announced_at_once() -> None:
    node = Node()
    node.won()
    node.drain()
    assert node.answers()
    assert node.announced[0] == node.now


def test_an_heir_asks_the_wire_once_and_waits_twenty_milliseconds() -> None:
    node = Node(links=2)
    node.won(heir_of="b")
    asked = node.core.asks()
    assert [(item.index, ask.ip) for item, ask in asked] == [(ETH0, VIP), (ETH1, VIP)]
    assert not node.answers()
    assert node.core.inherited_from() == {"b"}
    began = node.now
    node.run(0.1)
    assert node.answers()
    assert ANSWER_WITHIN <= node.announced[0] - began <= ANSWER_WITHIN + 0.011
    assert node.core.asks() == []
    assert node.announcer.serves(VIP, "ns/a")
    assert node.core.changed() == {"ns/a"}
    assert not node.core.changed()


def test_a_service_of_another_link_asks_only_there() -> None:
    node = Node(links=2)
    node.core.won("ns/a", VIP, frozenset({"eth1"}), "b", node.now)
    assert [item.index for item, _ in node.core.asks()] == [ETH1]


def test_an_owner_that_cannot_be_asked_is_inherited_from_at_once() -> None:
    """It never told its links, or has none here."""
    node = Node()
    node.roster.set_links("b", ())
    node.won(heir_of="b")
    assert node.answers()


def test_quiet_where_only_the_process_died_and_loud_when_the_machine_is_gone_too() -> None:
    node = Node(kernel=Kernel.ANSWERS)
    node.won(heir_of="b")
    node.run(3.0)
    assert node.answers()
    assert node.announced == []
    node.kernel = Kernel.SILENT
    node.run(0.1)
    assert node.announced


def test_a_quiet_ip_whose_service_is_changed_stays_quiet() -> None:
    """Somebody edits the service, or a second one shares the IP: no reason to tear connections."""
    node = quiet_heir()
    node.won()
    node.won(service="ns/b")
    node.run(1.0)
    assert node.answers()
    assert node.announced == []


def test_a_quiet_ip_is_announced_when_its_old_owner_is_back_and_ours_still() -> None:
    node = quiet_heir()
    node.core.owner_back("b", node.now)
    node.run(BACK_GRACE - 0.1)
    assert node.announced == []
    node.run(0.2)
    assert node.announced


def test_a_quiet_ip_stays_so_when_its_owner_dies_again_before_it_was_heard() -> None:
    """It was back for a moment: connections through its kernel still live."""
    node = quiet_heir()
    node.lost("b")
    node.run(1.0)
    node.won(heir_of="b")
    node.run(10.0)
    assert node.answers()
    assert node.announced == []
    node.kernel = Kernel.SILENT
    node.run(0.1)
    assert node.announced


def test_what_an_owner_gives_back_by_itself_is_announced() -> None:
    node = quiet_heir()
    node.lost("b")
    node.run(1.0)
    node.won()
    node.drain()
    assert node.announced


def test_what_was_taken_quietly_and_given_back_leaves_no_trace() -> None:
    node = quiet_heir()
    node.lost("b")
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()
    node.won()
    node.drain()
    assert node.announced


def test_an_owner_that_answers_keeps_its_ip() -> None:
    """A cut of gossip alone moves nothing."""
    node = Node(kernel=Kernel.ANSWERS)
    node.won(heir_of="b")
    for _ in range(30):
        node.core.heard(VIP, ETH0, MAC_B, node.now)
        node.run(0.1)
        assert not node.answers()
    assert not node.announcer.serves(VIP, "ns/a")
    assert not node.core.changed()
    assert node.core.contested == 1
    assert node.core.conflicts == 0


def test_one_that_answers_on_the_only_link_it_shares_with_us_keeps_the_ip() -> None:
    """Where it is no neighbour its silence means nothing."""
    node = Node(links=2, kernel=Kernel.ANSWERS)
    node.roster.set_links("c", (PeerLink("ens", MAC_C, (IPv4Address("192.0.0.3"),)),))
    node.won(heir_of="b")
    node.core.heard(VIP, ETH0, MAC_C, node.now)
    node.run(0.1)
    assert not node.answers()
    assert node.kernels_asked == {("b", (ETH0, ETH1)), ("c", (ETH0,))}


def test_services_that_share_an_ip_are_inherited_together() -> None:
    node = Node()
    node.won(heir_of="b")
    node.won(heir_of="b", service="ns/b")
    node.won(service="ns/c")
    assert not node.answers()
    node.run(0.1)
    for service in ("ns/a", "ns/b"):
        node.core.withdraw(service, VIP)
        assert node.answers()
    node.core.withdraw("ns/c", VIP)
    assert not node.answers()


@pytest.mark.parametrize("how", ["lost", "withdrawn"])
def test_a_takeover_that_is_no_longer_wanted_never_happens(how: str) -> None:
    node = Node()
    node.won(heir_of="b")
    if how == "lost":
        node.lost("b")
    else:
        node.core.withdraw("ns/a", VIP)
    node.run(5.0)
    assert not node.answers()
    assert node.announced == []
    assert node.core.inherited_from() == frozenset()
    assert node.letters == []


# ---- stopping


def test_the_loser_answers_on_and_asks_until_it_hears_the_winner() -> None:
    node = owning()
    node.lost("b")
    node.run(0.5)
    assert node.answers()
    assert {(letter.kind, letter.to) for _, letter in node.letters} == {(Kind.YOURS, ("b",))}
    assert decode_ips(node.letters[0][1].payload) == {VIP}
    assert len(node.letters) == pytest.approx(5, abs=1)
    assert node.core.pending(foreign=False) == 1
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()
    assert node.core.changed() == {"ns/a"}
    assert node.core.pending(foreign=True) == 0


def test_each_link_is_given_up_by_itself() -> None:
    node = owning(links=2)
    node.lost("b")
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    assert node.announcer.answers(VIP, ETH0) is DropReason.HANDED_OVER
    assert node.answers(ETH1)
    node.core.heard(VIP, ETH1, MAC_B, node.now)
    assert node.announcer.answers(VIP, ETH1) is DropReason.NOT_ANNOUNCED


def test_who_heard_nobody_for_a_while_stops_at_once() -> None:
    """The winner may have announced itself meanwhile: it would be two that answer."""
    node = owning(links=2)
    node.deaf = {ETH0}
    node.lost("b")
    assert (node.answers(ETH0), node.answers(ETH1)) == (False, True)
    node.core.heard(VIP, ETH1, MAC_B, node.now)
    assert not node.answers(ETH1)
    assert not node.core.pending(foreign=True)

    node = owning()
    node.deaf = {ETH0}
    node.lost("b")
    assert not node.answers()
    assert not node.core.pending(foreign=True)
    node.deaf.clear()
    node.won()
    node.drain()
    assert node.answers()
    assert node.announced


def test_for_a_foreign_winner_the_deaf_answer_on() -> None:
    node = owning()
    node.deaf = {ETH0}
    node.lost("m")
    assert node.answers()


def test_a_claim_of_the_winner_is_as_good_as_its_announcement() -> None:
    node = owning(links=2)
    node.lost("b")
    node.core.claimed([OTHER])
    assert node.answers()
    node.core.claimed([VIP])
    assert not node.answers()


@pytest.mark.parametrize("mac", [MAC_M, b"\x02\0\0\0\0\x99"])
def test_a_strangers_announcement_ends_no_hand_over_to_a_clarion(mac: bytes) -> None:
    node = owning()
    node.lost("b")
    node.core.heard(VIP, ETH0, mac, node.now)
    assert node.answers()


@pytest.mark.parametrize("heard", [False, True])
def test_a_foreign_winner_gets_two_seconds_unless_it_is_heard(heard: bool) -> None:
    node = owning()
    node.lost("m")
    node.run(FOREIGN_GRACE - 0.05)
    assert node.answers()
    assert node.core.pending(foreign=False) == 0
    assert node.core.pending(foreign=True) == 1
    assert node.letters == []
    if heard:
        node.core.heard(VIP, ETH0, MAC_M, node.now)
    else:
        node.run(0.1)
    assert not node.answers()


@pytest.mark.parametrize("winner", [None, "nobody", "b"])
def test_without_a_living_winner_there_is_nobody_to_wait_for(winner: str | None) -> None:
    node = owning()
    node.roster.set_peers([replace(B, state=State.DEAD)])
    node.lost(winner)
    assert not node.answers()


@pytest.mark.parametrize(("ago", "answers"), [(CLAIM_KEPT - 0.1, False), (CLAIM_KEPT + 0.1, True)])
def test_a_winner_that_was_heard_just_before_was_heard(ago: float, answers: bool) -> None:
    node = owning()
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    node.run(ago)
    node.lost("b")
    assert node.answers() is answers


def test_an_ip_that_comes_back_during_the_hand_over_is_announced_on_all_links() -> None:
    node = owning(links=2)
    node.lost("b")
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    node.won(heir_of="b")
    node.drain()
    assert node.answers(ETH0)
    assert node.answers(ETH1)
    assert node.announced
    node.run(1.0)
    assert node.letters == []


def test_an_ip_that_no_service_wants_is_not_handed_over() -> None:
    node = owning()
    node.lost("b")
    node.core.withdraw("ns/a", VIP)
    assert not node.answers()
    node.run(1.0)
    assert node.letters == []


def test_a_quiet_heir_whose_owner_is_back_answers_until_it_hears_it() -> None:
    node = quiet_heir()
    node.lost("b")
    node.run(0.2)
    assert node.answers()
    assert node.announced == []
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    assert not node.answers()


# ---- being asked


def test_a_winner_that_is_asked_announces_again_and_claims() -> None:
    node = owning()
    node.core.asked([VIP, OTHER], "b", node.now)
    node.drain()
    assert node.announced == [node.now] * len(node.announced) != []
    [(_, letter)] = node.letters
    assert (letter.kind, letter.about, letter.to) == (Kind.CLAIM, "a", ("b",))
    assert decode_ips(letter.payload) == {VIP}


def test_a_winner_that_is_asked_all_the_time_announces_ten_times_a_second() -> None:
    node, bursts = owning(), 0
    for _ in range(100):
        before = node.announcer.deadline()
        node.core.asked([VIP], "b", node.now)
        bursts += node.announcer.deadline() != before
        node.run(0.01)
    assert bursts == pytest.approx(1.0 / AGAIN_AFTER, abs=1)


def test_a_quiet_heir_that_is_asked_claims_by_letter_alone() -> None:
    node = Node(kernel=Kernel.ANSWERS)
    node.won(heir_of="b")
    node.run(0.2)
    node.core.asked([VIP], "b", node.now)
    node.drain()
    assert node.announced == []
    assert [letter.kind for _, letter in node.letters] == [Kind.CLAIM]


@pytest.mark.parametrize("state", ["not ours", "handing over", "no carrier"])
def test_who_does_not_answer_claims_nothing(state: str) -> None:
    node = Node() if state == "not ours" else owning()
    if state == "handing over":
        node.lost("b")
    elif state == "no carrier":
        node.announcer.set_interfaces({ETH0: replace(link(ETH0), carrier=False)}, node.now)
    node.core.asked([VIP], "b", node.now)
    assert node.core.letters() == []


def test_an_heir_that_is_asked_by_who_answers_takes_over_at_once() -> None:
    node = Node(kernel=Kernel.ANSWERS)
    node.won(heir_of="b")
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    node.core.asked([VIP], "b", node.now)
    node.drain()
    assert node.answers()
    assert node.announced
    assert [letter.kind for _, letter in node.letters] == [Kind.CLAIM]


def test_another_winner_while_handing_over_is_asked_instead() -> None:
    node = owning()
    node.roster.set_peers([B, FOREIGN, replace(B, name="d", start_id=3)])
    node.core.moved("ns/a", VIP, "d", node.now)
    assert node.core.pending(foreign=True) == 0
    node.lost("b")
    node.core.moved("ns/a", VIP, "d", node.now)
    node.run(0.05)
    assert [letter.to for _, letter in node.letters] == [("d",)]
    assert node.answers()


def test_what_is_lost_is_announced_no_more() -> None:
    node = Node()
    node.won()
    node.run(0.5)
    node.lost("b")
    node.announced.clear()
    node.run(10.0)
    assert node.answers()
    assert node.announced == []


# ---- conflicts


def test_somebody_else_with_our_ip_is_a_conflict_counted_every_ten_seconds() -> None:
    node = owning()
    for _ in range(50):
        node.core.heard(VIP, ETH0, MAC_M, node.now)
        node.run(0.1)
    assert node.core.conflicts == 1
    node.run(CONFLICT_EVERY + 0.1)
    node.core.heard(VIP, ETH0, MAC_M, node.now)
    node.core.heard(VIP, ETH0, MAC_B, node.now)
    assert node.core.conflicts == 3
    assert node.answers()


def test_others_ips_are_no_conflict() -> None:
    node = owning()
    node.core.heard(OTHER, ETH0, MAC_M, node.now)
    assert node.core.conflicts == 0
