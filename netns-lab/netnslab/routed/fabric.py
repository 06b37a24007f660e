"""The routed network: a bridge with nodes and routers, and the client behind these.

    client --- router-1 --+
       |                  +-- bridge -- node-1, node-2, ...
       +------ router-2 --+

For sessions without addresses each node has a port of its own on the one router, and no bridge.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyroute2 import IPRoute

from netnslab.errors import LabError
from netnslab.machines.addresses import AT_ONCE
from netnslab.machines.namespaces import NetworkNamespace
from netnslab.routed import plan
from netnslab.routed.plan import CLIENT_LINK, NODES_LINK

BRIDGE = "br0"
AF_INET, AF_INET6 = 2, 10
RTPROT_BGP = 186
UP_WITHIN, LOOK = 5.0, 0.01
_BITS = {4: 32, 6: 128}
_AF = {4: AF_INET, 6: AF_INET6}


@dataclass(frozen=True)
class RoutedHost:
    """A machine: namespace, number, addresses by family, and the name of its port in the switch."""

    name: str
    number: int
    namespace: NetworkNamespace
    addresses: dict[int, str] = field(default_factory=dict)
    mac: str = ""

    @property
    def port(self) -> str:
        """The other end of its cable."""
        return f"to-{self.name}"

    @property
    def next_hops(self) -> set[str]:
        """All by which a route may name it."""
        return {*self.addresses.values(), plan.link_local(self.mac)}


def _with_netlink(function: Callable[[Any], Any]) -> Any:
    with IPRoute() as netlink:
        return function(netlink)


def _index(netlink: Any, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


class Fabric:
    """Links, addresses and static routes; no daemon."""

    def __init__(
        self, nodes: int, routers: int, families: Iterable[int], *, ports: bool = False
    ) -> None:
        """Build all. `ports`: each node on a port of the router. Raises OSError, NetlinkError."""
        if ports and routers != 1:
            raise LabError("nodes on ports of their own have one router")
        self.families = tuple(families)
        self._ports = ports
        self.switch = NetworkNamespace("switch")
        if not ports:
            self.switch.run(_with_netlink, _make_bridge)
        self.client = RoutedHost("client", 0, _namespace("client"))
        for family in self.families:
            home = partial(_address, name="lo", ip=plan.home_ip(family), whole=True)
            self.client.namespace.run(_with_netlink, home)
        self.routers = {
            f"router-{number}": self._router(number) for number in range(1, routers + 1)
        }
        self.nodes = {f"node-{number}": self._node(number) for number in range(1, nodes + 1)}
        self._route_client(list(self.routers.values()))

    def _router(self, number: int) -> RoutedHost:
        name = f"router-{number}"
        own = {family: plan.router_ip(number, family) for family in self.families}
        host = RoutedHost(name, number, _namespace(name, forwards=True), own, plan.mac(1, number))
        if not self._ports:
            self._plug_in(host)
        peer = {"ifname": f"eth{number}", "net_ns_fd": self.client.namespace.fd}
        host.namespace.run(_with_netlink, partial(_lay, name=CLIENT_LINK, peer=peer))
        for family in self.families:
            ends = plan.uplink_ip(number, family), plan.client_ip(number, family)
            host.namespace.run(_with_netlink, partial(_address, name=CLIENT_LINK, ip=ends[0]))
            self.client.namespace.run(
                _with_netlink, partial(_address, name=f"eth{number}", ip=ends[1])
            )
        self._route_home(host)
        return host

    def _route_home(self, router: RoutedHost) -> None:
        """The client is behind each router, and asks from one address whichever it takes."""
        for family in self.families:
            way = {"gateway": plan.client_ip(router.number, family), "family": _AF[family]}
            home = f"{plan.home_ip(family)}/{_BITS[family]}"
            router.namespace.run(_with_netlink, partial(_replace, dst=home, way=way))

    def _node(self, number: int) -> RoutedHost:
        name = f"node-{number}"
        own = {family: plan.node_ip(number, family) for family in self.families}
        host = RoutedHost(name, number, _namespace(name), own, plan.mac(2, number))
        if self._ports:
            self._plug_in(host, next(iter(self.routers.values())))
        else:
            self._plug_in(host)
        host.namespace.run(_with_netlink, partial(_set_default, routes=self._ways_out()))
        return host

    def _ways_out(self) -> list[dict[str, Any]]:
        """The last router, which never dies: two would share one address, as by VRRP."""
        last = list(self.routers.values())[-1]
        if self._ports:
            via = plan.link_local(last.mac)
            return [_by_link_local(family, via) for family in self.families]
        return [
            {"family": _AF[family], "gateway": last.addresses[family]} for family in self.families
        ]

    def _plug_in(self, host: RoutedHost, router: RoutedHost | None = None) -> None:
        """Lay the cable between the host and the bridge, or a port of the router."""
        peer = {"ifname": NODES_LINK, "net_ns_fd": host.namespace.fd, "address": host.mac}
        where = self.switch if router is None else router.namespace
        bridge = BRIDGE if router is None else ""
        own = "" if router is None else router.mac
        lay = partial(_lay, name=host.port, peer=peer, bridge=bridge, mac=own)
        where.run(_with_netlink, lay)
        for ip in () if router else host.addresses.values():
            host.namespace.run(_with_netlink, partial(_address, name=NODES_LINK, ip=ip))
        host.namespace.run(_with_netlink, partial(_raise, name=NODES_LINK))
        if router is not None:
            # A session needs no address; whoever answers the client does.
            for ip in host.addresses.values():
                host.namespace.run(_with_netlink, partial(_address, name="lo", ip=ip, whole=True))

    def serve(self, host: RoutedHost, ips: Iterable[str]) -> None:
        """Have a node hold the service IPs on its loopback link."""
        for ip in ips:
            host.namespace.run(_with_netlink, partial(_address, name="lo", ip=ip, whole=True))

    # Faults; each returns the moment just before it took effect.

    def unplug(self, hosts: Iterable[RoutedHost]) -> float:
        """Pull cables out of the switch: the hosts lose carrier."""
        return self._change(hosts, {"state": "down"})

    def take_out(self, hosts: Iterable[RoutedHost]) -> float:
        """Take the hosts' ports out of the bridge: silence, but the carrier stays."""
        if self._ports:
            raise LabError("a port of the router's own is in no bridge")
        return self._change(hosts, {"master": 0})

    def plug(self, hosts: Iterable[RoutedHost]) -> float:
        """Undo both."""
        change: dict[str, Any] = {"state": "up"}
        if not self._ports:
            change["master"] = self.switch.run(_with_netlink, partial(_index, name=BRIDGE))
        return self._change(hosts, change)

    def _change(self, hosts: Iterable[RoutedHost], change: dict[str, Any]) -> float:
        where = next(iter(self.routers.values())).namespace if self._ports else self.switch
        names = [host.port for host in hosts]

        def apply(netlink: Any) -> float:
            indexes = [_index(netlink, name) for name in names]
            at = time.monotonic()
            for index in indexes:
                netlink.link("set", index=index, **change)
            return at

        return float(where.run(_with_netlink, apply))

    def cut_uplink(self, host: RoutedHost) -> float:
        """Lower a router's link to the client, which is told at once and takes the others."""
        at = time.monotonic()
        set_down = partial(_raise, name=CLIENT_LINK, state="down")
        host.namespace.run(_with_netlink, set_down)
        self._route_client([other for other in self.routers.values() if other != host])
        return at

    def mend_uplink(self, host: RoutedHost) -> None:
        """Raise it; the client takes it again once both ends are up. Raises LabError."""
        host.namespace.run(_with_netlink, partial(_raise, name=CLIENT_LINK))
        self._route_home(host)
        # The kernel takes up to a second until it sends by a link that has its carrier back: even
        # an answer to ARP would be lost.
        host.namespace.run(_with_netlink, partial(_wait_for, name=CLIENT_LINK))
        self.client.namespace.run(_with_netlink, partial(_wait_for, name=f"eth{host.number}"))
        self._route_client(list(self.routers.values()))

    def _route_client(self, routers: Iterable[RoutedHost]) -> None:
        numbers = [host.number for host in routers]
        for family in self.families:
            self.client.namespace.run(
                _with_netlink, partial(_spread, family=family, numbers=numbers)
            )

    def flush(self, host: RoutedHost) -> None:
        """Take away what BGP left in a router's kernel: FRR that was killed does not."""

        def apply(netlink: Any) -> None:
            for family in (_AF[each] for each in self.families):
                left = [each for each in netlink.get_routes(family=family) if _of_bgp(each)]
                for each in left:
                    dst = f"{each.get_attr('RTA_DST')}/{each['dst_len']}"
                    netlink.route("del", dst=dst, family=family, proto=RTPROT_BGP)

        host.namespace.run(_with_netlink, apply)


def _namespace(name: str, *, forwards: bool = False) -> NetworkNamespace:
    made = NetworkNamespace(name)
    settings: dict[str, int] = {
        "ipv4/fib_multipath_hash_policy": 1,
        "ipv6/fib_multipath_hash_policy": 1,
        "ipv4/conf/all/rp_filter": 0,
        "ipv4/conf/default/rp_filter": 0,
        "ipv4/conf/all/ignore_routes_with_linkdown": 1,
        "ipv4/conf/default/ignore_routes_with_linkdown": 1,
        "ipv6/conf/all/ignore_routes_with_linkdown": 1,
        "ipv6/conf/default/ignore_routes_with_linkdown": 1,
        "ipv6/conf/all/accept_dad": 0,
        "ipv6/conf/default/accept_dad": 0,
        "ipv6/conf/all/keep_addr_on_down": 1,
        "ipv6/conf/default/keep_addr_on_down": 1,
        # BFD's echo comes back by the node's own kernel, so both sides forward.
        "ipv4/ip_forward": 1,
        "ipv6/conf/all/forwarding": 1,
    }
    if not forwards:
        del settings["ipv6/conf/all/forwarding"]
    for key, value in settings.items():
        made.sysctl(key, value)
    made.run(_with_netlink, partial(_raise, name="lo"))
    return made


def _of_bgp(route: Any) -> bool:
    return bool(route["proto"] == RTPROT_BGP)


def _make_bridge(netlink: Any) -> None:
    netlink.link("add", ifname=BRIDGE, kind="bridge", br_mcast_snooping=0, br_forward_delay=0)
    netlink.link("set", index=_index(netlink, BRIDGE), state="up")


def _lay(netlink: Any, name: str, peer: dict[str, Any], bridge: str = "", mac: str = "") -> None:
    netlink.link("add", ifname=name, kind="veth", peer=peer)
    given: dict[str, Any] = {"master": _index(netlink, bridge)} if bridge else {}
    if mac:
        given["address"] = mac
    netlink.link("set", index=_index(netlink, name), state="up", **given)


def _raise(netlink: Any, name: str, state: str = "up") -> None:
    netlink.link("set", index=_index(netlink, name), state=state)


def _wait_for(netlink: Any, name: str) -> None:
    index, deadline = _index(netlink, name), time.monotonic() + UP_WITHIN
    while netlink.get_links(index)[0].get_attr("IFLA_OPERSTATE") != "UP":
        if time.monotonic() > deadline:
            raise LabError(f"{name} is not up")
        time.sleep(LOOK)


def _address(netlink: Any, name: str, ip: str, *, whole: bool = False) -> None:
    index, family = _index(netlink, name), 6 if ":" in ip else 4
    length = _BITS[family] if whole else {4: plan.PREFIX, 6: plan.PREFIX6}[family]
    flags = AT_ONCE if family == 6 else 0
    netlink.addr("add", index=index, address=ip, prefixlen=length, flags=flags)
    netlink.link("set", index=index, state="up")


def _set_default(netlink: Any, routes: list[dict[str, Any]]) -> None:
    index = _index(netlink, NODES_LINK)
    for route in routes:
        netlink.route("replace", dst="default", oif=index, **route)


def _replace(netlink: Any, dst: str, way: dict[str, Any]) -> None:
    netlink.route("replace", dst=dst, **way)


def _by_link_local(family: int, via: str) -> dict[str, Any]:
    """An IPv4 route by way of an IPv6 address says so in an attribute of its own (RFC 8950)."""
    if family == 6:
        return {"family": AF_INET6, "gateway": via}
    return {"family": AF_INET, "via": {"family": AF_INET6, "addr": via}}


def _spread(netlink: Any, family: int, numbers: list[int]) -> None:
    hops = [
        {"gateway": plan.uplink_ip(number, family), "oif": _index(netlink, f"eth{number}")}
        for number in numbers
    ]
    way = {"multipath": hops} if len(hops) > 1 else hops[0]
    netlink.route("replace", dst="default", family=_AF[family], **way)
