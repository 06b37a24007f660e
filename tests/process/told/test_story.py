"""The flight recorder in sentences: each kind has one, and nothing in it moves a terminal."""

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.told import story
from process.told.rows import LiveError, LiveRecord, read_record
from process.told.story import line, sentence
from speaker.record.flight_recorder import FIELDS, FlightRecord, RecordKind
from speaker.record.log_rows import row

VIP = IPv4Address("198.51.100.1")


def told(kind: str, node: str = "b", **details: Any) -> str:
    deed = kind in ("elected", "announced")
    ips, services = ([str(VIP)], ["ns/web"]) if deed else ([], [])
    return sentence(LiveRecord(1, 0.0, kind, node, ips, services, details))


@pytest.mark.parametrize("kind", RecordKind)
def test_every_kind_of_a_speaker_has_a_sentence_that_uses_its_fields(kind: RecordKind) -> None:
    assert kind.value in story._TOLD
    details = tuple(f"field-{number}" for number in range(len(FIELDS[kind])))
    record = FlightRecord(1, 0.0, kind, (VIP,), ("ns/web",), "node-b", details)
    text = sentence(read_record(row(record, lambda at: at)))
    assert text
    used = [detail for detail in details if detail in text]
    # A bar has a state, of which there are two; each has words of its own.
    assert used or not details or kind is RecordKind.BARRED, text


@pytest.mark.parametrize(
    ("kind", "details", "text"),
    [
        ("missed", {"link": "eth0", "witness": "c"}, "c misses b's eth0"),
        ("missed", {"witness": "c"}, "c misses the process of b"),
        ("verdict", {"link": "eth0", "state": "gone", "witnesses": "a,c"},
         "verdict: b's eth0 is gone, missed by a,c"),
        ("verdict", {"link": "eth0", "state": "void"}, "verdict void: b's eth0 is heard again"),
        ("barred", {"state": "free"}, "b may own IPs again"),
        ("elected", {"previous": "a", "reason": "bars"},
         "198.51.100.1 (ns/web): the owner is b after a (bars)"),
        ("announced", {"reason": "bars", "seconds": 0.0214},
         "198.51.100.1 (ns/web): first announcement 0.021 s after the decision (bars)"),
        ("contact", {"state": "held", "reason": "stall", "seconds": 1.5},
         "answers stop: stall, 1.5 s lost"),
        ("later_kind", {"x": 1}, "later_kind b x=1"),
    ],
)  # fmt: skip
def test_what_happened_is_a_sentence(kind: str, details: dict[str, Any], text: str) -> None:
    assert told(kind, **details) == text


def test_times_are_to_the_millisecond_and_odd_ones_are_no_error() -> None:
    assert line(LiveRecord(1, 1_764_158_400.1239, "quiet")).startswith("2025-11-26 12:00:00.123  ")
    for odd in (1e300, -1e300, float("nan"), float("inf")):
        assert line(LiveRecord(1, odd, "quiet")).startswith("1970-01-01 00:00:00.000  ")


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.floats()))
def test_a_line_is_one_line_and_moves_no_terminal(
    kind: str, node: str, details: dict[str, Any]
) -> None:
    for name in (kind, *RecordKind):
        record = LiveRecord(1, 0.0, str(name), node, [node], [node] * 9, details)
        assert line(record).isprintable()


@pytest.mark.parametrize("odd", [None, 5, [], {}, {"number": "x"}, {"number": 1, "at": 0.0}])
def test_what_is_no_record_is_one_error(odd: Any) -> None:
    with pytest.raises(LiveError):
        read_record(odd)
