"""Client, second host and nodes, each with a veth into one Linux bridge; on request the nodes
gossip over a second one."""

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pyroute2 import IPRoute

from netnslab.instruments import arp
from netnslab.instruments.instrument import family_of, packet_socket
from netnslab.machines import rules
from netnslab.machines.addresses import (
    AT_ONCE,
    BRIDGE,
    CLIENT_IP,
    DISCARD_PORT,
    FLOATING_IP,
    FLOATING_IP6,
    GOSSIP_BRIDGE,
    GOSSIP_LINK,
    LINK,
    OBSERVER_IP,
    PREFIX,
    PREFIX6,
    gossip_ip,
    ip6,
    node_ip,
)
from netnslab.machines.namespaces import NetworkNamespace

# Route tables and neighbour states as in linux/rtnetlink.h and linux/neighbour.h.
TABLE_LOCAL = 255
NUD_REACHABLE = 0x02
NUD_PROBE = 0x10


@dataclass(frozen=True)
class Host:
    """A machine: its namespace, the address on its link, and where the link is plugged in.

    `ip6` where the lab is for IPv6; `gossip_ip` is `ip`, but where gossip has a link of its own.
    """

    name: str
    ip: str
    mac: str
    port: str
    namespace: NetworkNamespace
    ip6: str = ""
    gossip_ip: str = ""


def _tell_everybody(host: Host, ip: str) -> None:
    """A gratuitous request, as whoever takes an address over sends."""
    mac = bytes.fromhex(host.mac.replace(":", ""))
    with packet_socket(LINK, arp.ETH_P_ARP) as raw:
        raw.send(arp.gratuitous(mac, ip))


def _with_netlink(function: Callable[[Any], Any]) -> Any:
    with IPRoute() as netlink:
        return function(netlink)


def _index(netlink: Any, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


class Topology:
    """The bridge and all hosts. Building eight nodes takes about a tenth of a second."""

    def __init__(self, nodes: list[str], family: int = 4, *, uplink: bool = False) -> None:
        """Build everything up to addresses and routes. Raises OSError, NetlinkError.

        With family 6 every machine has IPv6 besides; the speakers gossip by IPv4 all the same.
        `uplink`: gossip has a second link and bridge of its own.
        """
        self._family = family
        self.switch = NetworkNamespace("switch")
        self.switch.run(_with_netlink, lambda netlink: _make_bridge(netlink, BRIDGE))
        if uplink:
            self.switch.run(_with_netlink, lambda netlink: _make_bridge(netlink, GOSSIP_BRIDGE))
        _as_a_switch(self.switch)
        self._ruled: list[NetworkNamespace] = []
        self._islands: list[str] = []
        self._floats: Host | None = None
        self._answering: tuple[Host, str] | None = None
        self.bridge_host = Host("bridge", "", "", BRIDGE, self.switch)
        self.client = self._host("client", CLIENT_IP, 2)
        # The prober may send echo requests without a raw socket.
        self.client.namespace.sysctl("ipv4/ping_group_range", "0 0")
        self.observer = self._host("observer", OBSERVER_IP, 3)
        self.nodes = {
            name: self._node(name, number, uplink) for number, name in enumerate(nodes, 1)
        }

    def _host(self, name: str, ip: str, number: int, gossip: str = "") -> Host:
        namespace = NetworkNamespace(name)
        mac = f"02:00:00:00:00:{number:02x}"
        own6 = ip6(number) if self._family == 6 else ""
        host = Host(name, ip, mac, f"to-{name}", namespace, own6, gossip or ip)
        if own6:
            _quicken(namespace)
        else:
            # An unexpected IPv6 chatter has no place in a stopwatch for IPv4.
            namespace.sysctl("ipv6/conf/default/disable_ipv6", 1)
        self.switch.run(_with_netlink, lambda netlink: _plug(netlink, host))
        namespace.run(_with_netlink, lambda netlink: _configure(netlink, host))
        return host

    def _node(self, name: str, number: int, uplink: bool) -> Host:
        """A node: the client is its default gateway, as a router is in most clusters."""
        host = self._host(name, node_ip(number), 10 + number, gossip_ip(number) if uplink else "")
        host.namespace.run(_with_netlink, lambda netlink: _route(netlink, host))
        if uplink:
            self.switch.run(_with_netlink, lambda netlink: _plug_gossip(netlink, host))
            host.namespace.run(_with_netlink, lambda netlink: _configure_gossip(netlink, host))
        return host

    def hosts(self) -> list[Host]:
        """Every machine on the segment."""
        return [self.client, self.observer, *self.nodes.values()]

    def serve(self, host: Host, ips: list[str]) -> None:
        """Make the node's kernel accept traffic for the service IPs but stay silent on ARP.

        A `local` route delivers what arrives; as no link holds the address, arp_ignore=1 keeps the
        kernel from answering for it, and arp_announce=2 from asking in its name. For IPv6 an
        address of the loopback link does both by itself.
        """
        for scope in ("all", LINK):
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_ignore", 1)
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_announce", 2)
        host.namespace.run(_with_netlink, lambda netlink: _accept(netlink, ips))

    def unplug(self, hosts: Iterable[Host]) -> None:
        """Pull the cables in one go: the hosts lose carrier."""
        self._ports(hosts, state="down")

    def plug(self, hosts: Iterable[Host]) -> None:
        """Put the cables of `unplug` back."""
        self._ports(hosts, state="up")

    def take_out(self, hosts: Iterable[Host]) -> None:
        """Take the hosts' ports out of the bridge: silence, but the carrier stays."""
        self._ports(hosts, master=0)

    def part(self, islands: Sequence[Sequence[Host]]) -> None:
        """Move the ports of each island to a bridge of its own; all others stay together."""
        for number, hosts in enumerate(islands):
            if number == len(self._islands):
                self._islands.append(f"island{number}")
                self.switch.run(_with_netlink, partial(_make_bridge, name=self._islands[-1]))
            name = self._islands[number]
            bridge = self.switch.run(_with_netlink, partial(_index, name=name))
            self._ports(hosts, master=bridge)

    def _ports(self, hosts: Iterable[Host], **change: Any) -> None:
        def apply(netlink: Any) -> None:
            for index in [_index(netlink, host.port) for host in hosts]:
                netlink.link("set", index=index, **change)

        self.switch.run(_with_netlink, apply)

    def drop(self, script: str) -> None:
        """Have the switch drop frames by rules from `rules`. Raises LabError."""
        self._load(self.switch, script)

    def filter(self, hosts: Iterable[Host], script: str) -> None:
        """Have the hosts' own kernels drop frames by rules from `rules`. Raises LabError."""
        for host in hosts:
            self._load(host.namespace, script)

    def _load(self, where: NetworkNamespace, script: str) -> None:
        self._ruled.append(where)
        rules.load(where, script)

    def undrop(self) -> None:
        """Take the rules of `drop` and `filter` away. Raises LabError."""
        while self._ruled:
            rules.clear(self._ruled.pop())

    def heal(self) -> None:
        """Undo `unplug`, `take_out`, `part`, `drop`, `filter`, `float_to` and `answer`."""
        self.sink()
        self.unanswer()
        self.undrop()

        def apply(netlink: Any) -> None:
            bridge = _index(netlink, BRIDGE)
            for host in self.hosts():
                index = _index(netlink, host.port)
                netlink.link("set", index=index, master=bridge, state="up")

        self.switch.run(_with_netlink, apply)

    def readdress(self, host: Host, ip: str) -> Host:
        """Give the host another address on its link, in place of the first; the host as it is."""
        moved = replace(host, ip=ip, gossip_ip=ip)
        host.namespace.run(_with_netlink, lambda netlink: _readdress(netlink, host, moved))
        self.nodes[host.name] = moved
        return moved

    def float_to(self, host: Host) -> None:
        """Put the floating addresses on this host, as keepalived does, and on nobody else."""
        self.sink()
        self._floats = host
        host.namespace.run(_with_netlink, lambda netlink: _change_floating(netlink, host, "add"))
        host.namespace.run(_tell_everybody, host, FLOATING_IP)

    def sink(self) -> None:
        """Take the floating addresses away."""
        if self._floats is not None:
            host, self._floats = self._floats, None
            host.namespace.run(
                _with_netlink, lambda netlink: _change_floating(netlink, host, "del")
            )

    def answer(self, host: Host, ip: str, ips: list[str]) -> None:
        """Have the host's kernel answer for one of the service IPs. Raises LabError.

        As a kernel with IPVS does where strictARP is off; for IPv6 as one with an address left
        behind on its link.
        """
        self._answering = (host, ip)
        if ":" in ip:
            host.namespace.run(_with_netlink, lambda netlink: _change_address(netlink, ip, "add"))
            return
        others = [other for other in ips if other != ip]
        if others:
            self.filter([host], rules.no_arp_for(others))
        for scope in ("all", LINK):
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_ignore", 0)

    def unanswer(self) -> None:
        """Have the kernel of `answer` answer for nothing again. Raises LabError."""
        if self._answering is None:
            return
        (host, ip), self._answering = self._answering, None
        if ":" in ip:
            host.namespace.run(_with_netlink, lambda netlink: _change_address(netlink, ip, "del"))
            return
        for scope in ("all", LINK):
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_ignore", 1)

    def neighbours(self, host: Host) -> dict[str, tuple[str, int]]:
        """The host's own ARP table: IP to (MAC, state); failed entries are left out."""
        return host.namespace.run(_with_netlink, _neighbours)

    def greet(self, host: Host, ips: list[str]) -> None:
        """Send each IP a packet that nobody answers, for which the host's kernel looks it up."""
        if ips:
            host.namespace.run(_greet, ips)

    def verify_neighbours(self, host: Host, ips: list[str]) -> None:
        """Have the host's kernel ask each known neighbour again at once, by unicast.

        It does so itself every 15-45 s; in the midst of that it is not the warm client whose fate
        the lab measures.
        """
        known = self.neighbours(host)

        def probe(netlink: Any) -> None:
            index = _index(netlink, LINK)
            for ip in ips:
                if ip in known:
                    mac, _ = known[ip]
                    netlink.neigh("replace", dst=ip, lladdr=mac, ifindex=index, state=NUD_PROBE)

        host.namespace.run(_with_netlink, probe)


def _as_a_switch(namespace: NetworkNamespace) -> None:
    """A switch looks at no IP header; where br_netfilter is loaded, a bridge does, at some cost."""
    for family in ("iptables", "ip6tables", "arptables"):
        with suppress(OSError):
            namespace.sysctl(f"bridge/bridge-nf-call-{family}", 0)


def _make_bridge(netlink: Any, name: str) -> None:
    netlink.link("add", ifname=name, kind="bridge", br_mcast_snooping=0, br_forward_delay=0)
    netlink.link("set", index=_index(netlink, name), state="up")


def _lay(netlink: Any, port: str, bridge: str, peer: dict[str, Any]) -> None:
    """Lay a cable: one end in the bridge, the other in a host."""
    netlink.link("add", ifname=port, kind="veth", peer=peer)
    netlink.link("set", index=_index(netlink, port), master=_index(netlink, bridge), state="up")


def _plug(netlink: Any, host: Host) -> None:
    peer = {"ifname": LINK, "net_ns_fd": host.namespace.fd, "address": host.mac}
    _lay(netlink, host.port, BRIDGE, peer)


def _plug_gossip(netlink: Any, host: Host) -> None:
    mac = "02:00:00:00:01" + host.mac[14:]
    peer = {"ifname": GOSSIP_LINK, "net_ns_fd": host.namespace.fd, "address": mac}
    _lay(netlink, f"g-{host.name}", GOSSIP_BRIDGE, peer)


def _quicken(namespace: NetworkNamespace) -> None:
    """Addresses that serve at once, and that a link keeps when it goes down."""
    for key, value in (("accept_dad", 0), ("keep_addr_on_down", 1), ("router_solicitations", 0)):
        for scope in ("all", "default"):
            namespace.sysctl(f"ipv6/conf/{scope}/{key}", value)


def _configure(netlink: Any, host: Host) -> None:
    netlink.link("set", index=_index(netlink, "lo"), state="up")
    _address(netlink, LINK, host.ip)
    if host.ip6:
        index = _index(netlink, LINK)
        netlink.addr("add", index=index, address=host.ip6, prefixlen=PREFIX6, flags=AT_ONCE)


def _route(netlink: Any, host: Host) -> None:
    """The client is every node's way out."""
    netlink.route("add", dst="default", gateway=CLIENT_IP)
    if host.ip6:
        gateway = ip6(2)
        netlink.route("add", family=socket.AF_INET6, dst="default", gateway=gateway)


def _configure_gossip(netlink: Any, host: Host) -> None:
    _address(netlink, GOSSIP_LINK, host.gossip_ip)


def _address(netlink: Any, link: str, ip: str) -> None:
    index = _index(netlink, link)
    netlink.addr("add", index=index, address=ip, prefixlen=PREFIX)
    netlink.link("set", index=index, state="up")


def _readdress(netlink: Any, host: Host, moved: Host) -> None:
    netlink.addr("del", index=_index(netlink, LINK), address=host.ip, prefixlen=PREFIX)
    _address(netlink, LINK, moved.ip)
    # It went with the last address of its link.
    netlink.route("replace", dst="default", gateway=CLIENT_IP)


def _change_floating(netlink: Any, host: Host, verb: str) -> None:
    index = _index(netlink, LINK)
    netlink.addr(verb, index=index, address=FLOATING_IP, prefixlen=32)
    if host.ip6:
        netlink.addr(verb, index=index, address=FLOATING_IP6, prefixlen=128, flags=AT_ONCE)


def _change_address(netlink: Any, ip: str, verb: str) -> None:
    netlink.addr(verb, index=_index(netlink, LINK), address=ip, prefixlen=128, flags=AT_ONCE)


def _accept(netlink: Any, ips: list[str]) -> None:
    loopback = _index(netlink, "lo")
    for ip in ips:
        if ":" in ip:
            netlink.addr("add", index=loopback, address=ip, prefixlen=128, flags=AT_ONCE)
            continue
        netlink.route(
            "add", dst=f"{ip}/32", oif=loopback, table=TABLE_LOCAL, type="local", scope="host"
        )


def _greet(ips: list[str]) -> None:
    with socket.socket(family_of(ips[0]), socket.SOCK_DGRAM) as used:
        used.setblocking(False)
        for ip in ips:
            with suppress(OSError):
                used.sendto(b"", (ip, DISCARD_PORT))


def _neighbours(netlink: Any) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for entry in netlink.get_neighbours(ifindex=_index(netlink, LINK)):
        address, mac = entry.get_attr("NDA_DST"), entry.get_attr("NDA_LLADDR")
        if address and mac:
            found[address] = (mac, int(entry["state"]))
    return found
