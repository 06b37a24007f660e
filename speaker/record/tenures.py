"""Since when each service has its owner, and how each IP came here. Pure.

What the election says is known of all services; what was announced, only of those of this node.
"""

from dataclasses import dataclass

from link.address import IPAddress
from ownership.io import Move


@dataclass(frozen=True, slots=True)
class Tenure:
    """The last change of a service's owner, as this node has seen it."""

    at: float
    move: Move


@dataclass(frozen=True, slots=True)
class Arrival:
    """The first announcement of an IP by this node; `seconds` after it was won, if that counts."""

    at: float
    seconds: float | None


class Tenures:
    """Forgets a service with its last owner, and an IP that is given up."""

    def __init__(self) -> None:
        self._tenures: dict[str, Tenure] = {}
        self._arrivals: dict[IPAddress, Arrival] = {}

    def note_move(self, move: Move, at: float) -> None:
        """The election has given a service to another node, or to nobody."""
        if move.after is None:
            self._tenures.pop(move.service, None)
        else:
            self._tenures[move.service] = Tenure(at, move)

    def note_arrival(self, ip: IPAddress, at: float, seconds: float | None) -> None:
        """The first frame of an IP has left."""
        self._arrivals[ip] = Arrival(at, seconds)

    def note_loss(self, ips: tuple[IPAddress, ...]) -> None:
        """These IPs are given up."""
        for ip in ips:
            self._arrivals.pop(ip, None)

    def of(self, service: str) -> Tenure | None:
        """Return since when a service has its owner."""
        return self._tenures.get(service)

    def arrival(self, ip: IPAddress) -> Arrival | None:
        """Return when this node first announced an IP that is its own."""
        return self._arrivals.get(ip)
