"""Every kind of peer, some at a time, in one life of a speaker: each changed at run time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from bgp_stage import COMES_UP, ITS_AS, MY_AS, BgpStage, bgp_stage, give, route, service, set_up
from frr_container import missing_container
from routers import Router
from speakers import Speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
V4, V6 = "10.77.9.1/32", "2001:db8:9::1/128"
BEHIND, SECOND = "10.99.0.1", "10.77.0.50"
"""The router's address that is no neighbour's, and the node's second one."""
FOUR_BYTES = 4200000000


@dataclass(frozen=True)
class Case:
    """A peer. In all words `{node}`, `{node6}`, `{tor}`, `{tor6}` are the machines' addresses."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    neighbor: str = "{node}"
    """What the node is called at the router."""
    lines: tuple[str, ...] = ()
    """Of the router's, for this neighbour."""
    its_as: int = ITS_AS
    seen_as: int = MY_AS
    families: tuple[str, ...] = ("ipv4",)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of every route, beside the AS path."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the router knows of the session."""


ROUNDS = (
    {
        "IPv6": Case({"peerAddress": "{tor6}"}, "{node6}", families=("ipv6",)),
        "dual stack by IPv4": Case({"dualStackAddressFamily": True}, families=("ipv4", "ipv6")),
        "iBGP": Case({"peerASN": MY_AS}, its_as=MY_AS, attributes={"locPrf": 321}),
        "dynamic AS, external": Case({"peerASN": None, "dynamicASN": "external"}),
        "local AS": Case({"localASN": 64999}, seen_as=64999),
    },
    {
        "dual stack by IPv6": Case(
            {"peerAddress": "{tor6}", "dualStackAddressFamily": True},
            "{node6}",
            families=("ipv4", "ipv6"),
        ),
        "multihop": Case(
            {"peerAddress": BEHIND, "ebgpMultiHop": True},
            lines=("ebgp-multihop", f"update-source {BEHIND}"),
        ),
        "source address": Case({"sourceAddress": SECOND}, SECOND),
        "dynamic AS, internal": Case({"peerASN": None, "dynamicASN": "internal"}, its_as=MY_AS),
        "without a number": Case(
            {"peerAddress": None, "interface": "eth0"}, "eth0", families=("ipv4", "ipv6")
        ),
    },
    {
        "another AS, of four bytes, and another router ID": Case(
            {"myASN": FOUR_BYTES, "routerID": "10.200.0.1"},
            seen_as=FOUR_BYTES,
            about={"remoteRouterId": "10.200.0.1"},
        ),
        **{f"none {number}": None for number in range(4)},
    },
)
ROUTERS = [f"tor-{number}" for number in range(5)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BgpStage]:
    with bgp_stage(tmp_path_factory.mktemp("peers"), *ROUTERS, family=6) as found:
        behind = found.routers[ROUTERS[1]].host
        give(behind, f"{BEHIND}/32", "lo")
        give(found.node, f"{SECOND}/16")
        route(found.node, f"{BEHIND}/32", behind.ip)
        found.pool("10.77.9.0/24", "2001:db8:9::/64", localPref=321, communities=["64500:7"])
        found.write("web", *service("web", V4.split("/")[0], V6.split("/")[0]))
        yield found


@pytest.fixture(scope="module")
def running(stage: BgpStage) -> Iterator[Speaker]:
    with stage.speaking() as found:
        yield found


def configure(stage: BgpStage, name: str, case: Case) -> str:
    """Set router and peer up; return what the node is called at the router."""
    router, node = stage.routers[name], stage.node
    tor = router.host
    words = {"node": node.ip, "node6": node.ip6, "tor": tor.ip, "tor6": tor.ip6}
    peer = case.neighbor.format_map(words)
    link = "interface " if peer == "eth0" else ""
    lines = [f"{peer} {link}remote-as {case.seen_as}", f"{peer} timers connect 1"]
    lines += [f"{peer} {each}" for each in case.lines]
    more = ["no bgp default ipv4-unicast"]
    for family in case.families:
        more += [f"address-family {family} unicast", f"neighbor {peer} activate"]
        more += ["exit-address-family"]
    set_up(router, case.its_as, lines, more)
    filled = {
        key: value.format_map(words) if isinstance(value, str) else value
        for key, value in case.spec.items()
    }
    stage.peer(name, **filled)
    return peer


def arrived(router: Router, case: Case, family: str) -> bool:
    """Tell whether the router has a good way to the service's address of this family."""
    found = router.route(V6 if family == "ipv6" else V4, family) or {"paths": []}
    about = {"valid": True, "community": "64500:7", **case.attributes}
    if case.seen_as != case.its_as:
        about["aspath"] = str(case.seen_as)
    return any(
        about.items() <= _flat(path).items() and path.get("bestpath") for path in found["paths"]
    )


def _flat(path: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: path.get(name, {}).get("string", "") for name in ("aspath", "community")}
    return {key: value for key, value in path.items() if isinstance(value, int | str)} | texts


@pytest.mark.parametrize("cases", ROUNDS, ids=["first", "second", "third"])
def test_peers(stage: BgpStage, running: Speaker, cases: dict[str, Case | None]) -> None:
    called: dict[str, str] = {}
    for name, (what, case) in zip(ROUTERS, cases.items(), strict=True):
        if case is None:
            stage.remove(f"peer-{name}")
        else:
            called[what] = configure(stage, name, case)
    for name, (what, case) in zip(ROUTERS, cases.items(), strict=True):
        if case is not None:
            heard(stage.routers[name], what, case)
            about = stage.routers[name].neighbor(called[what])
            assert case.about.items() <= about.items()
    assert running.metric("clarion_bgp_refused_lines_total") == 0


def heard(router: Router, what: str, case: Case) -> None:
    """Wait until the router has good ways to the service's addresses."""

    def all_there() -> bool:
        return all(arrived(router, case, family) for family in case.families)

    try:
        wait_until(all_there, what, COMES_UP)
    except AssertionError as error:
        routes = [router.route(V4), router.route(V6, "ipv6")]
        raise AssertionError(f"{what}: {routes}") from error
