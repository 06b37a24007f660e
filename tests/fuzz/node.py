"""A whole node under hostile input: stories that an attacker tells it, and what must hold after."""

import math
import random
from collections.abc import Iterable

from gossip.candidates import MAX_CANDIDATES
from gossip.config import LAN
from gossip.hooks import Hooks
from gossip.io import Address, Datagram, Dial, StreamFailure
from gossip.relay import MAX_RELAYS
from gossip.stats import Ignored
from gossip.swim import Swim
from gossip.table import MAX_MEMBERS
from gossip.wire.messages import CURRENT_VSN, NodeState, State
from ownership.letters import mark
from ownership.letters.courier import Courier, CourierRefusal
from ownership.letters.mark import Mark
from seeds import Step, read_steps

PEER = Address("10.0.0.2", 7946)
MOST_QUEUED = 4_096
MOST_SENT = 2_048
"""Things one input of these lengths may make a node send: each of 512 messages an answer."""
LIFE = 100


class Node:
    """One `Swim` in virtual time, with the promises that it keeps whatever it hears."""

    def __init__(self) -> None:
        rng = random.Random(7)
        self.now = 100.0
        self.swim = Swim(
            LAN,
            name="me",
            address=Address("10.0.0.1", 7946),
            keyring=None,
            rng=rng,
            nonce=lambda: rng.randbytes(12),
            incarnation=1,
            now=self.now,
            meta=mark.encode(Mark(1)),
            hooks=Hooks(of_our_kind=mark.is_marked),
        )
        self.swim.set_seeds([PEER], self.now)
        self._dials: list[int] = []
        self._incarnation = 1
        self._leaving = False
        self.check()

    def hear(self, story: Iterable[tuple[Step, bytes]]) -> None:
        """Take every step of a story, and check after each."""
        for step, data in story:
            self._take(step, data)
            self.check()

    def _take(self, step: Step, data: bytes) -> None:
        match step:
            case Step.DATAGRAM:
                self.swim.handle_datagram(data, PEER, self.now)
            case Step.STREAM:
                self.swim.handle_stream(data, Address("10.0.0.2", 40_000), self.now)
            case Step.REPLY:
                dial = self._dials.pop() if self._dials else len(data)
                self.swim.handle_reply(dial, data or StreamFailure.TIMEOUT, self.now)
            case Step.WAIT:
                self._wait(sum(data[:4]) / 10)
            case Step.LEAVE:
                self._leaving = True
                self.swim.leave(self.now)
            case Step.EXCHANGE:
                self.swim.exchange(self.now)

    def _wait(self, seconds: float) -> None:
        self.now += seconds
        self.swim.handle_timeout(self.now)
        self.swim.handle_timeout(self.now)
        deadline = self.swim.deadline()
        assert deadline is None or deadline > self.now, "the timer spins"

    def check(self) -> None:
        """Hold the node to what its driver, the election and other peers rely on."""
        deadline = self.swim.deadline()
        assert deadline is None or math.isfinite(deadline)
        self._check_table()
        self._check_sent()
        stats = self.swim.stats
        assert stats.queued <= MOST_QUEUED
        assert stats.ignored[Ignored.RELAYS_FULL] == 0 or self._relays() <= MAX_RELAYS
        assert len(self.swim._candidates) <= MAX_CANDIDATES
        self.swim.events()

    def _relays(self) -> int:
        return len(self.swim._relays._relays)

    def _check_table(self) -> None:
        members = self.swim.members()
        assert len(members) <= MAX_MEMBERS
        own = [member for member in members if member.own]
        assert [member.name for member in own] == ["me"]
        assert self._leaving or own[0].state is State.ALIVE
        assert own[0].incarnation >= self._incarnation, "our incarnation never falls"
        self._incarnation = own[0].incarnation
        living = {m.name for m in members if m.state in (State.ALIVE, State.SUSPECT)}
        assert self.swim.live() == living
        assert all(len(member.vsn) == 6 for member in members), "Go peers die of others"

    def _check_sent(self) -> None:
        sent = self.swim.transmits()
        assert len(sent) <= MOST_SENT
        for transmit in sent:
            assert transmit.data
            match transmit:
                case Datagram():
                    assert len(transmit.data) <= LAN.udp_buffer_size
                case Dial():
                    self._dials.append(transmit.id)
        del self._dials[:-16]


def story(data: bytes) -> None:
    """Tell a new node one story."""
    Node().hear(read_steps(data))


_life = Node()
_told = 0


def life(data: bytes) -> None:
    """Tell a node one story after the other, so that what accumulates is seen.

    A find here needs the inputs before it too, and so the same seed and the same runs.
    """
    global _life, _told
    _told += 1
    if _told % LIFE == 0:
        _life = Node()
    _life.hear(read_steps(data))


def letters(data: bytes) -> None:
    """Every letter is taken once, or refused for a reason that is counted."""
    node = Node()
    for number in (2, 3):
        meta, addr = mark.encode(Mark(number)), bytes((10, 0, 0, number))
        row = NodeState(addr, 1, meta, f"n{number}", 7946, State.ALIVE, CURRENT_VSN)
        node.swim.adopt([row], node.now)
    courier = Courier(node.swim, random.Random(1), start_id=1)
    for _, text in read_steps(data):
        before = courier.refused.total()
        taken = courier.take(text, spread=True)
        assert courier.refused.total() == before + isinstance(taken, CourierRefusal)
        assert isinstance(taken, CourierRefusal) or taken.sender in ("n2", "n3")
        assert isinstance(courier.take(text), CourierRefusal), "a letter counts once"
    node.check()
