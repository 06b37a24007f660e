"""What came of a run, for people and for machines. Pure."""

from dataclasses import dataclass, field
from math import ceil
from typing import Any


def percentile(values: list[float], share: float) -> float | None:
    """Return the smallest value that `share` of them do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. Times in seconds; `detections` has one per crash and survivor."""

    nodes: int
    seed: int
    scenario: str
    elapsed: float
    faults: list[str]
    violations: list[str]
    detections: list[float]
    first_detections: list[float]
    last_detections: list[float]
    false_deaths: int
    false_suspicions: int
    packets_per_second: float
    bytes_per_second: float
    stream_bytes_per_second: float
    silent: dict[str, float] = field(default_factory=dict)
    dual: dict[str, int] = field(default_factory=dict)
    services: int = 0
    changes: int = 0
    digest: str = ""

    @property
    def ok(self) -> bool:
        """No invariant was broken."""
        return not self.violations

    def command(self) -> str:
        """What repeats this run."""
        return (
            f"python -m sim --nodes {self.nodes} --seed {self.seed} "
            f"--scenario {self.scenario} --services {self.services}"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        names = self.__slots__
        return {name: getattr(self, name) for name in names} | {"ok": self.ok}

    def lines(self) -> list[str]:
        """Everything that a person wants to see; the digest comes last."""
        lines = [f"fault: {fault}" for fault in self.faults]
        lines.append(f"ran {self.elapsed:.0f} s with {self.changes} member events")
        if self.detections:
            spread = [percentile(self.detections, share) for share in (0.0, 0.5, 0.99, 1.0)]
            text = " / ".join(f"{value:.2f}" for value in spread if value is not None)
            lines.append(f"detection, s: {text} (min / p50 / p99 / max)")
        lines.append(f"false deaths {self.false_deaths}, false suspicions {self.false_suspicions}")
        lines.append(
            f"per node and second: {self.packets_per_second:.2f} packets, "
            f"{self.bytes_per_second:.0f} bytes UDP, {self.stream_bytes_per_second:.0f} bytes TCP"
        )
        if self.silent:
            longest = max(self.silent.values())
            lines.append(f"service IPs: silent {longest:.0f} s, dual {sum(self.dual.values())}")
        lines += [f"BROKEN {violation}" for violation in self.violations]
        if self.violations:
            lines.append(f"repeat: {self.command()}")
        return [*lines, self.digest]
