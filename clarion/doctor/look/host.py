"""Reads the kernel of this machine: links, addresses, default routes, settings. A driver."""

import re
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from clarion.doctor.kernel import OPTMEM, HostFacts, conf
from kube.document import ManifestError
from kube.files.manifest import read
from link.address import IPAddress
from link.interface import Interface
from link.netlink import news, route
from link.netlink.messages import NLMSG_DONE, NLMSG_ERROR, error_of, split
from link.netlink.table import GatewaysSet, LinkTable

EXCLUDE_FILE = Path("/etc/metallb/excludel2.yaml")
OF_CONTAINERS = re.compile(
    "^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns|lxc|cilium)"
)
_SYS = Path("/proc/sys")
_CONF = ("arp_ignore", "arp_announce", "rp_filter")
_READ = 1 << 17
_PATIENCE = 5.0
"""Seconds for the kernel's answer."""


def read_host(node: str, exclude: re.Pattern[str] | None) -> HostFacts:
    """Return what the kernel says in the network namespace of this thread. Raises OSError."""
    links = tuple(sorted(_links(), key=lambda link: link.index))
    return HostFacts(node, links, _sysctls(links), exclude)


def read_exclude(file: Path = EXCLUDE_FILE) -> re.Pattern[str]:
    """Return which links MetalLB's file leaves out; without one, those of containers.

    A speaker without the file would answer on those as well, but no client is there.
    """
    try:
        (found,) = read(file.read_bytes(), file.name)
        patterns = found.data["announcedInterfacesToExclude"]
        # An empty list leaves nothing out, where an empty pattern would leave out all.
        return re.compile("|".join(f"({pattern})" for pattern in patterns) or "(?!)")
    except (OSError, ManifestError, LookupError, ValueError, TypeError, re.error):
        return OF_CONTAINERS


def _sysctls(links: Iterable[Interface]) -> dict[str, int]:
    names = [conf(name, "all") for name in _CONF]
    names += [conf(name, link.name) for link in links for name in _CONF]
    found = {name: _number(_SYS / name) for name in (*names, OPTMEM)}
    return {name: value for name, value in found.items() if value is not None}


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _links() -> list[Interface]:
    table = LinkTable()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as used:
        used.settimeout(_PATIENCE)
        for sequence, question in enumerate((news.links_request, news.addresses_request), 1):
            for kind, body in _dump(used, question, sequence):
                if (change := news.read(kind, body)) is not None:
                    table.apply(change)
        table.apply(GatewaysSet(_gateways(used)))
    return list(table.interfaces().values())


def _dump(
    used: socket.socket, question: Callable[[int], bytes], sequence: int
) -> Iterable[tuple[int, bytes]]:
    used.send(question(sequence))
    while True:
        for kind, body in split(used.recv(_READ)):
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise OSError(error_of(body), "netlink")
            yield kind, body


def _gateways(used: socket.socket) -> dict[int, frozenset[IPAddress]]:
    found: defaultdict[int, set[IPAddress]] = defaultdict(set)
    used.send(route.dump_request(3))
    while True:
        for message in route.messages(used.recv(_READ)):
            if message.type in (NLMSG_DONE, NLMSG_ERROR):
                return {index: frozenset(ips) for index, ips in found.items()}
            for index, gateway in message.gateways:
                found[index].add(gateway)
