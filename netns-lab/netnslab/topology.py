"""Client, second host and nodes, each with one veth into one Linux bridge."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute

from netnslab.addresses import BRIDGE, CLIENT_IP, LINK, OBSERVER_IP, PREFIX, PREFIX6, ip6, node_ip
from netnslab.namespaces import Namespace

# Route tables and neighbour states as in linux/rtnetlink.h and linux/neighbour.h.
TABLE_LOCAL = 255
NUD_REACHABLE = 0x02
NUD_PROBE = 0x10


@dataclass(frozen=True)
class Host:
    """A machine: its namespace and the address on its one link; `ip6` where the lab is for IPv6."""

    name: str
    ip: str
    mac: str
    port: str
    namespace: Namespace
    ip6: str = ""


def _with_netlink(function: Callable[[Any], Any]) -> Any:
    with IPRoute() as netlink:
        return function(netlink)


def _index(netlink: Any, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


class Topology:
    """The bridge and all hosts. Building eight nodes takes about a tenth of a second."""

    def __init__(self, nodes: list[str], family: int = 4) -> None:
        """Builds everything up to addresses and routes. Raises OSError, NetlinkError.

        With family 6 every machine has IPv6 besides; the speakers gossip by IPv4 all the same.
        """
        self._family = family
        self.switch = Namespace("switch")
        self.switch.run(_with_netlink, _make_bridge)
        self.bridge_host = Host("bridge", "", "", BRIDGE, self.switch)
        self.client = self._host("client", CLIENT_IP, 2)
        self.observer = self._host("observer", OBSERVER_IP, 3)
        self.nodes = {
            name: self._host(name, node_ip(number), 10 + number)
            for number, name in enumerate(nodes, 1)
        }

    def _host(self, name: str, ip: str, number: int) -> Host:
        namespace = Namespace(name)
        own6 = ip6(number) if self._family == 6 else ""
        host = Host(name, ip, f"02:00:00:00:00:{number:02x}", f"to-{name}", namespace, own6)
        if own6:
            _quicken(namespace)
        else:
            # An unexpected IPv6 chatter has no place in a stopwatch for IPv4.
            namespace.sysctl("ipv6/conf/default/disable_ipv6", 1)
        self.switch.run(_with_netlink, lambda netlink: _plug(netlink, host))
        namespace.run(_with_netlink, lambda netlink: _configure(netlink, host))
        return host

    def hosts(self) -> list[Host]:
        """Every machine on the segment."""
        return [self.client, self.observer, *self.nodes.values()]

    def serve(self, host: Host, ips: list[str]) -> None:
        """Makes the node's kernel accept traffic for the service IPs but stay silent on ARP.

        A `local` route delivers what arrives; as no link holds the address, arp_ignore=1 keeps the
        kernel from answering for it, and arp_announce=2 from asking in its name. For IPv6 an
        address of the loopback link does both by itself.
        """
        for scope in ("all", LINK):
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_ignore", 1)
            host.namespace.sysctl(f"ipv4/conf/{scope}/arp_announce", 2)
        host.namespace.run(_with_netlink, lambda netlink: _accept(netlink, ips))

    def set_link(self, host: Host, state: str) -> None:
        """Takes the host's own link `up` or `down`, as a power cut does."""

        def change(netlink: Any) -> None:
            netlink.link("set", index=_index(netlink, LINK), state=state)

        host.namespace.run(_with_netlink, change)

    def neighbours(self, host: Host) -> dict[str, tuple[str, int]]:
        """The host's own ARP table: IP to (MAC, state); failed entries are left out."""
        return host.namespace.run(_with_netlink, _neighbours)

    def verify_neighbours(self, host: Host, ips: list[str]) -> None:
        """Has the host's kernel ask each known neighbour again at once, by unicast.

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


def _make_bridge(netlink: Any) -> None:
    netlink.link("add", ifname=BRIDGE, kind="bridge", br_mcast_snooping=0, br_forward_delay=0)
    netlink.link("set", index=_index(netlink, BRIDGE), state="up")


def _plug(netlink: Any, host: Host) -> None:
    """Lays the cable: one end in the bridge, the other in the host."""
    peer = {"ifname": LINK, "net_ns_fd": host.namespace.fd, "address": host.mac}
    netlink.link("add", ifname=host.port, kind="veth", peer=peer)
    netlink.link(
        "set", index=_index(netlink, host.port), master=_index(netlink, BRIDGE), state="up"
    )


def _quicken(namespace: Namespace) -> None:
    """Addresses that serve at once, and that a link keeps when it goes down."""
    for key, value in (("accept_dad", 0), ("keep_addr_on_down", 1), ("router_solicitations", 0)):
        for scope in ("all", "default"):
            namespace.sysctl(f"ipv6/conf/{scope}/{key}", value)


def _configure(netlink: Any, host: Host) -> None:
    netlink.link("set", index=_index(netlink, "lo"), state="up")
    index = _index(netlink, LINK)
    netlink.addr("add", index=index, address=host.ip, prefixlen=PREFIX)
    if host.ip6:
        netlink.addr("add", index=index, address=host.ip6, prefixlen=PREFIX6)
    netlink.link("set", index=index, state="up")


def _accept(netlink: Any, ips: list[str]) -> None:
    loopback = _index(netlink, "lo")
    for ip in ips:
        if ":" in ip:
            netlink.addr("add", index=loopback, address=ip, prefixlen=128)
            continue
        netlink.route(
            "add", dst=f"{ip}/32", oif=loopback, table=TABLE_LOCAL, type="local", scope="host"
        )


def _neighbours(netlink: Any) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for entry in netlink.get_neighbours(ifindex=_index(netlink, LINK)):
        address, mac = entry.get_attr("NDA_DST"), entry.get_attr("NDA_LLADDR")
        if address and mac:
            found[address] = (mac, int(entry["state"]))
    return found
