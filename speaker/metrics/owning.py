"""What /metrics shows of owned IPs: whose each is, since when, and how many are nobody's."""

from collections.abc import Collection, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from ownership.io import Announce
from plan.service import ServicePlan
from speaker.metrics.families import gauge

CAUSES = (
    *("start", "configuration", "plan_changed", "quorum"),
    *("member_joined", "member_left", "member_dead", "bars"),
)
"""Why a node takes an IP up, as `Won` says it."""
OTHER = "other"


def cause_of(reasons: Collection[str]) -> str:
    """Return the label for the reasons of one takeover, the first of which began it."""
    first = next(iter(reasons), OTHER)
    return first if first in CAUSES else OTHER


def owning(
    node: str, announces: Collection[Announce], since: Mapping[str, float]
) -> Iterator[Metric]:
    """Yield what this node owns: on all other nodes these series are absent."""
    info = GaugeMetricFamily(
        "clarion_owner_info",
        "1 on the node that owns the IP, by its own word.",
        labels=["ip", "service", "owner"],
    )
    began = GaugeMetricFamily(
        "clarion_owner_since_timestamp_seconds",
        "When this node took the IP up, in seconds since 1970.",
        labels=["ip", "service"],
    )
    for item in announces:
        for ip in map(str, item.ips):
            info.add_metric([ip, item.service, node], 1)
            if item.service in since:
                began.add_metric([ip, item.service], since[item.service])
    yield info
    yield began


def wanting(plans: Mapping[str, ServicePlan], unowned: Collection[str]) -> Iterator[Metric]:
    """Yield how many IPs ought to be answered for, and how many of them nobody may own."""
    wanted = {ip for plan in list(plans.values()) if plan.wanted for ip in plan.ips}
    found = (plans.get(service) for service in unowned)
    nobodys = {ip for plan in found if plan is not None for ip in plan.ips}
    yield gauge(
        "clarion_wanted_ips",
        "Service IPs that some node ought to answer for: with endpoints, and an advertisement.",
        len(wanted),
    )
    yield gauge(
        "clarion_unowned_ips",
        "Those of them that no living node may own, as far as this node knows.",
        len(nobodys),
    )
