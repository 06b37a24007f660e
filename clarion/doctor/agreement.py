"""What is to be the same on all nodes: the time, the speakers' versions, their settings. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity, command, plain, some

SLOW = 2.0
"""Seconds of skew that a person who compares two logs stumbles over; what is measured is coarse to
a second."""
REFUSED = 3600.0
"""Seconds: who is farther ahead is not believed by gossip where it speaks of others' lives."""
_VERSIONS_WHY = (
    "Speakers of different versions may elect different owners, so nobody or two answer for an IP."
)
_SETTINGS_WHY = "What is to be the same on all nodes decides who owns an IP, and how fast it moves."
_SETTINGS_MEND = "kubectl -n metallb-system rollout restart daemonset speaker"


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far clocks are ahead of the API server's, in seconds; behind is negative."""

    own: float | None = None
    nodes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeakerFacts:
    """What one speaker says of itself."""

    node: str
    version: str = ""
    """Empty: it did not say."""
    settings: Mapping[str, str] = field(default_factory=dict)


def judge_clocks(own_node: str, clocks: ClockFacts) -> Iterator[DoctorFinding]:
    """Return which clocks are off."""
    skews = dict(clocks.nodes)
    if clocks.own is not None:
        # Better than what a heartbeat tells: it was measured just now.
        skews[own_node] = clocks.own
    for node, skew in sorted(skews.items()):
        if abs(skew) > SLOW:
            yield _skewed(node, skew)


def _skewed(node: str, skew: float) -> DoctorFinding:
    how = "ahead of" if skew > 0 else "behind"
    far = abs(skew) > REFUSED
    return DoctorFinding(
        DoctorCheck.CLOCK,
        Gravity.ERROR if far else Gravity.WARNING,
        plain(node, 253),
        f"its clock is {abs(skew):.0f} s {how} the API server's",
        "Gossip refuses what a node says of others that is an hour ahead, and its certificates and"
        " tokens may not be valid."
        if far
        else "Logs, events and takeovers of different nodes cannot be put in order.",
        "chronyc makestep   # on " + plain(node, 253),
    )


def judge_speakers(speakers: tuple[SpeakerFacts, ...]) -> Iterator[DoctorFinding]:
    """Return where speakers differ from most of the others."""
    versions = {each.node: each.version for each in speakers if each.version}
    yield from _outliers(DoctorCheck.VERSIONS, "version", versions)
    names = sorted({name for each in speakers for name in each.settings})
    for name in names:
        # One that does not know the setting is of another version, which was said above.
        values = {each.node: each.settings[name] for each in speakers if name in each.settings}
        yield from _outliers(DoctorCheck.SETTINGS, name, values)


def _outliers(check: DoctorCheck, name: str, values: Mapping[str, str]) -> Iterator[DoctorFinding]:
    """Return one finding for each value that is not what most have; of as many each, the first."""
    counts = Counter(values.values())
    usual = max(sorted(counts), key=counts.__getitem__, default="")
    for odd in sorted(counts.keys() - {usual}):
        nodes = sorted(node for node, value in values.items() if value == odd)
        yield DoctorFinding(
            check,
            Gravity.ERROR if check is DoctorCheck.SETTINGS else Gravity.WARNING,
            some(nodes),
            f"{plain(name, 64)} is {plain(repr(odd), 120)}, and {plain(repr(usual), 120)} on"
            f" {counts[usual]} of {len(values)} nodes",
            _SETTINGS_WHY if check is DoctorCheck.SETTINGS else _VERSIONS_WHY,
            _mend(check),
        )


def _mend(check: DoctorCheck) -> str:
    if check is DoctorCheck.SETTINGS:
        return _SETTINGS_MEND
    return command("kubectl", "-n", "metallb-system", "rollout", "status", "daemonset", "speaker")
