"""What routers and nodes agree on, and the lines by which FRR learns it. Pure.

A router's lines here are the lab's own. A node's are those of `PlainNode`, which stands where a
speaker has none of its own: they say the same as the manifests would.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from netnslab.errors import LabError
from netnslab.routed.plan import NODE_AS, NODES_LINK, ROUTER_AS, prefix

CONNECT = 1
"""Seconds until a session that failed is dialled again."""
TAG = 7
PROFILE = "lab"
SECRET = "not-known-elsewhere"  # noqa: S105
FAMILIES = {"4": (4,), "6": (6,), "dual": (4, 6)}
MOST_PATHS = 8


@dataclass(frozen=True)
class Agreement:
    """How all sessions of a run are. Times in seconds, BFD's interval in milliseconds, 0: none."""

    families: tuple[int, ...] = (4,)
    hold: int = 90
    keepalive: int = 30
    bfd: int = 0
    multiplier: int = 3
    internal: bool = False
    password: str = ""
    unnumbered: bool = False
    graceful: int = 0
    """Restart time in seconds; 0: no graceful restart."""

    @property
    def node_as(self) -> int:
        """The AS number of every node."""
        return ROUTER_AS if self.internal else NODE_AS

    @property
    def lines_of_bfd(self) -> list[str]:
        """What bfdd is told."""
        if not self.bfd:
            return []
        interval = self.bfd
        values = (
            f"detect-multiplier {self.multiplier}",
            f"transmit-interval {interval}",
            f"receive-interval {interval}",
        )
        return ["bfd", f"profile {PROFILE}", *values, "exit", "exit"]


MED_STEP = "med-step"
DETECTIONS = {
    "bfd-50x3": {"bfd": 50},
    "bfd-300x3": {"bfd": 300},
    "hold-3": {"hold": 3, "keepalive": 1},
    "hold-9": {"hold": 9, "keepalive": 3},
    MED_STEP: {},
    "nothing": {},
}
"""How a router learns that a node is gone. `MED_STEP`: other nodes say so, by a lower MED."""
KINDS: dict[str, dict[str, object]] = {
    "ebgp": {},
    "ibgp": {"internal": True},
    "ebgp-md5": {"password": SECRET},
    "ibgp-md5": {"internal": True, "password": SECRET},
    "unnumbered": {"unnumbered": True},
}


def agreement(detection: str, kind: str, families: str, graceful: int = 0) -> Agreement:
    """Return what is agreed on. Raises KeyError for a name that is in none of the tables."""
    chosen = Agreement(families=FAMILIES[families], graceful=graceful)
    changes = {**DETECTIONS[detection], **KINDS[kind]}
    return replace(chosen, **changes)  # type: ignore[arg-type]


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _neighbour(
    given: Agreement, address: str, theirs: int, *, bfd: bool, timers: bool = True
) -> list[str]:
    """The lines of one neighbour, but for what each address family is told."""
    remote = "internal" if given.internal else str(theirs)
    made = f"{address} interface" if given.unnumbered else address
    lines = [f"neighbor {made} remote-as {remote}"]
    if timers:
        lines.append(f"neighbor {address} timers {given.keepalive} {given.hold}")
    lines.append(f"neighbor {address} timers connect {CONNECT}")
    if given.password:
        lines.append(f"neighbor {address} password {given.password}")
    if bfd:
        lines += lines_of_watch(given, address)
    return lines


def lines_of_watch(given: Agreement, address: str) -> list[str]:
    """Have BFD watch a neighbour, within `router bgp`."""
    if not given.bfd:
        return []
    return [f"neighbor {address} bfd", f"neighbor {address} bfd profile {PROFILE}"]


def _carried(given: Agreement, addresses: Iterable[str], family: int) -> list[str]:
    """The sessions that carry a family: of its own addresses, or all where they have none."""
    return [each for each in addresses if given.unnumbered or _family(each) == family]


def lines_of_router(given: Agreement, own_ip: str, nodes: Iterable[str]) -> list[str]:
    """Return what a router's bgpd is told. `nodes`: their addresses, or the links to them."""
    nodes = list(nodes)
    lines = [
        f"router bgp {ROUTER_AS}",
        f"bgp router-id {own_ip}",
        "bgp log-neighbor-changes",
        "no bgp ebgp-requires-policy",
        "no bgp default ipv4-unicast",
        *(("bgp graceful-restart preserve-fw-state",) if given.graceful else ()),
    ]
    for node in nodes:
        lines += _neighbour(given, node, given.node_as, bfd=True)
    for family in given.families:
        paths = [f"maximum-paths {MOST_PATHS}", f"maximum-paths ibgp {MOST_PATHS}"]
        active = [f"neighbor {node} activate" for node in _carried(given, nodes, family)]
        lines += [f"address-family ipv{family} unicast", *paths, *active, "exit-address-family"]
    return [*lines, "exit"]


def lines_of_node(given: Agreement, own_ip: str, routers: Iterable[str]) -> list[str]:
    """Return what a node's bgpd is told before it has a route. `routers`: addresses, or its link.

    BFD is not among it: it is typed once the session is up, or the session is made twice.
    """
    routers = list(routers)
    lines = [
        "bgp route-map delay-timer 1",
        f"route-map c{TAG} permit 10",
        f"set tag {TAG}",
        "exit",
        "route-map none deny 10",
        "exit",
        f"route-map out permit {TAG}",
        f"match tag {TAG}",
        "exit",
        f"router bgp {given.node_as}",
        f"bgp router-id {own_ip}",
        "bgp log-neighbor-changes",
        "no bgp ebgp-requires-policy",
        "no bgp default ipv4-unicast",
        "no bgp network import-check",
        *_graceful(given),
    ]
    for router in routers:
        lines += _neighbour(given, router, ROUTER_AS, bfd=False)
    for family in given.families:
        lines.append(f"address-family ipv{family} unicast")
        for router in _carried(given, routers, family):
            lines += [
                f"neighbor {router} activate",
                f"neighbor {router} route-map none in",
                f"neighbor {router} route-map out out",
            ]
        lines.append("exit-address-family")
    return [*lines, "exit"]


def _graceful(given: Agreement) -> list[str]:
    if not given.graceful:
        return []
    return [
        "bgp graceful-restart",
        f"bgp graceful-restart restart-time {given.graceful}",
        "bgp graceful-restart preserve-fw-state",
    ]


def lines_of_routes(given: Agreement, ips: Mapping[str, bool]) -> list[str]:
    """Return what makes a node announce each IP of which that is said, and withdraw the others."""
    lines = [f"router bgp {given.node_as}"]
    for family in given.families:
        lines.append(f"address-family ipv{family} unicast")
        for ip, wanted in ips.items():
            if _family(ip) == family:
                lines.append(f"{'' if wanted else 'no '}network {prefix(ip)} route-map c{TAG}")
        lines.append("exit-address-family")
    return [*lines, "exit"]


def specs_of_peers(given: Agreement, routers: Iterable[str]) -> list[dict[str, Any]]:
    """Return the same as `lines_of_node` for a speaker: the spec of a BGPPeer for each session.

    `routers`: addresses, or a node's link.
    """
    common: dict[str, Any] = {
        "myASN": given.node_as,
        "peerASN": ROUTER_AS,
        "holdTime": f"{given.hold}s",
        "keepaliveTime": f"{given.keepalive}s",
        "connectTime": f"{CONNECT}s",
    }
    if given.password:
        common["password"] = given.password
    if given.graceful:
        common["enableGracefulRestart"] = True
    if given.bfd:
        common["bfdProfile"] = {
            "receiveInterval": given.bfd,
            "transmitInterval": given.bfd,
            "detectMultiplier": given.multiplier,
        }
    where = "interface" if given.unnumbered else "peerAddress"
    return [{**common, where: router} for router in routers]


def text_of_bird(given: Agreement, own_ip: str, nodes: Mapping[str, str]) -> str:
    """Return the configuration of a BIRD 2 router. `nodes`: name to address, one for each session.

    Raises LabError where BIRD 2.0 has no such session.
    """
    if given.unnumbered:
        raise LabError("BIRD 2.0 has no sessions without an address")
    kernels = "".join(
        f"protocol kernel kernel{family} {{ merge paths on limit {MOST_PATHS}; "
        f"ipv{family} {{ import none; export all; }}; }}\n"
        for family in given.families
    )
    bfd = (
        f'protocol bfd {{ interface "{NODES_LINK}" {{ min rx interval {given.bfd} ms; '
        f"min tx interval {given.bfd} ms; multiplier {given.multiplier}; }}; }}\n"
        if given.bfd
        else ""
    )
    sessions = "".join(_bird_session(given, own_ip, *node) for node in nodes.items())
    # No route counts more than another because of who it came from, or there were no two next hops.
    return f"router id {own_ip};\nprotocol device {{ }}\n{kernels}{bfd}{sessions}"


def _bird_session(given: Agreement, own_ip: str, name: str, address: str) -> str:
    protocol = name.replace("-", "_")
    settings = [
        f"local as {ROUTER_AS};",
        f"neighbor {address} as {given.node_as};",
        f"hold time {given.hold}; keepalive time {given.keepalive};",
        f"connect retry time {CONNECT}; error wait time {CONNECT}, {4 * CONNECT};",
        f'password "{given.password}";' if given.password else "",
        "bfd on;" if given.bfd else "",
        f"ipv{_family(address)} {{ import all; export none; }};",
    ]
    return f"protocol bgp {protocol} {{ {' '.join(filter(None, settings))} }}\n"
