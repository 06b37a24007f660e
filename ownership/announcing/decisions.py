"""What this node has won and not announced yet: since when, and for whom. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from link.address import IPAddress


@dataclass(slots=True)
class _Decided:
    at: float
    reasons: dict[str, str] = field(default_factory=dict)
    put_off: bool = False


@dataclass(frozen=True, slots=True)
class Announced:
    """The first announcement of an IP: the services that it is for, each with the reason, and the
    seconds since its decision; None where it was put off meanwhile."""

    reasons: Mapping[str, str]
    seconds: float | None


class Decisions:
    """Decisions that wait for their first frame."""

    def __init__(self) -> None:
        self._waiting: dict[IPAddress, _Decided] = {}

    def decide(self, ip: IPAddress, service: str, reason: str, now: float) -> None:
        """Own an IP from now on; it may have been decided for another service before."""
        item = self._waiting.setdefault(ip, _Decided(now))
        item.reasons[service] = reason

    def forget(self, ips: Iterable[IPAddress]) -> None:
        """Own them no more."""
        for ip in ips if self._waiting else ():
            self._waiting.pop(ip, None)

    def put_off(self, ips: Iterable[IPAddress]) -> None:
        """Announce nothing for now: the time to a later announcement tells of something else."""
        for ip in ips:
            if ip in self._waiting:
                self._waiting[ip].put_off = True

    def reasons(self, ip: IPAddress) -> Mapping[str, str]:
        """Return the services for which an IP waits, each with the reason."""
        item = self._waiting.get(ip)
        return {} if item is None else item.reasons

    def note_frame(self, ip: IPAddress, now: float) -> Announced | None:
        """A frame of the IP has left: return what it told, if nothing was told since."""
        # Frames are many, and mostly no decision waits.
        item = self._waiting.pop(ip, None) if self._waiting else None
        if item is None:
            return None
        return Announced(item.reasons, None if item.put_off else now - item.at)
