"""What the doctor says: findings, and what it could not look at. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

VERSION = 1
LONGEST = 400
"""Characters of a text that others had a hand in."""
SHOWN = 3
"""How many of many are named."""


class DoctorCheck(StrEnum):
    """All there is to look at, by the names under which docs/doctor.md explains it."""

    BOUND_IP = "bound-ip"
    ARP_ANNOUNCE = "arp-announce"
    RP_FILTER = "rp-filter"
    OPTMEM = "optmem-max"
    SEGMENTS = "segments"
    KUBE_PROXY = "kube-proxy"
    ECHO = "echo"
    GOSSIP_UDP = "gossip-udp"
    GOSSIP_TCP = "gossip-tcp"
    GOSSIP_MTU = "gossip-mtu"
    CLOCK = "clock"
    VERSIONS = "versions"
    SETTINGS = "settings"
    NODES = "nodes"
    TAINTS = "taints"
    ADVERTISEMENTS = "advertisements"
    INTERFACES = "interfaces"


class Gravity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Service IPs are, or will be, out of reach or answered for by the wrong node."""
    WARNING = "warning"
    """It works now, and will not under load, in a failure, or for some clients."""


class _Said(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class DoctorFinding(_Said, frozen=True):
    """One thing that is wrong."""

    check: DoctorCheck
    severity: Gravity
    where: str
    """The node, link or object."""
    seen: str
    why: str
    """Why it matters, in one sentence."""
    mend: str
    """The command that mends it."""


class UnseenCheck(_Said, frozen=True):
    """A check that could not be made, and why."""

    check: DoctorCheck
    reason: str


class Diagnosis(_Said, frozen=True, tag_field="kind", tag="Diagnosis", kw_only=True):
    """The answer of `clarion doctor`."""

    version: int = VERSION
    source: str
    well: bool
    """Whether the exit status is 0."""
    checks: tuple[DoctorCheck, ...]
    """Those that were made."""
    findings: tuple[DoctorFinding, ...]
    unseen: tuple[UnseenCheck, ...]


def diagnosis(
    source: str,
    checks: Iterable[DoctorCheck],
    findings: Iterable[DoctorFinding],
    unseen: Iterable[UnseenCheck],
) -> Diagnosis:
    """Return the answer: the worst first, then in the order of the checks."""
    order = tuple(DoctorCheck)
    ranked = sorted(
        findings,
        key=lambda found: (found.severity != Gravity.ERROR, order.index(found.check), found.where),
    )
    made = set(checks)
    return Diagnosis(
        source=plain(source),
        well=not ranked,
        checks=tuple(check for check in order if check in made),
        findings=tuple(ranked),
        unseen=tuple(sorted(unseen, key=lambda each: order.index(each.check))),
    )


def plain(text: str, most: int = LONGEST) -> str:
    """Return a text as one line that moves no terminal's cursor, cut where it is long."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def some(names: Sequence[object], shown: int = SHOWN) -> str:
    """Return the first of some names, and how many more there are."""
    first = ", ".join(plain(str(name), 64) for name in names[:shown])
    more = len(names) - shown
    return f"{first} and {more} more" if more > 0 else first


def command(*words: str) -> str:
    """Return a command to paste into a shell: what others named is one word of it, and no more."""
    return shlex.join(plain(word) for word in words)
