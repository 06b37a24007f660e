"""How long it takes from the decision that an IP is ours to its first announcement. Pure."""

from collections.abc import Iterable

from kube.address import IPAddress


class Decisions:
    """Decisions that wait for their first frame. What is given up or put off is never measured."""

    def __init__(self) -> None:
        self._at: dict[IPAddress, float] = {}

    def decided(self, ip: IPAddress, now: float) -> None:
        """Own an IP from now on; it may have been decided for another service before."""
        self._at.setdefault(ip, now)

    def forget(self, ips: Iterable[IPAddress]) -> None:
        """Own them no more, or announce nothing for now: what comes later is another matter."""
        for ip in ips if self._at else ():
            self._at.pop(ip, None)

    def announced(self, ip: IPAddress, now: float) -> float | None:
        """Return the seconds since its decision, if this is the first frame after it."""
        # Frames are many, and mostly no decision waits.
        at = self._at.pop(ip, None) if self._at else None
        return None if at is None else now - at
