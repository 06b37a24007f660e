"""What a running speaker tells, and when that is well."""

from io import StringIO

from rich.console import Console

from clarion.live.explained import LiveBgp, LiveIP, LiveLink, LiveNode, LiveRoute, LiveService, Told
from clarion.live.views import draw_explanation, draw_owners, explanation, owners
from process.told.rows import LiveOwner, LiveTakeover

TOOK = LiveTakeover("bars", "b", 1.0, 0.04)


def owner(name: str | None, state: str, why: str | None = None) -> LiveOwner:
    return LiveOwner("192.0.2.1", "ns/web", name, None, None, None, state, why, TOOK)


def service(name: str | None) -> LiveService:
    return LiveService(
        "ns/web", ips=["192.0.2.1"], hashed="192.0.2.1", withheld=None, interfaces=None,
        owner=name, since=None, reason=None, next="", contact=None,
    )  # fmt: skip


def ip(state: str) -> LiveIP:
    return LiveIP(
        "ns/web", ip="192.0.2.1", state=state, links=[LiveLink("eth0", "not_announced")],
        requests=3, responses=2, announcements=1, takeover=None,
    )  # fmt: skip


def route(offered: bool, sent: bool) -> LiveRoute:
    return LiveRoute(
        "ns/web", prefix="192.0.2.1/32", peer="tor", neighbor="192.0.2.254", vrf="default",
        session="established", offered=offered, sent=sent,
    )  # fmt: skip


BGP = LiveBgp("ns/web", withheld=None, draining=False, engine="ready", pending=False)


def test_what_is_contested_quiet_or_without_an_owner_is_not_well() -> None:
    for row in (owner("a", "contested"), owner("a", "quiet"), owner(None, "unowned")):
        assert not owners("a", [owner("a", "owned"), row]).well
    for row in (owner("b", "elsewhere"), owner(None, "routed")):
        assert owners("a", [row]).well


def test_an_explanation_is_well_where_there_is_an_owner_and_routes_were_sent() -> None:
    well: list[list[Told]] = [
        [service("a"), ip("owned")],
        [service("a"), ip("elsewhere"), BGP, route(offered=True, sent=True)],
        [BGP, route(offered=True, sent=True), route(offered=False, sent=False)],
    ]
    wrong: list[list[Told]] = [
        [],
        [service(None), ip("unowned")],
        [service("a"), ip("contested")],
        [service("a"), ip("owned"), BGP, route(offered=True, sent=False)],
        [BGP, route(offered=False, sent=False)],
    ]
    assert all(explanation("a", "web", rows).well for rows in well)
    assert not any(explanation("a", "web", rows).well for rows in wrong)


def drawn(draw: object, found: object) -> str:
    shown = Console(file=StringIO(), width=200)
    draw(found, shown)  # type: ignore[operator]
    return shown.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_tables_name_what_is_so_and_move_no_terminal() -> None:
    rows = [owner("a\x1b[2J", "contested"), owner(None, "unowned", "notOwner\x9b")]
    text = drawn(draw_owners, owners("me\n", rows))
    assert "from b (bars, 0.040 s)" in text
    assert "2 IPs, 1 owners, 2 not well; as me? sees it" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_an_explanation_names_the_node_and_the_link() -> None:
    node = LiveNode(
        "ns/web", node="b", rank=None, admitted=False, rule="barred", detail="left", member="alive",
        clarion=True, bars=["left"], points=0,
    )  # fmt: skip
    text = drawn(draw_explanation, explanation("a", "web", [service("a"), node, ip("owned"), BGP]))
    assert ["-", "b", "barred", "alive", "left"] in [line.split() for line in text.splitlines()]
    assert "no: not_announced" in text
    assert "BGP, this node: engine ready" in text
