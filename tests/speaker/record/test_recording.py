"""What is kept of all that the heart gives out and takes in."""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, get_args

import pytest

from gossip.io import Address, MemberView
from gossip.wire.messages import CURRENT_VSN, State
from ownership.announcing.decisions import Announced
from ownership.io import (
    Announce,
    Ask,
    BarsChanged,
    Confirmed,
    Contested,
    Failed,
    Filtered,
    ForeignAnswer,
    HandedOver,
    Held,
    HoldReason,
    Lost,
    Move,
    Moved,
    OwnershipEvent,
    PutOff,
    QuorumChanged,
    Released,
    Send,
    TookQuietly,
    Withdraw,
    Won,
)
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import LetterKind
from ownership.letters.mark import Flags
from ownership.liveness.barred import Barred
from ownership.liveness.verdicts import Subject
from speaker.record.flight_recorder import read
from speaker.record.log_rows import row
from speaker.record.recording import AGAIN, MOST_CLIENTS_WAITING, MOST_MISSES, Recording

VIP = IPv4Address("198.51.100.1")
SUBJECT = Subject("b", "eth0")
GONE = Barred(frozenset({"d"}), frozenset({SUBJECT}))
LINK = letters.encode_link_name("eth0")
MOVED = Moved(Move("ns/a", "b", "a", "bars"), (VIP,))
WON = Won(Announce("ns/a", (VIP,), frozenset({"eth1", "eth0"}), "bars"))


def rows(recording: Recording) -> list[dict[str, Any]]:
    """All that is kept, without numbers and times."""
    found = [row(read(kept), lambda at: at) for kept in recording.recorder.after(0)]
    return [{k: v for k, v in each.items() if k not in ("number", "at")} for each in found]


def kept(*events: OwnershipEvent) -> list[dict[str, Any]]:
    recording = Recording("a")
    for event in events:
        recording.note_event(event, 1.0)
    return rows(recording)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (MOVED, {"kind": "elected", "node": "a", "ips": [str(VIP)], "services": ["ns/a"],
                 "previous": "b", "reason": "bars"}),
        (WON, {"kind": "won", "node": "a", "ips": [str(VIP)], "services": ["ns/a"],
               "reason": "bars", "interfaces": "eth0,eth1"}),
        (Lost(Withdraw("ns/a", (VIP,), "notOwner")),
         {"kind": "lost", "node": "a", "ips": [str(VIP)], "services": ["ns/a"],
          "reason": "notOwner"}),
        (Held(HoldReason.STALL, None, 1.5),
         {"kind": "contact", "node": "a", "state": "held", "reason": "stall", "seconds": 1.5}),
        (Released(HoldReason.STALL, None, "exchange", 0.5),
         {"kind": "contact", "node": "a", "state": "made", "reason": "stall", "by": "exchange",
          "seconds": 0.5}),
        (Contested(VIP, "b", b"\2\0\0\0\0\x0b"),
         {"kind": "contested", "node": "b", "ips": [str(VIP)], "mac": "02:00:00:00:00:0b"}),
        (ForeignAnswer(VIP, "b"), {"kind": "foreign_answer", "node": "b", "ips": [str(VIP)]}),
        (Filtered("b"), {"kind": "echo_filtered", "node": "b"}),
        (TookQuietly(VIP), {"kind": "quiet", "node": "a", "ips": [str(VIP)]}),
        (PutOff(frozenset({VIP})), {"kind": "put_off", "node": "a", "ips": [str(VIP)]}),
        (HandedOver(frozenset({"ns/b", "ns/a"})),
         {"kind": "handed_over", "services": ["ns/a", "ns/b"]}),
        (QuorumChanged(3, 2), {"kind": "quorum", "changed": 3, "lacking": 2}),
        (Failed("ns/a", "bars", RuntimeError("secret")),
         {"kind": "failed", "services": ["ns/a"], "reason": "bars", "error": "RuntimeError"}),
    ],
    ids=lambda part: type(part).__name__,
)  # fmt: skip
def test_each_event_is_a_record(event: OwnershipEvent, told: dict[str, Any]) -> None:
    assert kept(event) == [told]


def test_every_event_that_there_is_has_a_record() -> None:
    """One that comes later is not to raise an error in the driver."""
    assert set(get_args(OwnershipEvent)) == set(Recording("a")._told)


def test_what_is_elected_and_won_in_one_turn_is_told_once() -> None:
    assert [each["kind"] for each in kept(MOVED, WON)] == ["elected"]
    recording = Recording("a")
    recording.note_event(MOVED, 1.0)
    recording.note_event(WON, 2.0)
    assert [each["kind"] for each in rows(recording)] == ["elected", "won"]


def letter(kind: LetterKind, sender: str, payload: bytes = b"", about: str = "b") -> Letter:
    return Letter(int(kind), sender, about, 1, payload)


def test_a_verdict_names_who_missed_the_node_and_comes_after_their_words() -> None:
    recording = Recording("a")
    recording.note_letter(letter(LetterKind.MISSING, "c", LINK), 1.0)
    recording.note_sent(Send(LetterKind.MISSING, "b", LINK), 1.02)
    for step in range(4):
        recording.note_letter(letter(LetterKind.MISSING, "c", LINK), 1.1 + step / 100)
    recording.note_letter(letter(LetterKind.GONE, "c", LINK), 1.15)
    recording.note_sent(Send(LetterKind.GONE, "b", LINK), 1.16)
    recording.note_event(BarsChanged(Barred(), GONE), 1.2)
    recording.note_event(BarsChanged(GONE, Barred()), 3.0)
    assert rows(recording) == [
        {"kind": "missed", "node": "b", "link": "eth0", "witness": "c"},
        {"kind": "missed", "node": "b", "link": "eth0", "witness": "a"},
        {"kind": "judged", "node": "b", "link": "eth0", "by": "c"},
        {"kind": "verdict", "node": "b", "link": "eth0", "state": "gone", "witnesses": "a,c"},
        {"kind": "barred", "node": "d", "state": "barred"},
        {"kind": "verdict", "node": "b", "link": "eth0", "state": "void"},
        {"kind": "barred", "node": "d", "state": "free"},
    ]


def test_an_old_miss_is_no_witness_and_one_that_lasts_is_told_again_in_a_while() -> None:
    recording = Recording("a")
    for tenth in range(int(10 * AGAIN) + 2):
        recording.note_letter(letter(LetterKind.MISSING, "c", LINK), tenth / 10)
    assert [each["kind"] for each in rows(recording)] == ["missed", "missed"]
    recording.note_event(BarsChanged(Barred(), GONE), AGAIN + 10.0)
    assert "witnesses" not in rows(recording)[2]


def test_misses_are_remembered_in_a_bounded_number() -> None:
    recording = Recording("a")
    for number in range(10 * MOST_MISSES):
        sender, node = f"c{number}", f"b{number}"
        recording.note_letter(letter(LetterKind.MISSING, sender, LINK, node), 1.0)
    assert len(recording._misses._said) == MOST_MISSES


def test_letters_about_ips_are_told_both_ways_and_beats_and_nonsense_are_not() -> None:
    recording = Recording("a")
    [payload] = letters.encode_ips([VIP + 1, VIP])
    recording.note_sent(Send(LetterKind.YOURS, "a", payload, ("b",)), 1.0)
    recording.note_letter(letter(LetterKind.MINE, "b", payload), 1.0)
    recording.note_sent(Send(LetterKind.BEAT, "a", to=("b", "c")), 1.0)
    recording.note_letter(letter(LetterKind.BEAT, "b"), 1.0)
    recording.note_letter(letter(LetterKind.HELLO, "b", b"\xff" * 9), 1.0)
    recording.note_letter(letter(LetterKind.MINE, "b", b"\xff" * 9), 1.0)
    recording.note_letter(letter(LetterKind.MISSING, "b", b"\xff" * 99), 1.0)
    recording.note_letter(Letter(99, "b", "b", 1, b""), 1.0)
    ips = [str(VIP), str(VIP + 1)]
    assert rows(recording) == [
        {"kind": "said", "node": "b", "ips": ips, "letter": "yours"},
        {"kind": "heard", "node": "b", "ips": ips, "letter": "mine"},
    ]


def test_a_confirmation_has_its_client_and_those_that_wait_are_bounded() -> None:
    recording = Recording("a")
    for number in range(2 * MOST_CLIENTS_WAITING):
        recording.note_client(VIP, "eth0", IPv4Address(number))
    recording.note_event(Confirmed(0.5), 1.0)
    assert rows(recording) == [
        {"kind": "confirmed", "ips": [str(VIP)], "link": "eth0",
         "client": str(IPv4Address(MOST_CLIENTS_WAITING)), "seconds": 0.5}
    ]  # fmt: skip
    assert len(recording._clients) == MOST_CLIENTS_WAITING - 1


def test_questions_announcements_members_flags_and_routes_are_told() -> None:
    recording = Recording("a")
    member = MemberView("b", Address("192.0.2.2", 7946), State.SUSPECT, 1, b"", CURRENT_VSN)
    steps: list[Callable[[], None]] = [
        lambda: recording.note_ask("eth0", Ask(VIP, 7, b"\2\0\0\0\0\x0b"), 1.0),
        lambda: recording.note_announcement(VIP, Announced({"ns/a": "bars"}, 0.25), 1.0),
        lambda: recording.note_member(member, 1.0),
        lambda: recording.note_flags(Flags.LEAVING | Flags.NO_LINK, 1.0),
        lambda: recording.note_routes("ns/a", ("tor-1", "tor-2"), "", 1.0),
        lambda: recording.note_bgp("bgp_session", "down", "tor-1", "hold timer", 1.0),
    ]
    for step in steps:
        step()
    found = {each.pop("kind"): each for each in rows(recording)}
    assert found == {
        "asked": {"ips": [str(VIP)], "link": "eth0", "mac": "02:00:00:00:00:0b"},
        "announced": {"node": "a", "ips": [str(VIP)], "services": ["ns/a"], "reason": "bars",
                      "seconds": 0.25},
        "member": {"node": "b", "state": "suspect", "address": "192.0.2.2"},
        "flags": {"node": "a", "flags": "no_link,leaving"},
        "routes": {"node": "a", "services": ["ns/a"], "peers": "tor-1,tor-2"},
        "bgp": {"event": "bgp_session", "state": "down", "about": "tor-1", "reason": "hold timer"},
    }  # fmt: skip
    arrival = recording.tenures.arrival(VIP)
    assert arrival is not None
    assert arrival.seconds == 0.25


def test_what_is_said_of_others_is_cut_where_it_is_long() -> None:
    recording = Recording("a")
    name = "n" * 100_000
    recording.note_event(Contested(VIP, name, None), 1.0)
    recording.note_letter(letter(LetterKind.MISSING, name, LINK, name), 1.0)
    assert recording.recorder.size < 10_000
