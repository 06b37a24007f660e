"""Whether a takeover has arrived: clients that are asked from the IP answer to its new MAC. Pure.

An ARP request (a solicitation) from the service IP to a client moves the client's entry whatever
its state, and the client answers at once: so an answer proves that this client has moved.
"""

from dataclasses import dataclass

from link.address import IPAddress
from ownership.io import Client

RETRY = 0.2
TRIES = 5
MOST = 4_096
"""Clients waited for at the same time; further ones are asked, but nobody waits for them."""

_Key = tuple[IPAddress, int, IPAddress]


@dataclass(slots=True)
class _Waiting:
    client: Client
    began: float
    at: float
    tries: int = 1


class Confirmations:
    """Clients that were asked and have not answered yet."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, _Waiting] = {}
        self._due = float("inf")
        self.given_up = 0
        """How many clients never answered."""

    def note_question(self, ip: IPAddress, ifindex: int, client: Client, now: float) -> None:
        """A question from `ip` to a client has left by the link."""
        key = ip, ifindex, client.ip
        item = self._waiting.get(key)
        if item is not None:
            item.tries, item.at = item.tries + 1, now + RETRY
        elif len(self._waiting) < MOST:
            self._waiting[key] = _Waiting(client, now, now + RETRY)
        self._due = min(self._due, now + RETRY)

    def confirm(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> float | None:
        """A client has answered; return the seconds since it was first asked."""
        item = self._waiting.pop((ip, ifindex, client), None)
        return None if item is None else now - item.began

    def due(self, now: float) -> list[tuple[IPAddress, int, Client]]:
        """Return whom to ask again; those asked often enough are given up."""
        if now < self._due:
            return []
        again = []
        for key, item in list(self._waiting.items()):
            if now < item.at:
                continue
            if item.tries >= TRIES:
                del self._waiting[key]
                self.given_up += 1
            else:
                item.at = now + RETRY
                again.append((key[0], key[1], item.client))
        self._due = min((item.at for item in self._waiting.values()), default=float("inf"))
        return again

    def deadline(self) -> float:
        """When `due` has something; infinite where nobody is waited for."""
        return self._due
