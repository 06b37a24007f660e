"""`lab demo`: three nodes, and four services that get their IPs; one owner's power is cut."""

import time
from dataclasses import replace
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from netnslab.course import faults
from netnslab.course.faults import CourseResult, MeasuredFault
from netnslab.course.limits import MEMBERLIST
from netnslab.course.strike import Strike
from netnslab.machines.laboratory import Lab, LabOptions, NotConvergedError
from netnslab.results import report
from netnslab.results.verdict import Bystanders, Row

NODES, SERVICES = 3, 4
# A demonstration shows that every IP comes back; how fast is measured elsewhere, undisturbed.
LIMITS = MEMBERLIST["power-off"]
# Asking three instruments costs them time that belongs to measuring.
REDRAW = 0.2
SUMMARY = ("IP", "old owner", "new owner", "lost probes", "outage ms")


class Show:
    """Draws what the instruments see; on a terminal in place, elsewhere as lines of changes."""

    def __init__(self, console: Console) -> None:
        self.lab: Lab | None = None
        self.fault: MeasuredFault | None = None
        self.given: dict[str, tuple[str, str]] = {}
        """Address and pool by service."""
        self._console = console
        self._stage = "starting"
        self._drawn = 0.0
        self._known: dict[str, str] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Show":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def stage(self, text: str) -> None:
        """Say what happens now."""
        self._stage = text
        self._console.print(text, markup=False)

    def show_addresses(self, given: dict[str, tuple[str, str]]) -> None:
        """The controller has given these addresses."""
        self.given = given
        for service, (ip, pool) in sorted(given.items()):
            self._say(f"{service}: has {ip} from pool {pool}")

    def show_answers(self, lab: Lab) -> None:
        """Everybody who owns has been heard: say who answers for which service."""
        now = time.monotonic()
        heard = lab.observations(now - 1.0, now)
        for service, (ip, _) in sorted(self.given.items()):
            owner, macs = lab.wire_owner(heard[ip]), " and ".join(heard[ip]["macs"])
            self._say(f"{service}: {owner} owns {ip} and answers ARP: {ip} is at {macs}")

    def without_address(self, names: list[str]) -> None:
        """Begin with what a person has written: services, and no address in any of them."""
        for name in names:
            self._say(f"{name}: has no address")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def show_strike(self, fault: MeasuredFault) -> None:
        """From here on outages and announcements count."""
        self.fault = fault
        hit = ", ".join(fault.hit)
        self.stage(f"cutting the power of {fault.victim}, which owns {hit}: links down, killed")

    def tick(self) -> None:
        """Called in every turn of every wait."""
        if self.lab is None or time.monotonic() < self._drawn + REDRAW:
            return
        rows = self._rows(self.lab)
        if self._console.is_terminal:
            self._live.update(self._picture(self.lab, rows), refresh=True)
        else:
            self._lines(rows)
        self._drawn = time.monotonic()

    def _rows(self, lab: Lab) -> list[dict[str, str]]:
        now = time.monotonic()
        names = {ip: service for service, (ip, _) in self.given.items()}
        heard, outages = lab.observations(now - 0.3, now), lab.prober.ask("live")
        since = self.fault.start if self.fault else now - 3600
        frames = lab.capture.ask("since", start=since)
        return [
            {
                "IP": ip,
                "service": names.get(ip, ""),
                "owner": lab.wire_owner(heard[ip]) or "nobody",
                "outage ms": f"{outages[ip]:.0f}" if self.fault else "",
                "announced by": "; ".join(_announcements(lab, frames[ip])),
            }
            for ip in lab.ips
        ]

    def _picture(self, lab: Lab, rows: list[dict[str, str]]) -> RenderableType:
        nodes = Table(title="nodes")
        for heading in ("node", "address", "machine", "the others say"):
            nodes.add_column(heading)
        for name, node in lab.nodes.items():
            machine = Text("alive" if node.running else "no speaker")
            if self.fault and name == self.fault.victim and not node.running:
                machine = Text("powered off", style="red")
            nodes.add_row(name, node.host.ip, machine, _opinion(lab, name))
        services = Table(title="service IPs")
        for heading in ("IP", "service", "owner", "outage ms", "announced by"):
            services.add_column(heading)
        for row in rows:
            style = "red" if row["owner"] == "nobody" else None
            services.add_row(*row.values(), style=style)
        return Group(nodes, services, self._stage)

    def _lines(self, rows: list[dict[str, str]]) -> None:
        for row in rows:
            if self._known.get(row["IP"]) != row["owner"]:
                frames = f" ({row['announced by']})" if row["announced by"] else ""
                self._console.print(f"{row['IP']}: {row['owner']}{frames}", markup=False)
                self._known[row["IP"]] = row["owner"]


def _announcements(lab: Lab, frames: dict[str, Any]) -> list[str]:
    """Who announced the IP by which frames; answers to questions are not listed."""
    texts = []
    for mac, row in frames.items():
        kinds = [
            f"{count} {kind}" for kind, count in row["kinds"].items() if kind.startswith("grat")
        ]
        if kinds:
            texts.append(f"{lab.macs.get(mac, mac)}: {', '.join(kinds)}")
    return texts


def _opinion(lab: Lab, name: str) -> str:
    """The last that a living speaker logged about the member."""
    for other, node in lab.nodes.items():
        if other == name or not node.running:
            continue
        node.read_log()
        for event in reversed(node.events):
            if event.get("event") == "member" and event.get("node") == name:
                return str(event.get("state"))
    return ""


def _summary(rows: list[Row]) -> Table:
    table = Table(title="what the client saw")
    for heading in SUMMARY:
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.ip,
            row.owner_before or "nobody",
            row.owner_after or "nobody",
            str(row.lost),
            f"{row.outage_ms:.0f}",
        )
    return table


def _perform(lab: Lab, show: Show) -> CourseResult:
    show.without_address([f"service-{number}" for number in range(1, SERVICES + 1)])
    show.stage("starting a controller, which reads their manifests and keeps a state file")
    show.show_addresses(lab.assign())
    show.stage(f"starting {NODES} speakers with encrypted gossip for {SERVICES} service IPs")
    lab.start()
    show.show_answers(lab)
    # The one that owns most, so that there is something to see.
    owned = [lab.client_owners()[ip] for ip in lab.ips]
    victim = max(lab.names, key=owned.count)
    result = CourseResult([], Bystanders(), [])
    strike = Strike([lab.nodes[victim]], 1, 0.0)
    faults.run_once(lab, "power-off", strike, result, LIMITS, show.show_strike)
    return result


def play(chosen: LabOptions) -> bool:
    """Run the demo; whether every IP came back at one owner. Raises LabError."""
    console = Console(width=None if Console().is_terminal else 120)
    show = Show(console)
    options = replace(chosen, nodes=NODES, services=SERVICES, tick=show.tick)
    with show, Lab(options) as lab:
        show.lab = lab
        try:
            result = _perform(lab, show)
        except NotConvergedError as error:
            console.print(f"FAILED {error}", markup=False)
            return False
        show.lab = None
        show.stage("stopping the remaining speakers")
        failures = faults.judge(result, LIMITS)
        lab.stop()
    console.print(_summary(result.rows))
    console.print(report.bystanders_line(result.bystanders))
    for failure in failures:
        console.print(f"FAILED {failure}", markup=False)
    return not failures
