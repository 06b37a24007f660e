"""`clarion owners`: every service IP, who should own it and who comes next."""

from collections import Counter

import click
from rich.console import Console

from clarion.answers import OwnedIP, Owners, named_links
from clarion.live import views
from clarion.live.command import running
from clarion.looking import RUNNING, WHERE, Inquiry, looking, remark
from clarion.render import LINE, bad, show_table, some
from clarion.sources.picture import Picture
from clarion.standing import Ranking, Standing, standings
from plan.explain import Layer2Explanation


def answer(picture: Picture) -> Owners:
    """Return who should own each IP of the picture."""
    ranking = Ranking()
    layer2 = Layer2Explanation(picture.snapshot, picture.options)
    found = standings(picture)
    rows = tuple(row for each in found for row in _rows(each, ranking, layer2))
    pending = tuple(each.service.key for each in found if not each.plan.ips)
    return Owners(
        source=picture.source,
        well=not pending and not any(map(_is_without, rows)),
        owners=rows,
        pending=pending,
        remarks=tuple(map(remark, picture.problems)),
    )


def _is_without(row: OwnedIP) -> bool:
    """Tell whether an owner is wanted and there is none."""
    return row.owner is None and row.protocols != ("bgp",)


def _rows(standing: Standing, ranking: Ranking, layer2: Layer2Explanation) -> list[OwnedIP]:
    first, second = (*ranking.first(standing, 2), None, None)[:2]
    interfaces = layer2.interfaces(standing.service, first) if first is not None else frozenset()
    by_bgp = standing.protocols == ("bgp",)
    return [
        OwnedIP(
            ip=str(ip),
            service=standing.service.key,
            pool=standing.pool,
            protocols=standing.protocols,
            owner=first,
            next=second,
            candidates=len(standing.plan.candidates or ()) if first is not None else 0,
            interfaces=named_links(interfaces),
            why="announced by BGP alone" if by_bgp else standing.why,
        )
        for ip in standing.plan.ips
    ]


def draw(found: Owners, shown: Console) -> None:
    """Write the show_table, and one line that counts."""
    rows = [
        (
            row.ip,
            row.service,
            row.owner or ("(bgp)" if row.protocols == ("bgp",) else bad("nobody")),
            row.next or "-",
            some(row.interfaces) if row.owner else "-",
            (row.why or "") if _is_without(row) else "",
        )
        for row in found.owners
    ]
    show_table(shown, ("ip", "service", "owner", "next", "interfaces", "why"), rows)
    owners = Counter(row.owner for row in found.owners if row.owner is not None)
    without = sum(map(_is_without, found.owners))
    text = f"{len(rows)} IPs, {len(owners)} owners, {without} without an owner"
    shown.print(text, style="red" if without else "", **LINE)
    for key in found.pending:
        text = f"{key} has no IP: `clarion explain {key}` says why"
        shown.print(text, style="red", **LINE)


@click.command()
@looking(*RUNNING, *WHERE)
def owners(inquiry: Inquiry) -> None:
    """Show who owns each service IP, and who comes next.

    In a speaker's pod as the running speaker knows it. Otherwise from objects alone: as if every
    Node had a speaker, and nothing had failed.
    """
    if inquiry.node:
        with running(inquiry.node) as speaker:
            live = views.owners(speaker.node, speaker.owners())
        inquiry.tell(live, views.draw_owners)
    inquiry.tell(answer(inquiry.picture()), draw)
