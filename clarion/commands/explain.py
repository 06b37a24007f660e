"""`clarion explain IP|SERVICE`: every node and the rule that let it in or kept it out."""

import click
from rich.console import Console
from rich.text import Text

from clarion.allocating import Allocation
from clarion.answers import (
    AllocationRow,
    BgpRow,
    Explained,
    Explanation,
    NodeRow,
    PeerOffer,
    RouteRow,
    SilenceRow,
    named_links,
    plain,
)
from clarion.live import views
from clarion.live.command import running
from clarion.looking import RUNNING, WHERE, Inquiry, looking, remark
from clarion.render import LINE, bad, good, show_table, some, title
from clarion.sources.picture import Picture
from clarion.standing import Ranking, Standing, Standings, services_of
from kube.bgp_config import BgpConfig
from kube.objects.core import Node, Service
from plan.explain import (
    BgpExplanation,
    BgpVerdict,
    BgpWishes,
    Layer2Explanation,
    Links,
    NodeVerdict,
)
from plan.offers import Offer
from plan.service import Withheld


def answer(picture: Picture, asked: str, links: Links | None = None) -> Explanation:
    """Return all there is to say of an IP or of a service.

    `links`: what is known of the nodes' interfaces, by a speaker that runs.
    """
    found = services_of(picture, asked)
    explaining = _Explaining(picture, links)
    services = tuple(explaining.service(service) for service in found)
    well = bool(services) and all(_is_well(each) for each in services)
    remarks = tuple(map(remark, picture.problems))
    return Explanation(
        source=picture.source, well=well, asked=plain(asked), services=services, remarks=remarks
    )


def _is_well(found: Explained) -> bool:
    by_bgp = any(row.announces for row in found.bgp)
    if "layer2" in found.protocols:
        return found.owner is not None and (by_bgp or "bgp" not in found.protocols)
    return by_bgp


class _Explaining:
    def __init__(self, picture: Picture, known: Links | None) -> None:
        self._picture = picture
        self._standings = Standings(picture)
        self._ranking = Ranking()
        self._layer2 = Layer2Explanation(picture.snapshot, picture.options, known)
        custom = picture.custom
        wishes = BgpWishes(
            custom.pools, custom.bgp.advertisements, custom.bgp.peers, self._config_of
        )
        self._bgp = BgpExplanation(picture.snapshot, wishes, picture.options)

    def _config_of(self, node: Node) -> BgpConfig | None:
        return self._picture.bgp.config(node)

    def service(self, service: Service) -> Explained:
        standing = self._standings.of(service)
        if standing is None:
            return _not_announced(service)
        order = self._ranking.first(standing, len(self._picture.snapshot.nodes))
        plan = standing.plan
        pending = plan.withheld in (Withheld.NO_IP_ALLOCATED, Withheld.NO_CONFIG)
        verdicts = self._bgp.verdicts(service) if "bgp" in standing.protocols else ()
        return Explained(
            service=service.key,
            ips=tuple(map(str, plan.ips)) or tuple(map(plain, service.ingress)),
            pool=standing.pool,
            protocols=standing.protocols,
            owner=order[0] if order else None,
            why=_why(standing),
            order=tuple(order),
            hashed=plan.hash_ip,
            nodes=tuple(self._rows(standing, order)),
            bgp=tuple(map(_bgp_row, verdicts)),
            allocation=Allocation(self._picture).of(service) if pending else None,
        )

    def _rows(self, standing: Standing, order: list[str]) -> list[NodeRow]:
        ranks = {node: rank for rank, node in enumerate(order, 1)}
        scores = standing.plan.scores
        found = [
            _node_row(verdict, ranks.get(verdict.node), scores.get(verdict.node, 0))
            for verdict in self._layer2.verdicts(standing.service)
        ]
        # Those that may own it first, in the order in which they would.
        return sorted(found, key=lambda row: (row.rank or len(found) + 1, row.node))


def _not_announced(service: Service) -> Explained:
    why = "its type is not LoadBalancer"
    return Explained(
        service=service.key, ips=(), pool="", protocols=(), owner=None, why=why, order=(),
        hashed="", nodes=(), bgp=(), allocation=None,
    )  # fmt: skip


def _why(standing: Standing) -> str | None:
    return "announced by BGP alone" if standing.protocols == ("bgp",) else standing.why


def _node_row(verdict: NodeVerdict, rank: int | None, score: int) -> NodeRow:
    return NodeRow(
        node=verdict.node,
        admitted=verdict.admitted,
        rule=verdict.rule.value,
        detail=plain(verdict.detail),
        rank=rank,
        score=score,
        advertisements=verdict.advertisements,
        interfaces=named_links(verdict.interfaces),
    )


def _bgp_row(found: BgpVerdict) -> BgpRow:
    routes = tuple(
        RouteRow(
            str(prefix),
            tuple(_offer(peer, offers[peer]) for peer in sorted(offers)),
        )
        for prefix, offers in sorted(found.routes.items(), key=lambda entry: str(entry[0]))
    )
    return BgpRow(
        node=found.verdict.node,
        announces=bool(routes),
        rule=found.verdict.rule.value,
        detail=plain(found.verdict.detail),
        routes=routes,
        silences=tuple(SilenceRow(each.object, plain(each.detail)) for each in found.silences),
    )


def _offer(peer: str, offer: Offer) -> PeerOffer:
    return PeerOffer(
        peer,
        tuple(f"{high}:{low}" for high, low in sorted(offer.communities)),
        tuple(f"large:{a}:{b}:{c}" for a, b, c in sorted(offer.large)),
        offer.local_pref,
    )


# ---- as tables


def draw(found: Explanation, shown: Console) -> None:
    """Write what there is to say, service by service."""
    if not found.services:
        shown.print(f"no service is named {found.asked} or has this IP", style="red", **LINE)
    for index, each in enumerate(found.services):
        if index:
            shown.print()
        _draw_service(each, shown)


def _draw_service(found: Explained, shown: Console) -> None:
    title(shown, f"Service {found.service}")
    shown.print(f"IPs    {', '.join(found.ips) or 'none'}", **LINE)
    shown.print(f"pool   {found.pool or 'none'}", **LINE)
    if found.owner is not None:
        shown.print(f"owner  {found.owner}", style="green", **LINE)
    elif found.why is not None:
        style = "" if found.protocols == ("bgp",) else "red"
        shown.print(f"owner  nobody: {found.why}", style=style, **LINE)
    if found.allocation is not None:
        _draw_allocation(found.allocation, shown)
    if found.nodes:
        shown.print()
        title(shown, f"Layer 2: the lowest SHA-256 of NODE#{found.hashed} owns")
        rows = [_cells(row) for row in found.nodes]
        show_table(shown, ("order", "node", "rule", "interfaces", "because"), rows)
    if found.bgp:
        shown.print()
        title(shown, "BGP: each node for itself")
        _draw_bgp(found.bgp, shown)


def _cells(row: NodeRow) -> tuple[str | Text, ...]:
    mark = good(row.rule) if row.admitted else bad(row.rule)
    score = f" ({row.score} points)" if row.score else ""
    where = some(row.interfaces) if row.admitted else "-"
    return str(row.rank or "-") + score, row.node, mark, where, row.detail


def _draw_allocation(found: AllocationRow, shown: Console) -> None:
    if found.ips:
        ips = ", ".join(found.ips)
        text = f"A controller would give it {ips} of pool {found.pool}: does one run?"
        shown.print(text, **LINE)
    for event in found.events:
        shown.print(f"A controller says: {event}", **LINE)
    if found.pools:
        rows = [(row.pool, row.detail) for row in found.pools]
        show_table(shown, ("pool", "what keeps the service out"), rows)


def _draw_bgp(rows: tuple[BgpRow, ...], shown: Console) -> None:
    cells: list[tuple[str | Text, ...]] = []
    for row in rows:
        mark = good(row.rule) if row.announces else bad(row.rule)
        cells.append((row.node, mark, "", "", row.detail))
        cells.extend(
            ("", "", route.prefix, offer.peer, _attributes(offer))
            for route in row.routes
            for offer in route.offers
        )
        cells.extend(("", "", "", "", f"not {_silence(each)}") for each in row.silences)
    show_table(shown, ("node", "rule", "prefix", "peer", "because, and with what"), cells)


def _silence(found: SilenceRow) -> str:
    to_or_by = "to" if found.object.startswith("BGPPeer") else "by"
    return f"{to_or_by} {found.object}: {found.detail}"


def _attributes(offer: PeerOffer) -> str:
    parts = [*offer.communities, *offer.large_communities]
    if offer.local_pref:
        parts.append(f"localPref {offer.local_pref}")
    return " ".join(parts) or "no communities"


@click.command()
@click.argument("wanted", metavar="IP|SERVICE")
@looking(*RUNNING, *WHERE)
def explain(inquiry: Inquiry, wanted: str) -> None:
    """Say why an IP or a service is announced where it is, or is not.

    SERVICE is a name, or NAMESPACE/NAME. In a speaker's pod the running speaker is asked, which
    knows what it sends and why; of a Service that waits for an address --cluster tells more.
    """
    if inquiry.node:
        with running(inquiry.node) as speaker:
            live = views.explanation(speaker.node, wanted, speaker.explain(wanted))
        inquiry.tell(live, views.draw_explanation)
    inquiry.tell(answer(inquiry.picture(), wanted), draw)
