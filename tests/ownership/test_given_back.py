"""A machine that was silent for a moment, and is held dead by gossip, gets its IPs back."""

from failover_node import DEAD_B, ETH0, LINK_B, VIP, B, C, Node, of_kind, settled
from ownership.handover.memory import ASK_THE_DEAD_SLOWLY
from ownership.handover.succession import ASKED_OF_THE_DEAD
from ownership.letters import letters
from ownership.letters.letters import LetterKind


def taken_over(ips: int = 1) -> Node:
    """It has taken IPs over aloud from b, which gossip holds dead and whose kernel is silent."""
    node = settled()
    node.answering.difference_update(LINK_B.ips)
    node.peers(DEAD_B, C)
    node.run(1.0)
    for number in range(ips):
        node.core.win(f"ns/{number}", VIP + number, None, "b", node.now)
    node.run(1.0)
    assert node.answers()
    node.asked.clear()
    return node


def test_what_was_taken_over_aloud_is_asked_for_when_its_owners_machine_answers_again() -> None:
    """In a cut of gossip all are dead to each other, and a starved machine misses its echoes."""
    node = taken_over()
    node.answering.update(LINK_B.ips)
    node.run(1.5)
    assert VIP in node.asked
    assert node.answers(), "nobody has answered for it"
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert not node.answers()
    for _ in range(300):
        node.run(0.01)
        if node.asked:
            node.core.handle_announcement(node.asked.pop(), ETH0.index, LINK_B.mac, node.now)
    assert not node.answers()
    assert node.core.stats().contested == 1


def test_an_echo_that_ends_a_silence_has_the_wire_asked_however_often_frames_did() -> None:
    """A starved machine goes on sending: each frame of it doubles the time to the next question."""
    node = taken_over()
    for _ in range(30):
        node.core.handle_announcement(VIP + 99, ETH0.index, LINK_B.mac, node.now)
        node.run(0.1)
    node.asked.clear()
    node.answering.update(LINK_B.ips)
    node.run(0.3)
    assert VIP in node.asked


def test_if_it_answers_for_one_of_its_ips_none_is_kept_without_a_question() -> None:
    node = taken_over(ips=10)
    node.answering.update(LINK_B.ips)
    node.run(1.5)
    node.asked.clear()
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert [node.announcer.wants(VIP + number) for number in range(10)] == [False] * 10
    node.run(0.2)
    assert set(node.asked) >= {VIP + number for number in range(10)}
    assert node.announcer.wants(VIP + 1), "nobody has answered for it"


def test_an_owner_that_got_its_ips_back_is_told_to_announce_them_when_gossip_is_back() -> None:
    """Clients that followed us would believe us until their entries expire."""
    node = taken_over()
    node.answering.update(LINK_B.ips)
    node.run(1.5)
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    node.run(0.1)
    node.peers(B, C)
    node.core.lose("ns/0", VIP, "b", node.now)
    [told, *_] = of_kind(node.run(0.5), LetterKind.YOURS)
    assert told.to == ("b",)
    assert letters.decode_ips(told.payload) == {VIP}


def test_an_owner_that_answered_by_letter_is_told_to_announce_its_ips_all_the_same() -> None:
    """We asked it for them by letter, too: its answer tells no client."""
    node = taken_over()
    node.answering.update(LINK_B.ips)
    node.run(1.5)
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    for payload in letters.encode_ips([VIP]):
        node.letter(LetterKind.MINE, "b", payload)
    node.peers(B, C)
    node.core.lose("ns/0", VIP, "b", node.now)
    [told, *_] = of_kind(node.run(0.5), LetterKind.YOURS)
    assert told.to == ("b",)


def test_a_frame_with_the_mac_of_a_silent_machine_takes_nothing_back() -> None:
    """Anybody on the segment can send it."""
    node = taken_over()
    node.core.handle_announcement(VIP, ETH0.index, LINK_B.mac, node.now)
    assert node.answers()


def test_a_machine_without_a_speaker_is_asked_for_few_ips_and_ever_more_seldom() -> None:
    node = taken_over(ips=40)
    node.answering.update(LINK_B.ips)
    node.run(2.0)
    first = len(node.asked)
    assert 0 < first <= ASKED_OF_THE_DEAD * 5
    node.asked.clear()
    node.run(60.0)
    ours = {VIP + number for number in range(40)}
    own = sum(ip in ours for ip in node.asked)
    assert 0 < own <= ASKED_OF_THE_DEAD * (60.0 / ASK_THE_DEAD_SLOWLY + 1)
    assert node.answers()
