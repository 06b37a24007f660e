"""What a host sends of gossip, weighed by the kernel: datagrams, and push/pull exchanges by role.

Who is asked for a push/pull is chance, and an exchange is a tenth of what a quiet minute costs. So
exchanges are counted, and compared one by one: those of two kinds of peer weigh the same or not,
however many each happened to have. Of an exchange only what the peer wrote is weighed: whether an
acknowledgement goes alone, four packets or six, is the kernel's choice.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netns import Host

PORT = 7946
HEADERS = 52
"""Bytes of IPv4 and TCP with timestamps (RFC 7323, 3.2) before what was written."""
# An exchange is counted by its SYN at the one who asks, by its SYN and ACK at the one who answers.
# Those two carry 8 bytes more of options and nothing written.
_RULES = f"""
table inet weighed {{
  counter datagrams {{ }}
  counter asked {{ }}
  counter asking {{ }}
  counter answered {{ }}
  counter answering {{ }}
  chain output {{
    type filter hook output priority 0;
    meta l4proto udp counter name datagrams
    tcp dport {PORT} ip length > {HEADERS + 8} counter name asking
    tcp sport {PORT} ip length > {HEADERS + 8} counter name answering
    tcp dport {PORT} tcp flags & (syn | ack) == syn counter name asked
    tcp sport {PORT} tcp flags & (syn | ack) == (syn | ack) counter name answered
  }}
}}
"""


class Weight(NamedTuple):
    """IP packets and bytes."""

    packets: int
    size: int

    @property
    def written(self) -> int:
        """Return the bytes behind the headers of TCP."""
        return self.size - HEADERS * self.packets

    def __sub__(self, before: "Weight") -> "Weight":
        """Return what came since."""
        return Weight(self.packets - before.packets, self.size - before.size)


@dataclass(frozen=True)
class Sent:
    """By one host or several: `asking` and `answering` are exchanges of whoever has that role."""

    datagrams: Weight
    asking: Weight
    answering: Weight
    asked: int
    answered: int

    def __sub__(self, before: "Sent") -> "Sent":
        """Return what was sent since."""
        return Sent(
            self.datagrams - before.datagrams,
            self.asking - before.asking,
            self.answering - before.answering,
            self.asked - before.asked,
            self.answered - before.answered,
        )


def total(parts: Sequence[Sent]) -> Sent:
    """Return the sum over hosts."""
    return Sent(
        _sum([part.datagrams for part in parts]),
        _sum([part.asking for part in parts]),
        _sum([part.answering for part in parts]),
        sum(part.asked for part in parts),
        sum(part.answered for part in parts),
    )


def _sum(weights: Sequence[Weight]) -> Weight:
    return Weight(sum(w.packets for w in weights), sum(w.size for w in weights))


def weigh(host: Host) -> None:
    """Begin to count what this host sends. Raises CalledProcessError."""
    _nft(host, "-f", "-", script=_RULES)


def sent(host: Host) -> Sent:
    """Return what it has sent since `weigh`. Raises CalledProcessError."""
    listed = json.loads(_nft(host, "-j", "list", "counters", "table", "inet", "weighed"))
    found = {
        counter["name"]: Weight(counter["packets"], counter["bytes"])
        for counter in (entry.get("counter") for entry in listed["nftables"])
        if counter
    }
    return Sent(
        found["datagrams"],
        found["asking"],
        found["answering"],
        found["asked"].packets,
        found["answered"].packets,
    )


def _nft(host: Host, *arguments: str, script: str = "") -> str:
    def run() -> str:
        return subprocess.run(
            ["nft", *arguments], input=script, capture_output=True, text=True, check=True
        ).stdout

    return host.namespace.run(run)
