"""A wire on which hosts answer a watch's echo requests, and letters, or do not; in virtual time."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from ownership.liveness.kernels import Kernels
from ownership.liveness.targets import TargetKey, Timing

TIMING = Timing.of(0.35)
ETH0 = 2
B, C, D = (TargetKey(name, ETH0) for name in "bcd")
GATEWAY = TargetKey("192.0.2.254", ETH0)
IPS = {
    B: IPv4Address("192.0.2.2"),
    C: IPv4Address("192.0.2.3"),
    D: IPv4Address("192.0.2.4"),
    GATEWAY: IPv4Address("192.0.2.254"),
}


@dataclass
class Wire:
    """A watch of b and c (d is known, not watched), and when its requests were sent to whom.

    `answers(key, now)` tells whether that host answers what is asked at `now`; `writes` the same of
    letters.
    """

    answers: Callable[[TargetKey, float], bool] = lambda key, now: True
    gateways: tuple[TargetKey, ...] = ()
    nodes: tuple[TargetKey, ...] = (B, C, D)
    writes: Callable[[TargetKey, float], bool] = lambda key, now: False
    sent: list[tuple[float, TargetKey]] = field(default_factory=list)
    missed: list[tuple[float, TargetKey]] = field(default_factory=list)
    """When somebody was missed first."""
    asked: list[tuple[float, TargetKey]] = field(default_factory=list)
    """Who was asked by letter, and when."""
    filtered: list[tuple[float, TargetKey]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Kernels(TIMING, random.Random(7), 0.0)
        self.watch.set_targets(
            {key: IPS[key] for key in self.nodes}, {key: IPS[key] for key in self.gateways}, 0.0
        )
        self.watch.watch(frozenset({"b", "c"}))

    def step(self, now: float) -> None:
        self.watch.handle_timeout(now)
        for request in self.watch.requests():
            key = next(key for key, ip in IPS.items() if ip == request.ip)
            self.sent.append((now, key))
            if self.answers(key, now):
                self.watch.handle_echo(ETH0, request.ip, request.token, now)
        known = {key for _, key in self.missed}
        self.missed += [(now, key) for key in sorted(self.watch.missing()) if key not in known]
        for name in self.watch.doubts():
            key = TargetKey(name, ETH0)
            self.asked.append((now, key))
            if self.writes(key, now):
                self.watch.handle_answer(name, IPS[key], now)
        self.filtered += [(now, key) for key in self.watch.filtered_kernels()]

    def run(self, until: float) -> None:
        while self.watch.deadline() < until:
            self.step(self.watch.deadline())

    def times(self, key: TargetKey, since: float, until: float) -> list[float]:
        return [at for at, to in self.sent if to == key and since <= at < until]


def silent_from(at: float, *keys: TargetKey, until: float = 1e9) -> Callable[..., bool]:
    return lambda key, now: key not in keys or not at <= now < until
