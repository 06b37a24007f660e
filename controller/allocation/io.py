"""All that leaves the allocation core. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from kube.address import IPAddress


class EventReason(StrEnum):
    """Why an event is published; all but the last are MetalLB's."""

    ALLOCATED = "IPAllocated"
    CLEARED = "ClearAssignment"
    NOT_ADDED = "AdditionalAssignFailed"
    FAILED = "AllocationFailed"
    BAD_REQUEST = "LoadBalancerFailed"
    TOO_FEW_CLUSTER_IPS = "not enough clusterips"
    NO_CLUSTER_IPS = "noclusterIPsIPFamily"
    DEPRECATED = "deprecatedAnnotation"
    PENDING = "AllocationPending"
    """Ours: which pools were looked at, and what kept the service out of each."""


_NORMAL = frozenset({EventReason.ALLOCATED, EventReason.CLEARED, EventReason.NOT_ADDED})


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """An event about a service."""

    service: str
    reason: EventReason
    message: str

    @property
    def type(self) -> str:
        """Normal or Warning."""
        return "Normal" if self.reason in _NORMAL else "Warning"


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """What the status of a service and its annotation are to become; none: no address.

    `version` is the resourceVersion that this was decided on. `events` are for after the write.
    """

    service: str
    ips: tuple[IPAddress, ...]
    pool: str
    version: str
    events: tuple[ServiceEvent, ...] = ()
