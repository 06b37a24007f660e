"""Our mark and our own messages: who gets them, and what is refused."""

import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.io import Datagram, UserMessage
from ownership.letters import mark
from ownership.letters.courier import (
    FIRST,
    MAX_PAYLOAD,
    MOST_AWAY,
    VERSION,
    WINDOW,
    Courier,
    CourierRefusal,
    Letter,
    Window,
)
from ownership.letters.mark import Flags, Mark

KIND = 7


@given(st.integers(0, 2**mark.START_ID_BITS - 1), st.sampled_from(list(Flags)))
def test_mark_round_trip(start_id: int, flags: Flags) -> None:
    assert mark.decode(mark.encode(Mark(start_id, flags))) == Mark(start_id, flags)


@given(st.binary(max_size=40))
def test_any_meta_is_a_mark_or_none(meta: bytes) -> None:
    decoded = mark.decode(meta)
    assert decoded is None or meta.startswith(mark.MAGIC)


@pytest.mark.parametrize(
    "meta", [b"", b"\xff\x80", mark.encode(Mark(1))[:-1], mark.encode(Mark(1, version=0))]
)
def test_what_is_no_mark(meta: bytes) -> None:
    assert mark.decode(meta) is None


def test_a_later_mark_may_be_longer() -> None:
    assert mark.decode(mark.encode(Mark(5, Flags.LEAVING, 2)) + b"more") == Mark(
        5, Flags.LEAVING, 2
    )


def ring(network: Any, marked: int = 3, foreign: int = 1) -> list[Courier]:
    """Start marked nodes n1, n2, … and foreign ones behind them."""
    couriers = []
    for index in range(marked + foreign):
        meta = mark.encode(Mark(index + 1)) if index < marked else b"\xff\x80"
        swim = network.add(f"n{index + 1}", meta=meta)
        if index < marked:
            couriers.append(Courier(swim, random.Random(index), index + 1))
        if index:
            swim.set_seeds([network.address("n1")], network.now)
    network.run(3)
    return couriers


def user_messages(network: Any, name: str) -> list[bytes]:
    return [event.data for event in network.events[name] if isinstance(event, UserMessage)]


def test_straight_to_all_marked_and_to_no_other(network: Any) -> None:
    one, two, _ = ring(network)
    assert one.straight(KIND, about=3, incarnation=1, payload=b"gone") == 2
    network.run(1)
    assert user_messages(network, "n4") == []
    (data,) = user_messages(network, "n2")
    assert two.take(data) == Letter(KIND, "n1", "n3", 1, b"gone")
    assert user_messages(network, "n3")


def test_gossip_reaches_all_marked_once_each_counts(network: Any) -> None:
    couriers = ring(network, marked=12, foreign=2)
    couriers[0].gossip(KIND, about=1, incarnation=1)
    taken = {courier.swim: 0 for courier in couriers}
    for _ in range(10):
        network.run(0.01)
        for index, courier in enumerate(couriers):
            for data in user_messages(network, f"n{index + 1}"):
                taken[courier.swim] += isinstance(courier.take(data, spread=True), Letter)
            network.events[f"n{index + 1}"].clear()
    assert taken.pop(couriers[0].swim) == 0
    assert sum(count == 1 for count in taken.values()) >= 10
    assert max(taken.values()) == 1
    assert not user_messages(network, "n13")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: b"", CourierRefusal.FOREIGN),
        (lambda data: b"\x01" + data[1:], CourierRefusal.FOREIGN),
        (lambda data: data[:1], CourierRefusal.TRUNCATED),
        (lambda data: data[:10], CourierRefusal.TRUNCATED),
        (lambda data: data[:26], CourierRefusal.TRUNCATED),
        (lambda data: data + bytes(MAX_PAYLOAD + 1), CourierRefusal.TOO_LONG),
        (lambda data: bytes([FIRST, VERSION + 1]) + data[2:], CourierRefusal.UNKNOWN_VERSION),
        (lambda data: data[:3] + bytes(4) + data[7:], CourierRefusal.UNKNOWN_SENDER),
        (lambda data: data[:3] + bytes(3) + b"\x02" + data[7:], CourierRefusal.OWN),
        (lambda data: data[:15] + bytes(4) + data[19:], CourierRefusal.OTHER_START),
        (lambda data: data[:19] + bytes(4) + data[23:], CourierRefusal.OTHER_INCARNATION),
        (lambda data: data[:23] + bytes(4) + data[27:], CourierRefusal.OTHER_RECEIVER),
    ],
)
def test_what_is_refused_is_counted(network: Any, change: Any, expected: CourierRefusal) -> None:
    one, two, _ = ring(network)
    one.straight(KIND, about=3, incarnation=1)
    network.run(1)
    (data,) = user_messages(network, "n2")
    assert two.take(change(data)) is expected
    assert two.refused[expected] == 1
    assert isinstance(two.take(data), Letter)


def test_repeated_and_old_messages_are_refused(network: Any) -> None:
    one, two, _ = ring(network)
    for _ in range(3):
        one.straight(KIND, about=3, incarnation=1)
    network.run(1)
    first, second, third = user_messages(network, "n2")
    assert isinstance(two.take(second), Letter)
    assert two.take(second) is CourierRefusal.REPEATED
    assert isinstance(two.take(first), Letter)
    assert isinstance(two.take(third), Letter)
    assert two.take(first) is CourierRefusal.REPEATED


def test_a_message_of_an_earlier_life_is_refused(network: Any) -> None:
    one, two, _ = ring(network)
    one.straight(KIND, about=3, incarnation=1)
    network.run(1)
    (data,) = user_messages(network, "n2")
    one.swim.set_meta(mark.encode(Mark(99)), network.now)
    network.run(1)
    assert two.take(data) is CourierRefusal.UNKNOWN_SENDER


def test_a_letter_is_for_the_one_it_was_sent_to(network: Any) -> None:
    one, two, three = ring(network)
    one.to(["n2"], KIND, about=1, incarnation=1, payload=b"yours")
    network.run(1)
    (data,) = user_messages(network, "n2")
    assert three.take(data) is CourierRefusal.OTHER_RECEIVER
    assert isinstance(two.take(data), Letter)


def test_a_letter_to_all_is_for_each_by_itself(network: Any) -> None:
    one, two, three = ring(network)
    one.straight(KIND, about=1, incarnation=1)
    network.run(1)
    ((to_two,), (to_three,)) = (user_messages(network, name) for name in ("n2", "n3"))
    assert two.take(to_three) is three.take(to_two) is CourierRefusal.OTHER_RECEIVER
    assert isinstance(two.take(to_two), Letter)
    assert isinstance(three.take(to_three), Letter)


def test_a_letter_does_not_count_again_after_its_receiver_restarts(network: Any) -> None:
    one, two, _ = ring(network)
    one.straight(KIND, about=3, incarnation=1, payload=b"gone")
    network.run(1)
    (data,) = user_messages(network, "n2")
    assert isinstance(two.take(data), Letter)
    assert two.take(data) is CourierRefusal.REPEATED
    swim = network.add("n2", "10.0.0.2", meta=mark.encode(Mark(22)), incarnation=50)
    again = Courier(swim, random.Random(1), 22)
    swim.set_seeds([network.address("n1")], network.now)
    network.run(3)
    assert again.take(data) is CourierRefusal.OTHER_RECEIVER
    network.events["n2"].clear()
    assert one.to(["n2"], KIND, about=3, incarnation=1) == 1
    network.run(1)
    (data,) = user_messages(network, "n2")
    assert isinstance(again.take(data), Letter)


def test_a_letter_does_not_count_again_after_its_sender_was_away(network: Any) -> None:
    """Cut off for so long that gossip has forgotten it, and not restarted."""
    one, two, three = ring(network)
    one.straight(KIND, about=3, incarnation=1)
    network.run(1)
    (data,) = user_messages(network, "n2")
    assert isinstance(two.take(data), Letter)
    network.lost = lambda source, to, transmit: "n1" in (source, to)
    network.run(300)
    assert two.swim.member("n1") is None
    three.straight(KIND, about=3, incarnation=1)
    network.run(1)
    assert isinstance(two.take(user_messages(network, "n2")[-1]), Letter)
    network.lost = lambda source, to, transmit: False
    one.swim.set_seeds([network.address("n2")], network.now)
    network.run(10)
    assert two.swim.member("n1") is not None
    assert two.take(data) is CourierRefusal.REPEATED


def old_ring(network: Any) -> tuple[Courier, Courier]:
    """Start n1, of which the mark and the letters are of version 1, and n2 and n3 of today."""
    one, two, _ = ring(network)
    one.swim.set_meta(mark.encode(Mark(1, version=1)), network.now)
    network.run(1)
    return one, two


def old_letter(counter: int, payload: bytes = b"", sender: int = 1) -> bytes:
    return struct.pack("!BBBIQII", FIRST, 1, KIND, sender, counter, 3, 1) + payload


def test_an_earlier_version_is_sent_letters_that_it_can_read(network: Any) -> None:
    _, two = old_ring(network)
    assert two.straight(KIND, about=3, incarnation=1, payload=b"gone") == 2
    network.run(1)
    assert user_messages(network, "n1") == [old_letter(1, b"gone", sender=2)]
    assert user_messages(network, "n3")[0][1] == VERSION


def test_letters_of_an_earlier_version_count_once(network: Any) -> None:
    _, two = old_ring(network)
    assert two.take(old_letter(1, b"gone")) == Letter(KIND, "n1", "n3", 1, b"gone")
    assert two.take(old_letter(1, b"gone")) is CourierRefusal.REPEATED
    assert two.take(old_letter(2)) == Letter(KIND, "n1", "n3", 1, b"")
    assert two.take(old_letter(3, bytes(MAX_PAYLOAD + 1))) is CourierRefusal.TOO_LONG
    assert two.take(old_letter(3)[:-1]) is CourierRefusal.TRUNCATED
    assert two.take(old_letter(3, sender=3)) is CourierRefusal.UNKNOWN_VERSION


def test_who_was_of_an_earlier_version_and_is_not_is_heard_no_more_as_such(network: Any) -> None:
    one, two = old_ring(network)
    assert isinstance(two.take(old_letter(1)), Letter)
    one.swim.set_meta(mark.encode(Mark(1)), network.now)
    network.run(1)
    assert two.take(old_letter(2)) is CourierRefusal.UNKNOWN_VERSION


def test_letters_of_the_first_version_are_refused_from_those_who_know_better(network: Any) -> None:
    """They named no receiver, and were 4 bytes shorter."""
    _, two, _ = ring(network)
    for payload in (b"", b"payload"):
        assert two.take(old_letter(1, payload)) is CourierRefusal.UNKNOWN_VERSION
    assert two.refused == {CourierRefusal.UNKNOWN_VERSION: 2}


def test_what_is_remembered_of_senders_that_are_away_is_bounded(network: Any) -> None:
    one, two, _ = ring(network)
    two._windows = {1_000 + index: Window(index, 1) for index in range(MOST_AWAY + 10)}
    one.straight(KIND, about=3, incarnation=1)
    network.run(1)
    assert isinstance(two.take(user_messages(network, "n2")[-1]), Letter)
    assert two._windows.keys() == {1, *range(1_010, 1_010 + MOST_AWAY)}


@given(st.lists(st.integers(1, 5 * WINDOW), max_size=200))
def test_window_takes_each_counter_once_and_none_that_is_too_old(counters: list[int]) -> None:
    window, seen = Window(), set[int]()
    for counter in counters:
        highest = max(seen, default=0)
        expected: CourierRefusal | None = None
        if counter <= highest - WINDOW:
            expected = CourierRefusal.OUT_OF_WINDOW
        elif counter in seen:
            expected = CourierRefusal.REPEATED
        assert window.take(counter) is expected
        if expected is None:
            seen.add(counter)


def test_foreign_user_messages_harm_nobody(network: Any) -> None:
    one, two, _ = ring(network)
    network.nodes["n4"].broadcast(b"\x03serf's own", network.now)
    network.run(2)
    for data in user_messages(network, "n2"):
        assert two.take(data) is CourierRefusal.FOREIGN
    assert one.swim.live() == {"n1", "n2", "n3", "n4"}
    assert not any(isinstance(item, Datagram) and not item.data for *_, item in network.carried)
