"""Where a simulated speaker runs, and for which services. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from ownership.election.quorum import QuorumMode
from plan.service import ServicePlan

LINK = 1
FIRST_SERVICE = IPv4Address("192.0.2.1")


def make_plans(
    services: int, first: int = 0, voters: frozenset[str] | None = None
) -> dict[str, ServicePlan]:
    """Plan that many services with one IP each, which every member may own."""
    ips = [FIRST_SERVICE + first + number for number in range(services)]
    plans = [ServicePlan(f"default/s{ip}", (ip,), str(ip), None, voters=voters) for ip in ips]
    return {plan.service: plan for plan in plans}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a speaker runs, and how: its node's name, MAC and address on the segment with its
    gateway, the services, `failover_after` (None: memberlist's verdicts alone, no witness), whether
    it takes a majority of the nodes to announce, and how often in a hundred questions it has had
    `enough` of a bite."""

    node: str
    mac: bytes
    address: IPv4Interface
    gateway: IPv4Address
    plans: Mapping[str, ServicePlan]
    failover_after: float | None = None
    quorum: QuorumMode = QuorumMode.OFF
    bites: float = 0.0
