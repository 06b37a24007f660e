"""The flight recorder: what is kept, what goes, and how much memory it takes."""

import tracemalloc
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.local import protocol
from speaker.record.flight_recorder import (
    CAUSES,
    CAUSES_BYTES,
    DEEDS_BYTES,
    FIELDS,
    LONGEST_WORD,
    MOST_CAUSES,
    MOST_DEEDS,
    MOST_SUBJECTS,
    FlightRecord,
    FlightRecorder,
    RecordKind,
    read,
    word,
    write,
)

VIP = IPv4Address("198.51.100.1")
MEBIBYTE = 1024 * 1024


def all_of(recorder: FlightRecorder, after: int = 0) -> list[FlightRecord]:
    return [read(kept) for kept in recorder.after(after)]


def test_the_shares_are_four_thousand_records_and_a_mebibyte() -> None:
    assert MOST_CAUSES + MOST_DEEDS == 4_000
    assert CAUSES_BYTES + DEEDS_BYTES == MEBIBYTE


def test_the_oldest_go_and_causes_are_not_washed_out_by_deeds() -> None:
    recorder = FlightRecorder()
    recorder.note_cause(RecordKind.VERDICT, 1.0, "b", details=("eth0", "gone", "c"))
    for number in range(10_000):
        recorder.note_deed(
            RecordKind.ASKED, 2.0 + number, ips=(VIP + number,), details=("eth0", None)
        )
    kept = all_of(recorder)
    assert len(recorder) == len(kept)
    assert kept[0].kind is RecordKind.VERDICT
    assert kept[-1].ips == (VIP + 9_999,)
    assert [record.number for record in kept[1:]] == list(range(10_002 - len(kept) + 1, 10_002))
    assert 1_000 < len(kept) <= MOST_DEEDS + 1


def test_what_is_about_many_is_told_in_several() -> None:
    recorder = FlightRecorder()
    ips = tuple(VIP + number for number in range(2 * MOST_SUBJECTS + 1))
    recorder.note_deed(RecordKind.PUT_OFF, 1.0, "a", ips)
    recorder.note_deed(
        RecordKind.HANDED_OVER, 1.0, services=tuple(map(str, range(MOST_SUBJECTS + 1)))
    )
    kept = all_of(recorder)
    assert [len(record.ips) for record in kept[:3]] == [MOST_SUBJECTS, MOST_SUBJECTS, 1]
    assert [len(record.services) for record in kept[3:]] == [MOST_SUBJECTS, 1]
    assert tuple(ip for record in kept for ip in record.ips) == ips


TEXTS = st.text(st.characters(exclude_categories=()), max_size=LONGEST_WORD)
ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address)


@given(st.data())
def test_a_record_comes_back_as_it_was_but_for_halves_of_characters(data: st.DataObject) -> None:
    record = FlightRecord(
        data.draw(st.integers(0, 2**64 - 1)),
        data.draw(st.floats(0, 1e9)),
        data.draw(st.sampled_from(RecordKind)),
        tuple(data.draw(st.lists(ADDRESSES, max_size=MOST_SUBJECTS))),
        tuple(data.draw(st.lists(TEXTS, max_size=3))),
        data.draw(st.none() | TEXTS),
        tuple(data.draw(st.lists(st.none() | st.floats(allow_nan=False) | TEXTS, max_size=4))),
    )
    again = read(write(record))
    assert again[:4] == record[:4]
    spelled_out = protocol.spelled(list(record[4:]))
    assert [list(again.services), again.node, list(again.details)] == spelled_out


def test_four_thousand_of_the_usual_kind_are_kept() -> None:
    recorder = FlightRecorder()
    for number in range(10_000):
        service = f"a-namespace-of-people/their-service-{number}"
        ips, details = (VIP + number % 200,), ("a-node-of-a-cluster-17", "member_dead")
        node = "a-node-of-a-cluster-42"
        recorder.note_deed(RecordKind.ELECTED, 1e6 + number, node, ips, (service,), details)
        recorder.note_cause(RecordKind.MISSED, 1e6, node, details=("eth0", f"node-{number}"))
    assert len(recorder) == 4_000
    assert recorder.size <= MEBIBYTE


def test_all_of_it_takes_no_more_memory_than_it_says() -> None:
    recorder = FlightRecorder()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(5_000):
        recorder.note_deed(RecordKind.QUIET, float(number), f"node-{number}", (VIP + number,))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= recorder.size + 16_384


def test_the_longest_records_take_a_mebibyte_together() -> None:
    """A key holder may call his members as he likes."""
    recorder = FlightRecorder()
    for number in range(20_000):
        name = f"{number}\U0001f600" * LONGEST_WORD
        at = float(number)
        recorder.note_cause(RecordKind.MEMBER, at, word(name), details=("alive", word(name)))
        ips, details = (VIP + number,), (word(name),)
        recorder.note_deed(RecordKind.CONTESTED, at, word(name), ips, details=details)
        assert recorder.size <= MEBIBYTE
    assert len(recorder) > 100


def test_who_reads_on_gets_what_came_since() -> None:
    recorder = FlightRecorder()
    for number in range(10):
        recorder.note_cause(RecordKind.FLAGS, float(number), "a", details=("",))
    assert [record.number for record in all_of(recorder, 7)] == [8, 9, 10]
    assert recorder.after(10) == []
    assert recorder.newest == 10


@pytest.mark.parametrize("kind", RecordKind)
def test_every_kind_says_what_its_details_are(kind: RecordKind) -> None:
    assert kind in FIELDS
    assert (kind in CAUSES) == (tuple(RecordKind).index(kind) < 11)
