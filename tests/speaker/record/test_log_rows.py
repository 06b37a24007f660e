"""The log as it is asked for: all of it, one IP's story, and what comes while somebody reads."""

from ipaddress import IPv4Address

from process.local.answer import LocalLoss, LocalRow
from speaker.record.flight_recorder import MOST_DEEDS, FlightRecorder, RecordKind, read
from speaker.record.last_words import RECORDS_A_LINE, lots
from speaker.record.log_rows import AT_ONCE, Interest, rows

VIP, OTHER = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")
ALL = Interest("", frozenset(), frozenset())


def recorder() -> FlightRecorder:
    """b dies, and a takes its IP; c dies, and a takes that."""
    made = FlightRecorder()
    for at, (node, ip, service) in enumerate((("b", VIP, "ns/a"), ("c", OTHER, "ns/b"))):
        made.note_cause(RecordKind.VERDICT, float(at), node, details=("eth0", "gone", "d"))
        made.note_deed(RecordKind.ELECTED, float(at), "a", (ip,), (service,), (node, "bars"))
        made.note_deed(RecordKind.ASKED, float(at), ips=(ip,), details=("eth0", None))
        made.note_deed(RecordKind.ANNOUNCED, float(at), "a", (ip,), (service,), ("bars", 0.1))
    made.note_cause(RecordKind.QUORUM, 9.0, details=(1, 1))
    return made


def numbers(made: FlightRecorder, interest: Interest, after: int = 0) -> list[int]:
    found = rows(made, interest, after, False, lambda at: at)
    return [item.value["number"] for item in found if isinstance(item, LocalRow)]


def test_all_of_it_is_told_in_its_order_and_on_from_any_place() -> None:
    made = recorder()
    assert numbers(made, ALL) == list(range(1, 10))
    assert numbers(made, ALL, 7) == [8, 9]


def test_the_story_of_an_ip_has_its_deeds_and_the_fate_of_its_owners() -> None:
    made = recorder()
    assert numbers(made, Interest(str(VIP), frozenset({"a"}), frozenset({"ns/a"}))) == [
        1,
        2,
        3,
        4,
        9,
    ]
    assert numbers(made, Interest("ns/b", frozenset({"a"}), frozenset({"ns/b"}))) == [5, 6, 8, 9]


def test_the_story_of_a_node_is_all_that_names_it() -> None:
    assert numbers(recorder(), Interest("c", frozenset(), frozenset())) == [5, 6]
    assert numbers(recorder(), Interest("d", frozenset(), frozenset())) == [1, 5]
    assert numbers(recorder(), Interest("nobody", frozenset(), frozenset())) == []


def test_who_follows_reads_on_and_is_told_what_was_lost() -> None:
    made = recorder()
    found = rows(made, ALL, 0, True, lambda at: at)
    first = [next(found) for _ in range(10)]
    assert [item is None for item in first] == [False] * 9 + [True]
    made.note_cause(RecordKind.FLAGS, 10.0, "a", details=("",))
    item = next(found)
    assert isinstance(item, LocalRow)
    assert item.value["number"] == 10
    assert next(found) is None
    for number in range(2 * MOST_DEEDS):
        made.note_deed(RecordKind.ASKED, float(number), ips=(VIP,), details=("eth0", None))
    loss = next(found)
    assert isinstance(loss, LocalLoss)
    rest = []
    while (item := next(found)) is not None:
        assert isinstance(item, LocalRow)
        rest.append(item.value["number"])
    assert loss.count + len(rest) == 2 * MOST_DEEDS
    assert rest == list(range(10 + loss.count + 1, 10 + 2 * MOST_DEEDS + 1))


def test_who_finds_nothing_for_long_rests_in_between() -> None:
    made = FlightRecorder()
    for number in range(MOST_DEEDS):
        made.note_deed(RecordKind.ASKED, float(number), ips=(VIP,), details=("eth0", None))
    interest = Interest(str(OTHER), frozenset(), frozenset())
    found = list(rows(made, interest, 0, False, lambda at: at))
    # Each of them is looked at twice.
    assert found == [None] * (2 * (len(made) // AT_ONCE))


def test_the_last_words_are_all_records_the_newest_first_and_each_line_in_order() -> None:
    made = recorder()
    told = [[read(kept).number for kept in lot] for lot in lots(made)]
    assert told == [list(range(2, 10)), [1]]
    assert RECORDS_A_LINE == 8
    assert list(lots(FlightRecorder())) == []
