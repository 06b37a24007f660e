"""The flight recorder: what is kept, what goes, and how much memory it takes."""

import gc
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    cost,
    word,
)

VIP = IPv4Address("198.51.100.1")
MEBIBYTE = 1024 * 1024


def memory(record: FlightRecord) -> int:
    """What a record and all that it holds take, as Python says; nothing of it is shared."""
    size = sys.getsizeof(record) + sys.getsizeof(record.number) + sys.getsizeof(record.at)
    for part in (record.ips, record.services, record.details):
        size += sys.getsizeof(part) if part else 0
    texts = [*record.services, record.node, *record.details]
    size += sum(sys.getsizeof(text) for text in texts if text is not None)
    # An address: the object, its number, and what the collector needs of it.
    size += sum(sys.getsizeof(ip) + sys.getsizeof(int(ip)) for ip in record.ips)
    return size + 8


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
    kept = recorder.after(0)
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
    kept = recorder.after(0)
    assert [len(record.ips) for record in kept[:3]] == [MOST_SUBJECTS, MOST_SUBJECTS, 1]
    assert [len(record.services) for record in kept[3:]] == [MOST_SUBJECTS, 1]
    assert tuple(ip for record in kept for ip in record.ips) == ips


TEXTS = st.text(max_size=LONGEST_WORD)


@given(st.data())
def test_a_record_costs_no_less_than_it_takes(data: st.DataObject) -> None:
    addresses = st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(
        IPv6Address
    )
    record = FlightRecord(
        10**6,
        data.draw(st.floats(0, 1e9)),
        RecordKind.SAID,
        tuple(data.draw(st.lists(addresses, max_size=MOST_SUBJECTS))),
        tuple(data.draw(st.lists(TEXTS, max_size=3))),
        data.draw(st.none() | TEXTS),
        tuple(data.draw(st.lists(st.none() | st.floats() | TEXTS, max_size=4))),
    )
    assert cost(record) >= memory(record)


def test_the_longest_records_take_a_mebibyte_together() -> None:
    """A key holder may call his members as he likes."""
    recorder = FlightRecorder()
    gc.collect()
    for number in range(20_000):
        name = f"{number}\U0001f600" * LONGEST_WORD
        at = float(number)
        recorder.note_cause(RecordKind.MEMBER, at, word(name), details=("alive", word(name)))
        ips, details = (VIP + number,), (word(name),)
        recorder.note_deed(RecordKind.CONTESTED, at, word(name), ips, details=details)
        assert recorder.size <= MEBIBYTE
    assert sum(map(memory, recorder.after(0))) <= MEBIBYTE
    assert len(recorder) > 100


def test_who_reads_on_gets_what_came_since() -> None:
    recorder = FlightRecorder()
    for number in range(10):
        recorder.note_cause(RecordKind.FLAGS, float(number), "a", details=("",))
    assert [record.number for record in recorder.after(7)] == [8, 9, 10]
    assert recorder.after(10) == []
    assert recorder.newest == 10


@pytest.mark.parametrize("kind", RecordKind)
def test_every_kind_says_what_its_details_are(kind: RecordKind) -> None:
    assert kind in FIELDS
    assert (kind in CAUSES) == (tuple(RecordKind).index(kind) < 11)
