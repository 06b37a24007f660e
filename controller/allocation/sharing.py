"""Who may share an address with whom. Pure.

Two services may, where their keys are equal and not empty, where traffic for both may go to the
same nodes, and where no port is wanted twice. The last asks for the same text of the selector where
one of them is `Local`, as only nodes with its own pods take its traffic.
"""

from dataclasses import dataclass, field

from kube.address import IPAddress
from kube.objects.core import Port, Service

MOST_NAMED = 5
"""Services that a refusal names: thousands may share an address, each by a port of its own."""


@dataclass(frozen=True, slots=True)
class SharingKey:
    """What must be equal: the key that users give, and the backends of a `Local` service."""

    text: str = ""
    backends: str = ""

    def fits(self, other: "SharingKey") -> bool:
        """Tell whether two services with these keys may share an address."""
        return bool(self.text) and self == other


@dataclass(frozen=True, slots=True)
class Claim:
    """What a service brings to an address that it wants."""

    service: str
    key: SharingKey
    ports: frozenset[Port]


@dataclass(slots=True)
class Use:
    """An address in use, by one service or by several that share it."""

    key: SharingKey
    ports: dict[str, frozenset[Port]] = field(default_factory=dict)
    """By service."""

    def others(self, service: str) -> list[str]:
        """Name the services that use it beside this one."""
        return sorted(name for name in self.ports if name != service)

    def refusal(self, ip: IPAddress, claim: Claim) -> str | None:
        """Return why the claim cannot be met, in MetalLB's words; None where it can."""
        others = self.others(claim.service)
        if others and not self.key.fits(claim.key):
            more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
            names = ",".join(others[:MOST_NAMED]) + more
            return (
                f'can\'t change sharing key for "{claim.service}", address also in use by {names}'
            )
        for name in others:
            for port in sorted(claim.ports & self.ports[name], key=lambda port: port.port):
                return f'port {port.protocol}/{port.port} is already in use on "{ip}"'
        return None

    def admits(self, claim: Claim) -> bool:
        """Tell the same without words: a pool may have thousands of shared addresses."""
        if not self.key.fits(claim.key):
            return not any(name != claim.service for name in self.ports)
        return all(
            claim.ports.isdisjoint(ports)
            for name, ports in self.ports.items()
            if name != claim.service
        )


def claim(service: Service, key: str) -> Claim:
    """Return what a service claims with the sharing key that it asks for."""
    demand = service.demand
    local = service.external_traffic_policy == "Local"
    selector = ",".join(f"{name}={demand.selector[name]}" for name in sorted(demand.selector))
    backends = selector if local else ""
    return Claim(service.key, SharingKey(key, backends), frozenset(demand.ports))
