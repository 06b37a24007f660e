"""MetalLB's rules on a Community among the others. Pure."""

from collections.abc import Iterator

from controller.admission.world import AdmissionWorld, BGPType
from kube.objects.bgp import Community
from kube.rules.communities import alias_findings, is_large
from kube.rules.go_text import quote


def refusals(community: Community, world: AdmissionWorld) -> Iterator[str]:
    """Return MetalLB's objections to an object's aliases among those of all others."""
    if world.bgp is BGPType.NATIVE:
        for alias in community.aliases:
            if is_large(alias.value):
                pair = f"{{{quote(alias.name)} {quote(alias.value)}}}"
                yield (
                    "native BGP mode only supports legacy communities, BGP community CR "
                    f"{quote(community.name)} has non legacy community {pair}"
                )
    others = (entry for name, entry in world.communities.items() if name != community.name)
    seen = {alias.name for entry in others for alias in entry.aliases}
    for _, text in alias_findings(community, seen):
        yield text
