"""Which release of MetalLB is followed, and what else the speaker was told at its start. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Release(StrEnum):
    """MetalLB's releases that decide differently; speakers of one ring must decide alike."""

    V0_14_5 = "v0.14.5"
    """And its patches up to v0.14.8: without gossip nobody announces anything. No service selectors
    either. Those before judge endpoints by rules that we do not know."""
    V0_14_9 = "v0.14.9"
    """The last patch: cordoned nodes own nothing besides (only there; it was taken back)."""
    V0_15 = "v0.15"
    """No service selectors."""
    V0_16 = "v0.16"
    HEAD = "head"
    """Preferred nodes; no shared IPs beside service selectors."""

    @property
    def selects_services(self) -> bool:
        """Whether advertisements have service selectors."""
        return self in (Release.V0_16, Release.HEAD)

    @property
    def needs_gossip(self) -> bool:
        """Whether nobody owns anything where there is no gossip."""
        return self in (Release.V0_14_5, Release.V0_14_9)


RELEASES: Mapping[str, Release] = {
    **{f"v0.14.{patch}": Release.V0_14_5 for patch in range(5, 9)},
    "v0.14": Release.V0_14_9,
    **{release.value: release for release in Release if release is not Release.V0_14_5},
}
"""By the names that an operator may give; a minor release means its last patch."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the speaker was told at its start."""

    own_node: str
    lb_class: str | None = None
    """Only services of this class; None or empty: only services without a class."""
    ignore_exclude_lb: bool = False
    release: Release = Release.V0_16
    gossips: bool = True
    addresses_from_annotations: bool = False
    """Where no controller writes a status (`--source`): take the addresses a service asks for."""
    of_folder: bool = False
    """Whether people write all objects themselves, and may forget one."""
    quorum: bool = False
    """Whether it takes a majority of the Nodes to announce."""
    drain_on_cordon: bool = False
    """Whether a cordoned node announces nothing, as one with the exclude label."""
