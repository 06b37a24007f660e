"""What the webhooks know of the cluster when they judge an object. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from kube.address import IPAddress
from kube.objects.bgp import BGPAdvertisement, BGPPeer, Community
from kube.objects.core import Node
from kube.objects.metallb import IPAddressPool
from kube.selector import LabelSelector, any_matches


class BGPType(Enum):
    """Which implementation of BGP the speakers use: each refuses what only another one has."""

    NATIVE = "native"
    FRR = "frr"
    OTHER = "other"
    """One that we do not know: nothing is refused for its sake."""

    @classmethod
    def named(cls, text: str | None) -> "BGPType":
        """Read METALLB_BGP_TYPE as MetalLB's controller does; None where it is not set."""
        names = {None: cls.NATIVE, "native": cls.NATIVE, "frr": cls.FRR, "frr-k8s": cls.FRR}
        return names.get(text, cls.OTHER)


@dataclass(frozen=True, slots=True)
class AdmissionWorld:
    """All that the rules look at beside the object itself.

    The custom resources are those of `namespace` only, by name; the mappings may be live.
    """

    namespace: str = "metallb-system"
    bgp: BGPType = BGPType.NATIVE
    pools: Mapping[str, IPAddressPool] = field(default_factory=dict)
    advertisements: Mapping[str, BGPAdvertisement] = field(default_factory=dict)
    peers: Mapping[str, BGPPeer] = field(default_factory=dict)
    communities: Mapping[str, Community] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    addresses: Mapping[str, Sequence[IPAddress]] = field(default_factory=dict)
    """What each service has (status.loadBalancer.ingress), by `namespace/name`."""

    def nodes_of(self, selectors: Sequence[LabelSelector]) -> frozenset[str]:
        """Name the nodes that one of the selectors matches; all where there are none."""
        return frozenset(
            name for name, node in self.nodes.items() if any_matches(selectors, node.labels)
        )
