"""What a controller tells of itself, as a page for people. Pure: it is told the time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from controller.allocation.allocator import VERSIONS
from controller.metrics import Figures
from process.page.elements import (
    BAD,
    WELL,
    Cell,
    document,
    gauge,
    marked,
    paragraph,
    section,
    table,
)


def page(pod: str, figures: Figures, unready: str | None, at: float) -> bytes:
    """Return the page of this replica; `at` is Unix time."""
    return document(
        f"Clarion controller {pod}",
        [
            *_summary(figures, unready, at),
            section("pools", "Pools", _pools(figures)),
            section("decisions", "Decisions", _decisions(figures)),
            section("lease", "Lease", _lease(figures)),
            section("certificates", "Certificates", _certificates(figures, at)),
        ],
    )


def _summary(figures: Figures, unready: str | None, at: float) -> Iterator[Element]:
    role = "leads" if figures.leads() else "waits: another replica leads, or none"
    yield paragraph(f"{_time(at)} UTC. This replica {role}.")
    if unready is not None:
        yield paragraph(f"Not ready: {unready}", BAD)
    if figures.stale():
        yield paragraph("The configuration of now is invalid: an older one is in force.", BAD)


def _pools(figures: Figures) -> list[Element]:
    if not figures.leads():
        return [paragraph("The leader counts them.")]
    cells = []
    for name, found in sorted(figures.pools().items()):
        used = sum(found.assigned[version] for version in VERSIONS)
        size = sum(found.total[version] for version in VERSIONS)
        cells.append((name, f"{used} of {size}", gauge(used, size)))
    return table(("Pool", "Addresses in use", "Full"), cells)


def _decisions(figures: Figures) -> list[Element]:
    waiting = figures.waiting()
    rows: list[tuple[str, Cell]] = [
        ("Services of type LoadBalancer that are ours", str(figures.services())),
        ("of them without all that they want", _unless_none(waiting)),
        ("still to be decided about", str(figures.queued())),
        ("decided, and not seen to be written", str(figures.unwritten())),
        ("Decisions so far", str(figures.decided.decisions)),
        ("that left a service without an address", str(figures.decided.failures)),
        ("Statuses that had an address of another service", str(figures.decided.conflicts)),
    ]
    return table(("What", "How many"), rows)


def _unless_none(count: int) -> Cell:
    return marked(str(count), BAD) if count else "0"


def _lease(figures: Figures) -> list[Element]:
    lease = figures.lease()
    if not lease.states:
        return [paragraph("There is none: no other replica allocates.")]
    now = ", ".join(state for state, holds in lease.states.items() if holds)
    return [
        paragraph(
            f"{now}; renewed {lease.age:.1f} s ago; it has changed hands {lease.transitions} times."
        )
    ]


def _certificates(figures: Figures, at: float) -> list[Element]:
    cells = []
    for use, end in sorted(figures.certificates().items()):
        days = (end - at) / 86_400
        cells.append((use, _time(end), marked(f"{days:.1f} days", WELL if days > 1 else BAD)))
    return table(("Use", "Ends (UTC)", "In"), cells)


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
