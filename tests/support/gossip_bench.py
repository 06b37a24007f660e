"""A tiny network in virtual time, and one node alone on a bench."""

import heapq
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from gossip.config import LAN, Config
from gossip.hooks import Hooks
from gossip.io import Address, Datagram, Dial, Event, StreamFailure, Transmit
from gossip.swim import Swim
from gossip.wire.body import encode
from gossip.wire.crypto import Keyring
from gossip.wire.messages import (
    CURRENT_VSN,
    Alive,
    Message,
    NodeState,
    PushPull,
    State,
)
from gossip.wire.packet import PacketCodec
from ownership.letters import mark

LATENCY = 0.001


class Network:
    """Carries what `Swim`s send, 1 ms late. `dead` refuse TCP, `frozen` take no step at all."""

    def __init__(self, config: Config = LAN, seed: int = 1) -> None:
        self.config = config
        self.seed = seed
        self.now = 100.0
        self.nodes: dict[str, Swim] = {}
        self.events: dict[str, list[Event]] = {}
        self.addresses: dict[Address, str] = {}
        self.dead: set[str] = set()
        self.frozen: set[str] = set()
        self.lost: Callable[[str, str, Transmit], bool] = lambda source, to, transmit: False
        self.carried: list[tuple[float, str, str, Transmit]] = []
        self._held: list[tuple[str, Callable[[], None]]] = []
        self._queue: list[tuple[float, int, str, Callable[[], None]]] = []
        self._ids = count()

    def add(
        self,
        name: str,
        ip: str = "",
        *,
        config: Config | None = None,
        keyring: Keyring | None = None,
        incarnation: int = 1,
        meta: bytes = b"",
        hooks: Hooks | None = None,
    ) -> Swim:
        ip = ip or f"10.0.0.{len(self.nodes) + 1}"
        rng = random.Random(f"{self.seed} {name} {incarnation}")
        swim = Swim(
            config or self.config,
            name=name,
            address=Address(ip, 7946),
            keyring=keyring,
            rng=rng,
            nonce=lambda: rng.randbytes(12),
            incarnation=incarnation,
            now=self.now,
            meta=meta,
            hooks=hooks or Hooks(of_our_kind=mark.is_marked),
        )
        self.nodes[name] = swim
        self.events.setdefault(name, [])
        self.addresses[Address(ip, 7946)] = name
        self.dead.discard(name)
        return swim

    def cluster(self, size: int) -> list[Swim]:
        """Start nodes n1, n2, … joined through n1, and let them settle."""
        swims = [self.add(f"n{index + 1}") for index in range(size)]
        for swim in swims[1:]:
            swim.set_seeds([Address("10.0.0.1", 7946)], self.now)
        self.run(3)
        return swims

    def address(self, name: str) -> Address:
        return next(at for at, owner in self.addresses.items() if owner == name)

    def states(self, observer: str) -> dict[str, State]:
        return {row.name: row.state for row in self.nodes[observer].members()}

    def freeze(self, name: str) -> None:
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        """Hand over what waited, then go on: the driver reads before it fires."""
        self.frozen.discard(name)
        held = [act for owner, act in self._held if owner == name]
        self._held = [entry for entry in self._held if entry[0] != name]
        for act in held:
            act()
        self._drain()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self._drain()
        while (due := self._next()) <= end:
            self.now = max(self.now, due)
            self._step()
            self._drain()
        self.now = end

    def _awake(self) -> list[tuple[str, Swim]]:
        asleep = self.dead | self.frozen
        return [(name, swim) for name, swim in self.nodes.items() if name not in asleep]

    def _next(self) -> float:
        timers = [swim.deadline() for _, swim in self._awake()]
        arrivals = [self._queue[0][0]] if self._queue else []
        return min(arrivals + [at for at in timers if at is not None], default=float("inf"))

    def _step(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            _, _, name, act = heapq.heappop(self._queue)
            if name in self.frozen:
                self._held.append((name, act))
            elif name not in self.dead:
                act()
        for _, swim in self._awake():
            deadline = swim.deadline()
            if deadline is not None and deadline <= self.now:
                swim.handle_timeout(self.now)

    def _drain(self) -> None:
        for name, swim in self._awake():
            self.events[name] += swim.events()
            for transmit in swim.transmits():
                self._carry(name, transmit)

    def _carry(self, source: str, transmit: Transmit) -> None:
        to = self.addresses.get(transmit.to, "")
        self.carried.append((self.now, source, to, transmit))
        if isinstance(transmit, Dial):
            self._dial(source, to, transmit)
        elif to and not self.lost(source, to, transmit):
            self._datagram(source, to, transmit)

    def _at(self, seconds: float, name: str, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._ids), name, act))

    def _datagram(self, source: str, to: str, datagram: Datagram) -> None:
        origin = self.address(source)
        self._at(
            LATENCY,
            to,
            lambda: self.nodes[to].handle_datagram(datagram.data, origin, self.now),
        )

    def _dial(self, source: str, to: str, dial: Dial) -> None:
        def reply(seconds: float, value: bytes | StreamFailure) -> None:
            self._at(
                seconds,
                source,
                lambda: self.nodes[source].handle_reply(dial.id, value, self.now),
            )

        def serve() -> None:
            origin = Address(self.address(source).ip, 40000)
            answer = self.nodes[to].handle_stream(dial.data, origin, self.now)
            reply(LATENCY, StreamFailure.CLOSED if answer is None else answer)

        if not to or to in self.dead:
            reply(LATENCY, StreamFailure.REFUSED)
        elif to in self.frozen or self.lost(source, to, dial):
            reply(dial.timeout, StreamFailure.TIMEOUT)
        else:
            self._at(LATENCY, to, serve)


class Bench:
    """One node, hand-fed. Its name is "me", at 10.0.0.1; peers are made by `alive`, and need not
    answer before they are members."""

    def __init__(
        self,
        config: Config = LAN,
        *,
        incarnation: int = 1,
        meta: bytes = b"",
        hooks: Hooks | None = None,
        ask_newcomers: bool = False,
    ) -> None:
        rng = random.Random(7)
        self.config = config = replace(config, ask_newcomers=ask_newcomers)
        self.now = 100.0
        self.swim = Swim(
            config,
            name="me",
            address=Address("10.0.0.1", 7946),
            keyring=None,
            rng=rng,
            nonce=lambda: rng.randbytes(12),
            incarnation=incarnation,
            now=self.now,
            meta=meta,
            hooks=hooks or Hooks(of_our_kind=mark.is_marked),
        )
        self._codec = PacketCodec(config.wire, None)
        self.swim.transmits()

    def hear(self, *messages: Message, source: str = "10.0.0.9") -> None:
        for message in messages:
            data = self._codec.seal([encode(message)], crc=False, nonce=lambda: bytes(12))
            self.swim.handle_datagram(data, Address(source, 7946), self.now)

    def hear_compound(self, *messages: Message) -> None:
        parts = [encode(message) for message in messages]
        self.hear_raw(self._codec.seal(parts, crc=True, nonce=lambda: bytes(12)))

    def hear_raw(self, data: bytes, source: str = "10.0.0.9") -> None:
        self.swim.handle_datagram(data, Address(source, 7946), self.now)

    def merge(self, *rows: NodeState, join: bool = False) -> bytes | None:
        request = PushPull(join, rows)
        data = self.swim.streams.seal(request, dialer=True, nonce=lambda: bytes(12))
        return self.swim.handle_stream(data, Address("10.0.0.9", 40000), self.now)

    def run(self, seconds: float) -> list[tuple[float, Transmit]]:
        """Let time pass with nobody answering; gives what was sent and when."""
        end, sent = self.now + seconds, [(self.now, transmit) for transmit in self.swim.transmits()]
        while (due := self.swim.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.swim.handle_timeout(self.now)
            sent += [(self.now, transmit) for transmit in self.swim.transmits()]
        self.now = end
        return sent

    def until_sent(self, kind: type[Message]) -> tuple[Message, Address]:
        """Let time pass until a message of this kind leaves; gives it and where it goes."""
        for _ in range(10_000):
            for transmit in self.swim.transmits():
                for message in self.read(transmit):
                    if isinstance(message, kind):
                        return message, transmit.to
            self.now = max(self.now, self.swim.deadline() or self.now)
            self.swim.handle_timeout(self.now)
        raise AssertionError(f"no {kind.__name__} was sent")

    def sent(self) -> list[tuple[Address, Message]]:
        """Drain, and give every message by itself."""
        return [(item.to, message) for item in self.swim.transmits() for message in self.read(item)]

    def read(self, transmit: Transmit) -> tuple[Message, ...]:
        if isinstance(transmit, Datagram):
            return self._codec.open(transmit.data).messages
        return (self.swim.streams.open(transmit.data, accepting=True),)

    def state(self, name: str) -> State | None:
        return next((row.state for row in self.swim.members() if row.name == name), None)

    def incarnation(self, name: str = "me") -> int:
        return next(row.incarnation for row in self.swim.members() if row.name == name)


def make_alive(
    name: str,
    incarnation: int = 1,
    *,
    addr: bytes | None = None,
    meta: bytes | None = None,
    vsn: bytes = CURRENT_VSN,
) -> Alive:
    number = int("".join(filter(str.isdigit, name)) or 200)
    return Alive(addr or bytes((10, 0, 0, number)), incarnation, meta, name, 7946, vsn)


def make_row(name: str, state: State, incarnation: int = 1, vsn: bytes = CURRENT_VSN) -> NodeState:
    message = make_alive(name, incarnation)
    return NodeState(message.addr, incarnation, None, name, 7946, state, vsn)
