"""What people are told of each event of the core: the line, its level and its fields."""

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.election.quorum import Quorum, QuorumMode
from ownership.io import (
    Announce,
    BarsChanged,
    Confirmed,
    Contested,
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
    TookQuietly,
    Withdraw,
    Won,
)
from ownership.liveness.barred import Barred
from ownership.liveness.verdicts import Subject
from ownership.ownership import Ownership
from speaker.metrics.collector import Figures, make_registry
from speaker.telling import Telling
from speaker.wire.layer2 import Layer2Stats

VIP = IPv4Address("198.51.100.1")
SUBJECT = Subject("b", "eth0")
BARRED = Barred(frozenset({"c"}), frozenset({SUBJECT}))

Line = tuple[str, str, dict[str, Any]]


class Rig:
    """Telling, with lines written at once, and a cluster that notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.published: list[str] = []
        self.now = 100.0
        contact, nobody = Contact(0.0, alone=True), cast(Any, None)
        core = Ownership("a", contact, Announcer(contact), nobody, Quorum(QuorumMode.OFF))
        figures = Figures("a", Layer2Stats(), {}, core.serves, dict)
        self.registry, instruments = make_registry(figures)
        self.moves = figures.moves
        cluster = SimpleNamespace(
            note_change=lambda service, interfaces: self.published.append(service),
            note_assignment=lambda service: None,
        )
        self.telling = Telling(
            core,
            cast(Any, SimpleNamespace(names=lambda: frozenset({"eth0"}))),
            cast(Any, SimpleNamespace(add=lambda job: job())),
            instruments,
            cast(Any, cluster),
            lambda: self.now,
            cast(Any, self),
        )

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def tell(self, *events: OwnershipEvent) -> list[Line]:
        self.lines.clear()
        for event in events:
            self.telling.tell(event, self.now)
        return self.lines

    def took(self) -> float | None:
        sums = [
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "clarion_takeover_seconds_sum"
        ]
        return sum(sums)


WON = Won(Announce("ns/a", (VIP,), None, "member_dead"))
LOST = Lost(Withdraw("ns/a", (VIP,), "notOwner"))
MOVED = Moved(Move("ns/a", "b", "a", "member_dead"), (VIP,))


@pytest.mark.parametrize(
    ("event", "level", "name", "fields"),
    [
        (Contested(VIP, "b", b"\2\0\0\0\0\x0b"), "warning", "contested",
         {"ip": str(VIP), "node": "b", "mac": "02:00:00:00:00:0b"}),
        (Contested(VIP, "b", None), "warning", "contested", {"mac": None}),
        (Filtered("b"), "warning", "echo_filtered", {"node": "b"}),
        (ForeignAnswer(VIP, "b"), "warning", "foreign_answer", {"ip": str(VIP), "node": "b"}),
        (QuorumChanged(3, 2), "warning", "quorum", {"changed": 3, "lacking": 2}),
        (Held(HoldReason.STALL, None, 1.23456), "info", "contact",
         {"state": "held", "reason": HoldReason.STALL, "gap": 1.235}),
        (Released(HoldReason.STALL, None, "exchange", 0.54321), "info", "contact",
         {"state": "made", "by": "exchange", "waited": 0.543}),
        (MOVED, "info", "leader",
         {"ip": str(VIP), "owner": "a", "previous": "b", "reason": "member_dead"}),
        (LOST, "info", "withdraw", {"ip": str(VIP), "owner": "a", "reason": "notOwner"}),
    ],
)  # fmt: skip
def test_an_event_is_one_line(
    event: OwnershipEvent, level: str, name: str, fields: dict[str, Any]
) -> None:
    [(told_level, told, about)] = Rig().tell(event)
    assert (told_level, told) == (level, name)
    assert fields.items() <= about.items()


def test_verdicts_and_bars_are_told_when_they_come_and_when_they_go() -> None:
    came = Rig().tell(BarsChanged(Barred(), BARRED))
    assert came == [
        ("warning", "verdict", {"node": "b", "link": "eth0", "state": "gone"}),
        ("warning", "barred", {"node": "c"}),
    ]
    went = Rig().tell(BarsChanged(BARRED, Barred()))
    assert went == [
        ("info", "verdict", {"node": "b", "link": "eth0", "state": "void"}),
        ("info", "not_barred", {"node": "c"}),
    ]


def test_what_is_won_is_announced_when_its_first_frame_leaves() -> None:
    rig = Rig()
    assert rig.tell(WON) == []
    rig.now += 0.25
    rig.telling.note_first_frame(VIP)
    [(_, name, about)] = rig.lines
    assert (name, about["reason"]) == ("announce", "member_dead")
    assert rig.took() == pytest.approx(0.25)
    rig.telling.note_first_frame(VIP)
    assert len(rig.lines) == 1


def test_what_was_put_off_meanwhile_took_no_time_that_counts() -> None:
    rig = Rig()
    rig.tell(WON, PutOff(frozenset({VIP})))
    rig.telling.note_first_frame(VIP)
    assert [name for _, name, _ in rig.lines] == ["announce"]
    assert rig.took() == 0.0


def test_what_is_taken_quietly_is_told_without_a_frame() -> None:
    rig = Rig()
    [(_, name, about)] = rig.tell(WON, TookQuietly(VIP))
    assert (name, about["quiet"], about["reason"]) == ("announce", True, "member_dead")


def test_what_was_won_lost_or_handed_over_is_published() -> None:
    rig = Rig()
    rig.tell(MOVED, WON, HandedOver(frozenset({"ns/b"})), LOST)
    assert rig.published == ["ns/a", "ns/b", "ns/a"]
    assert rig.moves == {"member_dead": 1}


def test_a_move_that_a_client_confirms_is_observed() -> None:
    rig = Rig()
    assert rig.tell(Confirmed(0.5)) == []
    name = "clarion_takeover_confirmed_seconds_sum"
    assert rig.registry.get_sample_value(name) == pytest.approx(0.5)


def test_since_when_a_service_is_ours_is_kept_until_it_is_lost() -> None:
    rig = Rig()
    rig.tell(WON)
    before = dict(rig.telling._instruments.since)
    rig.tell(WON)
    assert rig.telling._instruments.since == before
    assert before.keys() == {"ns/a"}
    rig.tell(LOST)
    assert rig.telling._instruments.since == {}
