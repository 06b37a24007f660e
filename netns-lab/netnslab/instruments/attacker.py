"""The host on the segment that has no key: all attacks at once, in one process."""

import json
import resource
import select
import sys
import time
from typing import Any

from netnslab.instruments import attacks
from netnslab.instruments.instrument import Console
from netnslab.machines.addresses import GOSSIP_PORT


class Attacker:
    """Holds the attacks and lets them run."""

    def __init__(self, targets: list[str]) -> None:
        self._targets = targets
        self._attacks: dict[str, attacks.Attack] = {}

    def begin(self, question: dict[str, Any]) -> bool:
        """Everything but forged frames; what is played again has been recorded, as hex."""
        datagrams, streams = (
            [bytes.fromhex(text) for text in question[name]] for name in ("datagrams", "streams")
        )
        targets = self._targets
        self._attacks = {
            "idle connections": attacks.idle(targets),
            "junk streams": attacks.junk(targets),
            "long headers": attacks.headers(targets),
            "slow requests": attacks.slow(targets),
            "resets of gossip": attacks.resets(targets, GOSSIP_PORT),
            "resets of HTTP": attacks.resets(targets, attacks.HTTP_PORT),
            "replayed datagrams": attacks.Datagrams(targets, datagrams),
            "replayed streams": attacks.streams(targets, streams),
        }
        return True

    def forge(self, question: dict[str, Any]) -> bool:
        """Besides, announcements in the name of a dead node."""
        self._attacks["forged frames"] = attacks.Forgery(question["mac"], question["ips"])
        return True

    def counts(self, _question: dict[str, Any]) -> dict[str, int]:
        """How often each attack has struck."""
        return {name: attack.done for name, attack in self._attacks.items()}

    def tick(self) -> float:
        """One turn of each; returns the seconds until the next."""
        began = time.monotonic()
        for attack in self._attacks.values():
            attack.tick(began)
        return max(0.0, began + attacks.TICK - time.monotonic())


def main() -> None:
    """Attack until the lab goes. Unlike an instrument it goes before nobody."""
    attacker = Attacker(json.loads(sys.argv[1])["targets"])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    console = Console({"begin": attacker.begin, "forge": attacker.forge, "counts": attacker.counts})
    console.report_ready()
    while True:
        ready, _, _ = select.select([0], [], [], attacker.tick())
        if ready:
            console.handle()


if __name__ == "__main__":
    main()
