"""A router for tests: the real FRR, and what its kernel does with what it is told."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from frr_engine import FrrEngine, engine
from netns import Host

DEVIATING = ("no bgp ebgp-requires-policy", "bgp router-id 10.255.0.1", "maximum-paths 8")


class Router:
    """Listens for BGP on a host; `say` and `configure` reach its daemons."""

    def __init__(self, frr: FrrEngine, host: Host) -> None:
        self.frr, self.host = frr, host

    def neighbor(self, ip: str) -> dict[str, Any]:
        """Return what the router knows of a session."""
        found = json.loads(self.frr.say("bgpd", "enable", "show bgp neighbors json"))
        return dict(found.get(ip, {}))

    def established(self, ip: str) -> bool:
        """Tell whether the session with that neighbour is up."""
        return bool(self.neighbor(ip).get("bgpState") == "Established")

    def route(self, prefix: str, family: str = "ipv4") -> dict[str, Any] | None:
        """Return the paths to a prefix as bgpd knows them, None without any."""
        command = f"show bgp {family} unicast {prefix} json"
        found = json.loads(self.frr.say("bgpd", "enable", command) or "{}")
        return found if found.get("paths") else None

    def next_hops(self, prefix: str) -> frozenset[str]:
        """Return the next hops that the router's kernel has for the prefix."""
        (_, (_, text)) = self.frr.answers("zebra", ("enable", f"show ip route {prefix} json"))
        # Without a route the status is 1.
        found = json.loads(text or "{}")
        return frozenset(
            hop["ip"]
            for route in found.get(prefix, ())
            if route.get("installed")
            for hop in route["nexthops"]
            if hop.get("fib")
        )


@contextmanager
def router(host: Host, my_as: int, peers: Sequence[Sequence[str]]) -> Iterator[Router]:
    """Run a router on the host; `peers` are lines below `router bgp`, each peer's after
    `neighbor`."""
    with engine(host.name, namespace=host.namespace, listen=179) as frr:
        lines = [f"router bgp {my_as}", *DEVIATING[:2], "timers bgp 1 3"]
        lines += [f"neighbor {' '.join(words)}" for words in peers]
        lines += ["address-family ipv4 unicast", DEVIATING[2], "exit-address-family", "exit"]
        frr.configure("bgpd", lines)
        yield Router(frr, host)
