"""What a fault is told, what it tells, and what a scenario is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field

from netnslab.machines.laboratory import Lab
from netnslab.machines.node import LabNode


@dataclass(frozen=True)
class Strike:
    """One fault about to happen: to whom, the how-manieth, and how many seconds it lasts."""

    victims: list[LabNode]
    number: int
    duration: float


@dataclass(frozen=True)
class Injected:
    """What the fault itself measured.

    `thawed` is when a frozen speaker went on, `healed` when the fault was undone; `failures` are
    what no instrument sees.
    """

    exit_ms: float | None = None
    exit_code: int | None = None
    thawed: float | None = None
    healed: float | None = None
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def _nothing(_lab: Lab, _strike: Strike) -> None:
    """Most faults strike a whole cluster."""


def _nobody(_lab: Lab, _first: str) -> list[str]:
    """Most victims are whoever comes by chance."""
    return []


@dataclass(frozen=True)
class Scenario:
    """`inject` returns when the fault is complete.

    `survives`: the victims own again in the end; `calm`: nobody needs to take over, the cluster is
    watched for `watch` seconds more; `everyone`: all IPs are hit, whoever owns them. `prepare`
    brings about the state before the fault. `besides`: further victims, given the first; what they
    own moves as planned and is neither measured nor a bystander's. `settle`: seconds that the end
    may take, where that is longer than usual. The rest are the cluster's own settings; `cpu`,
    `memory`, `flags`, `objects`, `spares`, `held` and `recorded` are as in `laboratory.LabOptions`.

    scenarios.toml gives the last five (see `scenarios`), where a person does not choose others.
    """

    inject: Callable[[Lab, Strike], Injected]
    survives: bool = False
    calm: bool = False
    everyone: bool = False
    watch: float = 0.0
    prepare: Callable[[Lab, Strike], None] = _nothing
    besides: Callable[[Lab, str], list[str]] = _nobody
    settle: float = 0.0
    rate: int = 0
    cpu: float = 0.0
    memory: int = 0
    flags: tuple[str, ...] = ()
    objects: bool = False
    spares: int = 0
    held: bool = False
    recorded: bool = False
    nodes: int = 0
    services: int = 0
    victims: int | str = 1
    duration: float = 0.0
    uplink: bool = False
