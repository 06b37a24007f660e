"""Nodes that announce by BGP, wrong in one way each. Each must fail a scenario.

netns-lab/lab run bgp-stop --contestant wrong_nodes:Abrupt
"""

from collections.abc import Iterable

from netnslab.routed.nodes import PlainNode


class Abrupt(PlainNode):
    """Ends without leading the traffic away first."""

    def stop(self) -> None:
        self.kill()


class Forgetful(PlainNode):
    """Withdraws its first IP whenever its configuration changes."""

    def announce(self, ips: Iterable[str]) -> None:
        wanted = set(ips)
        if self._typed:
            wanted.discard(self.around.ips[0])
        super().announce(wanted)
