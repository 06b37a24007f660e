"""A changing key meets a restart, a cut, or an operator who takes it back."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from gossip.io import Address, Datagram, Gone, KeyUsed, Suspected
from gossip.rotation import COMPLAIN_INTERVAL, IDLE, SETTLE, TRIAL_INTERVAL
from gossip.swim import Swim
from gossip.wire.body import encode
from gossip.wire.crypto import Keyring
from gossip.wire.errors import WireError
from gossip.wire.messages import ErrorReply, Message, Ping, User
from gossip.wire.packet import PacketCodec, WireConfig
from gossip.wire.stream import StreamCodec

OLD, NEW, LATER = b"o" * 32, b"n" * 32, b"l" * 32
FEW_SECONDS = 5.0
STEP = 0.1


class Ring:
    """Nodes n1, n2, ... that know each other as seeds, and their key rings."""

    def __init__(self, network: Any, size: int = 3) -> None:
        self.network = network
        self.keys: dict[str, Keyring] = {}
        self.names = [f"n{index + 1}" for index in range(size)]
        self._lives = 1
        for name in self.names:
            self.start(name, OLD)
        for name in self.names:
            self.join(name)
        network.run(3)

    def start(self, name: str, key: bytes) -> None:
        self.keys[name] = Keyring([key])
        known = {owner: address.ip for address, owner in self.network.addresses.items()}
        self.network.add(
            name, known.get(name, ""), keyring=self.keys[name], incarnation=self._lives
        )

    def join(self, name: str) -> None:
        seeds = [self.network.address(other) for other in self.names if other != name]
        self.swim(name).set_seeds(seeds, self.network.now)

    def restart(self, name: str, key: bytes) -> None:
        """A new life of the node, of which nobody was told, with this key alone."""
        self._lives += 100
        self.start(name, key)
        self.join(name)

    def swim(self, name: str) -> Swim:
        found: Swim = self.network.nodes[name]
        return found

    def rotate(self, key: bytes, *names: str) -> None:
        for name in names or self.names:
            self.swim(name).rotate(key, self.network.now)

    def whole(self) -> bool:
        return all(self.swim(name).live() == frozenset(self.names) for name in self.names)

    def until_whole(self, within: float) -> float:
        """Seconds until all see all."""
        began = self.network.now
        while not self.whole():
            assert self.network.now - began < within, "not whole"
            self.network.run(STEP)
        return float(self.network.now - began)

    def worst(self, seconds: float) -> float:
        """The longest time that it was not whole."""
        end, longest = self.network.now + seconds, 0.0
        while self.network.now < end:
            longest = max(longest, self.until_whole(within=seconds))
            self.network.run(STEP)
        return longest

    def happened(self, kind: type) -> list[Any]:
        every = self.network.events.values()
        return [event for events in every for event in events if type(event) is kind]

    def part(self, *away: str) -> None:
        self.network.lost = lambda source, to, transmit: (source in away) != (to in away)

    def heal(self) -> None:
        self.network.lost = lambda source, to, transmit: False

    def keys_of(self, name: str) -> tuple[bytes, ...]:
        return self.keys[name].keys

    def opens(self, transmit: Datagram, key: bytes) -> bool:
        try:
            return bool(self.read(transmit, key))
        except WireError:
            return False

    def read(self, transmit: Any, *keys: bytes) -> tuple[Message, ...]:
        return PacketCodec(self.network.config.wire, Keyring(keys)).open(transmit.data).messages


@pytest.fixture
def ring(network: Any) -> Ring:
    return Ring(network)


@pytest.fixture
def new_ring(new_network: Callable[..., Any]) -> Callable[..., Ring]:
    return lambda size, seed=1: Ring(new_network(seed=seed), size)


# ---- a restart during a rotation


@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_one_that_restarts_with_the_new_key_alone_takes_part_at_once(
    new_ring: Callable[..., Ring], size: int
) -> None:
    ring = new_ring(size)
    ring.rotate(NEW)
    ring.network.run(10)
    ring.restart("n1", NEW)
    ring.network.run(STEP)
    assert ring.until_whole(FEW_SECONDS) < FEW_SECONDS
    assert ring.worst(60) == 0
    assert not ring.happened(Gone)
    ring.network.run(SETTLE + IDLE + 60)
    assert all(ring.keys_of(name) == (NEW,) for name in ring.names)
    assert ring.whole()


def test_all_restart_one_after_the_other_right_after_the_change(ring: Ring) -> None:
    ring.rotate(NEW)
    for name in ring.names:
        ring.restart(name, NEW)
        assert ring.worst(30) < FEW_SECONDS
    assert all(ring.keys_of(name) == (NEW,) for name in ring.names)


def test_a_restart_beside_a_foreign_member_without_the_new_key(ring: Ring) -> None:
    """n3 is as a foreign one: the rotation is blocked, maybe for ever."""
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + COMPLAIN_INTERVAL + 10)
    assert [ring.keys[name].primary for name in ring.names] == [OLD] * 3
    ring.restart("n1", NEW)
    ring.network.run(STEP)
    assert ring.until_whole(FEW_SECONDS) < FEW_SECONDS
    assert ring.worst(600) == 0
    assert not ring.happened(Gone)
    assert ring.keys_of("n2") == (NEW, OLD), "n3 has no other"
    assert ring.swim("n2").unproved() == ("n3",)
    # It is given the key, and all have it in the end.
    ring.rotate(NEW, "n3")
    ring.network.run(SETTLE + IDLE + 60)
    assert all(ring.keys_of(name) == (NEW,) for name in ring.names)


def test_a_foreign_member_that_restarts_without_the_new_key(ring: Ring) -> None:
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(10)
    ring.restart("n1", NEW)
    ring.network.run(20)
    assert ring.keys["n2"].primary == NEW
    ring.restart("n3", OLD)
    ring.network.run(STEP)
    assert ring.until_whole(FEW_SECONDS) < FEW_SECONDS
    assert ring.worst(120) == 0


def test_one_that_restarts_with_the_old_key_alone_though_it_had_proved_the_new_one(
    ring: Ring,
) -> None:
    """Its kubelet, or its file, fell back; the others have used the new key since."""
    ring.rotate(NEW)
    ring.network.run(SETTLE + TRIAL_INTERVAL)
    assert all(keys.primary == NEW for keys in ring.keys.values())
    ring.restart("n3", OLD)
    ring.network.run(STEP)
    assert ring.until_whole(FEW_SECONDS) < FEW_SECONDS
    assert ring.worst(60) == 0


def test_what_is_asked_in_a_key_is_answered_in_it(ring: Ring) -> None:
    asked = Ping("n2", 7, b"", "n9", 0)
    codec = PacketCodec(ring.network.config.wire, Keyring([NEW]))
    ring.rotate(NEW, "n2")
    stranger = Address("10.0.0.99", 7946)
    swim = ring.swim("n2")
    swim.transmits()
    packet = codec.seal([bytes_of(asked)], crc=False, nonce=lambda: bytes(12))
    swim.handle_datagram(packet, stranger, ring.network.now)
    (ack,) = swim.transmits()
    assert ring.read(ack, NEW)[0].seq_no == 7  # type: ignore[union-attr]
    assert ring.keys["n2"].primary == OLD, "a trial ping says nothing of its sender's key"


@pytest.mark.parametrize("seed", range(1, 9))
def test_members_not_heard_lately_are_sealed_to_with_the_key_before(
    new_ring: Callable[..., Ring], seed: int
) -> None:
    """Half of the ring is foreign, and the change is heard of before most of them have spoken.

    The one that brought it is gone again: it could reach a foreign one through others alone, and
    asks three at random.
    """
    ring = new_ring(12, seed)
    ours, foreign = ring.names[:6], ring.names[6:]
    ring.rotate(NEW, *ours)
    ring.restart("n1", NEW)
    ring.network.run(0.01)
    assert ring.keys["n2"].primary == NEW
    ring.network.frozen.add("n1")
    ring.network.run(20)
    suspected = {event.member.name for event in ring.happened(Suspected)}
    assert not suspected & set(foreign)


# ---- a cut during a rotation


def test_one_cut_off_from_a_rotation_is_back_as_soon_as_it_has_the_key(ring: Ring) -> None:
    ring.part("n3")
    ring.network.run(60)
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + IDLE + 60)
    assert ring.keys_of("n1") == ring.keys_of("n2") == (NEW,)
    ring.heal()
    ring.network.run(60)
    assert not ring.whole()
    ring.rotate(NEW, "n3")
    assert ring.until_whole(200) < FEW_SECONDS
    ring.network.run(IDLE + 10)
    assert ring.keys_of("n3") == (NEW,)


def test_one_cut_off_that_has_the_key_before_the_cable_is_back(ring: Ring) -> None:
    ring.part("n3")
    ring.rotate(NEW)
    ring.network.run(SETTLE + IDLE + 60)
    ring.heal()
    assert ring.until_whole(200) < 2 * FEW_SECONDS


def test_two_cut_off_learn_from_the_others_that_the_key_is_in_use(
    new_ring: Callable[..., Ring],
) -> None:
    """Neither is alone, and they are given the key one after the other."""
    ring = new_ring(4)
    ring.part("n3", "n4")
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + IDLE + 60)
    assert ring.keys_of("n1") == ring.keys_of("n2") == (NEW,)
    ring.heal()
    ring.rotate(NEW, "n3")
    ring.network.run(2 * FEW_SECONDS)
    assert "n1" in ring.swim("n3").live()
    assert "n4" in ring.swim("n3").live()
    ring.rotate(NEW, "n4")
    assert ring.until_whole(200) < 2 * FEW_SECONDS


def test_a_reply_under_the_key_on_trial_tells_that_it_is_in_use(
    new_ring: Callable[..., Ring],
) -> None:
    """Only those cut off know where the others are, so nobody else can begin."""
    ring = new_ring(4)
    ring.part("n3", "n4")
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + IDLE + 60)
    for name in ("n1", "n2"):
        ring.swim(name).set_seeds([], ring.network.now)
    ring.heal()
    ring.rotate(NEW, "n3", "n4")
    assert ring.until_whole(200) < 2 * FEW_SECONDS


def test_with_nobody_there_the_new_key_is_used_at_once(network: Any) -> None:
    keyring = Keyring([OLD])
    alone = network.add("n1", keyring=keyring)
    alone.rotate(NEW, network.now)
    assert keyring.primary == NEW
    network.run(IDLE + 1)
    assert keyring.keys == (NEW,)


def test_the_last_peer_dies_during_a_trial(ring: Ring) -> None:
    ring.rotate(NEW, "n1")
    ring.network.dead |= {"n2", "n3"}
    ring.network.run(30)
    assert ring.swim("n1").live() == {"n1"}
    assert ring.keys["n1"].primary == NEW


def test_one_alone_with_the_new_key_finds_a_ring_that_has_the_old(ring: Ring) -> None:
    """Its file came first. It asks in the new key, is refused, and asks in theirs."""
    ring.part("n3")
    ring.network.run(30)
    ring.rotate(NEW, "n3")
    assert ring.keys["n3"].primary == NEW
    for name in ("n1", "n2"):
        ring.swim(name).set_seeds([], ring.network.now)
    ring.network.run(60)
    ring.heal()
    assert ring.until_whole(200) < 2 * FEW_SECONDS
    assert ring.worst(60) == 0
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + IDLE + 60)
    assert all(ring.keys_of(name) == (NEW,) for name in ring.names)
    assert ring.whole()


def test_two_that_use_the_new_key_find_a_ring_that_has_the_old(
    new_ring: Callable[..., Ring],
) -> None:
    """The others know no seeds. A conversation that they cannot read is begun again in theirs."""
    ring = new_ring(4)
    ring.part("n3", "n4")
    ring.rotate(NEW, "n3", "n4")
    ring.network.run(SETTLE + 2 * TRIAL_INTERVAL)
    assert ring.keys_of("n3") == ring.keys_of("n4") == (NEW, OLD)
    for name in ("n1", "n2"):
        ring.swim(name).set_seeds([], ring.network.now)
    ring.heal()
    assert ring.until_whole(60) < 2 * FEW_SECONDS
    assert ring.worst(60) == 0


def test_halves_that_have_nothing_but_the_newest_key_in_common(
    new_ring: Callable[..., Ring],
) -> None:
    """One half has changed its key during the cut, and then all are given a third one."""
    ring = new_ring(4)
    ring.part("n3", "n4")
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(SETTLE + IDLE + 60)
    ring.rotate(LATER)
    ring.heal()
    assert ring.until_whole(SETTLE) < 2 * FEW_SECONDS
    assert ring.worst(60) == 0


@pytest.mark.parametrize(("keys", "dials"), [([OLD], 2), ([NEW], 1), ([LATER], 2), (None, 1)])
def test_an_error_is_asked_about_once_more_at_most(
    network: Any, lan_without: Callable[..., Any], keys: list[bytes] | None, dials: int
) -> None:
    """Alone, so the new key is in use. What is not sealed begins nothing: anybody can send it."""
    wire = WireConfig(verify_incoming=False)
    swim = network.add("n1", keyring=Keyring([OLD]), config=lan_without(wire=wire))
    swim.rotate(NEW, network.now)
    codec = StreamCodec(wire, Keyring(keys) if keys else None)
    error = codec.seal(ErrorReply("refused"), dialer=False, nonce=lambda: bytes(12))
    swim.set_seeds([Address("10.0.0.9", 7946)], network.now)
    asked = 0
    while (found := swim.transmits()) and asked < 10:
        for dial in found:
            asked += 1
            swim.handle_reply(dial.id, error, network.now)
    assert asked == dials


# ---- taken back


def test_a_key_that_was_taken_back_opens_no_more(ring: Ring) -> None:
    ring.rotate(NEW)
    ring.network.run(30)
    ring.rotate(OLD)
    assert all(ring.keys_of(name) == (OLD,) for name in ring.names)
    ring.network.run(SETTLE)
    assert ring.whole()
    assert not ring.happened(Suspected)


def test_a_trial_that_another_replaces_leaves_no_key_behind(ring: Ring) -> None:
    ring.rotate(NEW)
    ring.network.run(30)
    ring.rotate(LATER)
    assert all(ring.keys_of(name) == (OLD, LATER) for name in ring.names)
    ring.network.run(SETTLE + IDLE + 60)
    assert all(ring.keys_of(name) == (LATER,) for name in ring.names)
    assert not ring.happened(Suspected)


def test_an_older_key_still_in_use_outlives_its_own_trial(ring: Ring) -> None:
    """Back to the old key before it was dropped, and forth again."""
    ring.rotate(NEW)
    ring.network.run(SETTLE + TRIAL_INTERVAL)
    assert all(ring.keys_of(name) == (NEW, OLD) for name in ring.names)
    ring.rotate(OLD, "n1")
    ring.rotate(NEW, "n1")
    assert ring.keys_of("n1") == (NEW, OLD)
    ring.network.run(IDLE + 60)
    assert all(ring.keys_of(name) == (NEW,) for name in ring.names)
    assert not ring.happened(Suspected)


def test_one_takes_the_key_back_just_before_the_others_use_it(ring: Ring) -> None:
    """It has proved the key, which is gone from its ring when the others begin to seal with it."""
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(20)
    ring.rotate(NEW, "n3")
    while not ring.happened(KeyUsed):
        assert ring.keys["n3"].primary == OLD
        ring.network.run(0.001)
    ring.rotate(OLD, "n3")
    assert [ring.keys_of(name) for name in ring.names] == [(NEW, OLD), (NEW, OLD), (OLD,)]
    assert ring.worst(60) == 0
    ring.rotate(OLD)
    ring.network.run(SETTLE + IDLE + 60)
    assert all(ring.keys_of(name) == (OLD,) for name in ring.names)
    assert not ring.happened(Gone)


# ---- what a recording can do


@pytest.mark.parametrize("speaker", ["n1", "n3"])
@pytest.mark.parametrize("played", [OLD, NEW])
def test_recordings_cut_nobody_off(ring: Ring, speaker: str, played: bytes) -> None:
    """n1 has the new key alone, n3 the old one alone, n2 both. All that n1 and n2 said is played
    to n2 ten times a second, as if `speaker` had said it."""
    ring.rotate(NEW, "n1", "n2")
    ring.network.run(10)
    ring.restart("n1", NEW)
    ring.network.run(20)
    assert ring.keys_of("n2") == (NEW, OLD)
    recorded = [
        item
        for _, source, _, item in ring.network.carried
        if source in ("n1", "n2", "n3") and isinstance(item, Datagram) and ring.opens(item, played)
    ]
    at = ring.network.address(speaker)
    for packet in recorded[-300:]:
        ring.swim("n2").handle_datagram(packet.data, at, ring.network.now)
        ring.network.run(STEP)
        assert ring.whole()
    assert not ring.happened(Gone)


def test_what_is_remembered_of_strangers_is_bounded(ring: Ring) -> None:
    """Packets can be recorded and sent from any address; rows in the table are few."""
    packet = PacketCodec(ring.network.config.wire, Keyring([OLD])).seal(
        [bytes_of(User(b"x"))], crc=False, nonce=lambda: bytes(12)
    )
    ring.rotate(NEW)
    swim = ring.swim("n1")
    for number in range(10_000):
        at = Address(f"10.1.{number >> 8}.{number & 255}", 7946)
        swim.handle_datagram(packet, at, ring.network.now)
    assert remembered(swim) <= 6_000
    ring.network.run(SETTLE + 2 * TRIAL_INTERVAL)
    assert remembered(swim) <= 3
    ring.network.run(IDLE + 60)
    assert remembered(swim) == 0


def remembered(swim: Swim) -> int:
    return len(swim._core.outbox.keys)


def bytes_of(message: Message) -> bytes:
    return encode(message, WireConfig().ints)


# ---- whatever happens


@pytest.mark.parametrize("seed", range(1, 9))
def test_any_course_of_changes_restarts_and_cuts_ends_whole_with_one_key(
    new_network: Callable[..., Any], seed: int
) -> None:
    """Files come at different times, nodes start again with what their file says, cables fail."""
    rng = random.Random(seed)
    ring = Ring(new_network(seed=seed), size=4)
    file = dict.fromkeys(ring.names, OLD)
    for _ in range(20):
        name, key = rng.choice(ring.names), rng.choice([OLD, NEW, LATER])
        match rng.choice(["file", "file", "restart", "part", "heal"]):
            case "file":
                file[name] = key
                ring.rotate(key, name)
            case "restart":
                ring.restart(name, file[name])
            case "part":
                ring.part(name)
            case "heal":
                ring.heal()
        ring.network.run(rng.choice([0.5, 5, 40, 120]))
    ring.heal()
    last = rng.choice([OLD, NEW, LATER])
    for name in ring.names:
        ring.network.run(rng.random() * 20)
        ring.rotate(last, name)
    ring.until_whole(30)
    assert ring.worst(SETTLE + 2 * IDLE + 60) == 0
    assert all(ring.keys_of(name) == (last,) for name in ring.names)
    assert not any(remembered(ring.swim(name)) for name in ring.names)
