"""Nodes in two subnets with a router between them, each subnet on a switch, in network namespaces.

    node-1, node-2 --- br1 --- router --- br2 --- node-3

No port of the router loses its carrier when a node dies, as behind any switch.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute

from netns import Host, NetworkNamespace
from netnslab.machines import rules

ROUTER = 254
PREFIX = 24
NO_ECHO_BETWEEN = (
    "table inet lab {\n chain own { type filter hook forward priority -200; "
    "icmp type { echo-request, echo-reply } drop; }\n}\n"
)
"""The router answers for itself still."""


def ip_of(subnet: int, number: int) -> str:
    return f"10.71.{subnet}.{number}"


def _with_netlink(function: Callable[[Any], Any]) -> Any:
    with IPRoute() as netlink:
        return function(netlink)


def _index(netlink: Any, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


@dataclass
class TwoSubnets:
    """The switch and the hosts; the router is known by its address in each subnet."""

    switch: NetworkNamespace
    router: NetworkNamespace
    nodes: dict[str, Host]
    subnets: dict[str, int]

    def gateway(self, name: str) -> str:
        return ip_of(self.subnets[name], ROUTER)

    def router_host(self) -> Host:
        """The router, as a host that is known by its address in the first subnet."""
        return Host("router", ip_of(1, ROUTER), "", "", self.router)

    def take_out(self, *ports: str) -> None:
        """Take ports out of their bridges: silence, but the carrier stays."""
        self.switch.run(_with_netlink, lambda netlink: _set(netlink, ports, master=0))

    def unplug(self, *names: str) -> None:
        """Pull the cables of nodes: they lose their carrier."""
        ports = [self.nodes[name].port for name in names]
        self.switch.run(_with_netlink, lambda netlink: _set(netlink, ports, state="down"))

    def silence_router(self) -> None:
        self.take_out("router1", "router2")

    def hear_router(self) -> None:
        def put_back(netlink: Any) -> None:
            for subnet in (1, 2):
                _set(netlink, [f"router{subnet}"], master=_index(netlink, f"br{subnet}"))

        self.switch.run(_with_netlink, put_back)

    def filter_echo(self) -> None:
        rules.load(self.router, NO_ECHO_BETWEEN)


def _set(netlink: Any, ports: Iterable[str], **change: Any) -> None:
    for index in [_index(netlink, port) for port in ports]:
        netlink.link("set", index=index, **change)


def _plug(
    switch: NetworkNamespace, host: NetworkNamespace, port: str, link: str, subnet: int
) -> None:
    def lay(netlink: Any) -> None:
        peer = {"ifname": link, "net_ns_fd": host.fd}
        netlink.link("add", ifname=port, kind="veth", peer=peer)
        bridge = _index(netlink, f"br{subnet}")
        netlink.link("set", index=_index(netlink, port), master=bridge, state="up")

    switch.run(_with_netlink, lay)


def _address(host: NetworkNamespace, link: str, ip: str, gateway: str = "") -> str:
    """Return the link's MAC."""

    def configure(netlink: Any) -> str:
        netlink.link("set", index=_index(netlink, "lo"), state="up")
        index = _index(netlink, link)
        netlink.addr("add", index=index, address=ip, prefixlen=PREFIX)
        netlink.link("set", index=index, state="up")
        if gateway:
            netlink.route("add", dst="default", gateway=gateway)
        return str(netlink.get_links(index)[0].get_attr("IFLA_ADDRESS"))

    return str(host.run(_with_netlink, configure))


def _make_bridges(netlink: Any) -> None:
    for subnet in (1, 2):
        name = f"br{subnet}"
        netlink.link("add", ifname=name, kind="bridge", br_mcast_snooping=0, br_forward_delay=0)
        netlink.link("set", index=_index(netlink, name), state="up")


@contextmanager
def two_subnets(nodes: dict[str, int]) -> Iterator[TwoSubnets]:
    """Hosts by name, each in subnet 1 or 2. The kernel frees them once their processes are gone."""
    with ExitStack() as stack:

        def namespace(name: str) -> NetworkNamespace:
            made = NetworkNamespace(name)
            stack.callback(made.close)
            made.sysctl("ipv6/conf/default/disable_ipv6", 1)
            return made

        switch, router = namespace("switch"), namespace("router")
        switch.run(_with_netlink, _make_bridges)
        router.sysctl("ipv4/ip_forward", 1)
        for subnet in (1, 2):
            _plug(switch, router, f"router{subnet}", f"eth{subnet}", subnet)
            _address(router, f"eth{subnet}", ip_of(subnet, ROUTER))
        made = TwoSubnets(switch, router, {}, nodes)
        for number, (name, subnet) in enumerate(nodes.items(), 1):
            where, ip, port = namespace(name), ip_of(subnet, number), f"to-{name}"
            _plug(switch, where, port, "eth0", subnet)
            mac = _address(where, "eth0", ip, made.gateway(name))
            made.nodes[name] = Host(name, ip, mac, port, where)
        yield made
