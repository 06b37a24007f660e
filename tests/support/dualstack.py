"""Machines with IPv4 and IPv6 on one bridge, for layer 2 tests: kernel clients and link events."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netns import Host, NetworkNamespace
from netnslab.machines.addresses import AT_ONCE

T = TypeVar("T")
BRIDGE = "br0"
REACHABLE, STALE, DELAY, PROBE, FAILED = 0x02, 0x04, 0x08, 0x10, 0x20
VALID = REACHABLE | STALE | DELAY | PROBE


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace with `eth0` in the bridge; `ip` and `ip6` are its addresses."""

    name: str
    number: int
    namespace: NetworkNamespace
    switch: NetworkNamespace

    @property
    def ip(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def ip6(self) -> str:
        return f"2001:db8:77::{self.number:x}"

    @property
    def mac(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def port(self) -> str:
        return f"to-{self.name}"

    @property
    def host(self) -> Host:
        """The machine as the helpers for speakers want it."""
        return Host(self.name, self.ip, self.mac, self.port, self.namespace)

    def netlink(self, work: Callable[[Any], T]) -> T:
        """Call `work` with an IPRoute of the namespace."""
        return self.namespace.run(_with_netlink, work)

    def link(self, name: str, **changes: Any) -> None:
        """Change a link of the machine."""
        self.netlink(lambda nl: nl.link("set", index=index_of(nl, name), **changes))

    def switch_port(self, **changes: Any) -> None:
        """Change the machine's port at the bridge, as pulling its cable does."""
        self.switch.run(
            _with_netlink, lambda nl: nl.link("set", index=index_of(nl, self.port), **changes)
        )

    def neighbour(self, ip: str) -> tuple[str | None, int]:
        """Return MAC and state of the kernel's entry for `ip`; (None, 0) without one."""
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET

        def read(nl: Any) -> tuple[str | None, int]:
            for entry in nl.get_neighbours(family=family):
                if entry.get_attr("NDA_DST") == ip:
                    return entry.get_attr("NDA_LLADDR"), int(entry["state"])
            return None, 0

        return self.netlink(read)

    def set_neighbour(self, ip: str, mac: str, state: int, link: str = "eth0") -> None:
        """Put an entry into the kernel's table."""
        self.netlink(
            lambda nl: nl.neigh(
                "replace", dst=ip, lladdr=mac, ifindex=index_of(nl, link), state=state
            )
        )

    def forget(self, ip: str) -> None:
        """Take the kernel's entry for `ip` away, if there is one."""

        def remove(nl: Any) -> None:
            try:
                nl.neigh("del", dst=ip, ifindex=index_of(nl, "eth0"))
            except NetlinkError:
                return

        self.netlink(remove)

    def send_to(self, ip: str) -> None:
        """Send one datagram, so that the kernel looks the neighbour up."""
        self.namespace.run(_datagram, ip)

    def resolve(self, ip: str, timeout: float = 2.0) -> str | None:
        """Have the kernel ask for `ip`; return the MAC it learned, None after `timeout`."""
        self.forget(ip)
        end = time.monotonic() + timeout
        self.send_to(ip)
        while time.monotonic() < end:
            mac, state = self.neighbour(ip)
            if mac and state & VALID:
                return mac
            time.sleep(0.01)
        return None

    def raw(self, ethertype: int, link: str = "eth0") -> socket.socket:
        """Open a raw socket inside."""

        def make() -> socket.socket:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
            raw.bind((link, ethertype))
            return raw

        return self.namespace.run(make)


def index_of(netlink: Any, name: str) -> int:
    """Return the index of a link; IndexError where there is none."""
    return int(netlink.link_lookup(ifname=name)[0])


def has_kind(kind: str, **arguments: Any) -> bool:
    """Tell whether this kernel can make links of that kind."""
    namespace = NetworkNamespace("probe")

    def make(nl: Any) -> bool:
        nl.link("add", ifname="base0", kind="veth", peer={"ifname": "base1"})
        extra = {"link": index_of(nl, "base0")} if kind in ("vlan", "macvlan") else {}
        try:
            nl.link("add", ifname="probe0", kind=kind, **extra, **arguments)
        except NetlinkError:
            return False
        return True

    try:
        return namespace.run(_with_netlink, make)
    finally:
        namespace.close()


@contextmanager
def dualstack(*names: str, snooping: bool = False) -> Iterator[dict[str, Machine]]:
    """Machines by name, on one bridge with all ports up; numbers count from 11."""
    switch = NetworkNamespace("switch")
    machines = {
        name: Machine(name, number, NetworkNamespace(name), switch)
        for number, name in enumerate(names, 11)
    }
    try:
        # A querier needs an address, at once and not after the wait for duplicates.
        for scope in ("all", "default"):
            switch.sysctl(f"ipv6/conf/{scope}/accept_dad", 0)
        switch.run(_with_netlink, lambda nl: _make_bridge(nl, snooping))
        for machine in machines.values():
            _plug(machine)
        yield machines
    finally:
        for namespace in [switch, *(machine.namespace for machine in machines.values())]:
            namespace.close()


def _with_netlink(function: Callable[[Any], T]) -> T:
    with IPRoute() as netlink:
        return function(netlink)


def _make_bridge(nl: Any, snooping: bool) -> None:
    timing = {"br_mcast_query_intvl": 200, "br_mcast_query_response_intvl": 50}
    nl.link(
        "add",
        ifname=BRIDGE,
        kind="bridge",
        br_mcast_snooping=int(snooping),
        br_forward_delay=0,
        **timing,
    )
    index = index_of(nl, BRIDGE)
    nl.link("set", index=index, state="up")
    if snooping:
        # Only now: how long a new querier waits is fixed when it is switched on.
        nl.link("set", index=index, kind="bridge", br_mcast_querier=1)


def _plug(machine: Machine) -> None:
    _quicken(machine)
    plug(machine, "eth0", machine.mac)

    def inside(nl: Any) -> None:
        nl.link("set", index=index_of(nl, "lo"), state="up")
        index = index_of(nl, "eth0")
        nl.addr("add", index=index, address=machine.ip, prefixlen=16)
        nl.addr("add", index=index, address=machine.ip6, prefixlen=64, flags=AT_ONCE)
        nl.link("set", index=index, state="up")

    machine.netlink(inside)


def plug(machine: Machine, name: str, mac: str) -> None:
    """Lay a cable from the machine's link `name` to the bridge; the link itself is still down."""
    port = machine.port if name == "eth0" else f"{machine.name}-{name}"
    peer = {"ifname": name, "net_ns_fd": machine.namespace.fd, "address": mac}

    def outside(nl: Any) -> None:
        nl.link("add", ifname=port, kind="veth", peer=peer)
        nl.link("set", index=index_of(nl, port), master=index_of(nl, BRIDGE), state="up")

    machine.switch.run(_with_netlink, outside)


def _quicken(machine: Machine) -> None:
    for key, value in (("accept_dad", 0), ("keep_addr_on_down", 1), ("router_solicitations", 0)):
        machine.namespace.sysctl(f"ipv6/conf/default/{key}", value)
        machine.namespace.sysctl(f"ipv6/conf/all/{key}", value)


def _datagram(ip: str) -> None:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as used:
        try:
            used.sendto(b"?", (ip, 9))
        except OSError:
            return


MANIFEST = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: ["10.77.0.0/16", "198.51.100.0/24", "2001:db8:77::9:0/112"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2, namespace: metallb-system}
spec: {ipAddressPools: [pool]}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {{name: s{number}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: "{ip}"}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s{number}-x
  namespace: default
  labels: {{kubernetes.io/service-name: s{number}}}
addressType: IPv4
endpoints: [{{addresses: [10.1.1.1], conditions: {{ready: true}}, nodeName: node}}]
"""


def manifests(folder: Path, *ips: str) -> Path:
    """Write a service for each IP into a new folder and return that."""
    folder.mkdir()
    services = [SERVICE.format(number=number, ip=ip) for number, ip in enumerate(ips)]
    (folder / "all.yaml").write_text(MANIFEST + "".join(services))
    return folder
