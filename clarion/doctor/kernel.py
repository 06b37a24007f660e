"""What the kernel of a node does by itself with ARP, routes and memory, held against what we need.

Pure. Linux' rules: Documentation/networking/ip-sysctl.rst; of the two settings of `all` and of the
link the larger one counts.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from re import Pattern

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity, command, plain, some
from link.address import IPAddress
from link.interface import Interface, may_answer

OPTMEM = "net/core/optmem_max"
ENOUGH_OPTMEM = 131_072
"""The default of new kernels; it holds a filter for 2,550 IPs."""
BYTES_AN_IP = 48
"""Of optmem_max, for an IP in a filter that is swapped in place, which charges both programs."""
_ALL = "all"
_ONLY_ON_LINK = (1, 2)
_NEVER = 8
_STRICT = 1
_BEST_LOCAL = 2
"""Of arp_announce: only an address that the link has."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was read of a node's kernel."""

    node: str
    links: tuple[Interface, ...]
    sysctls: Mapping[str, int]
    """By their path below /proc/sys; what could not be read is not there."""
    exclude: Pattern[str] | None = None
    """Links that MetalLB's `excludel2.yaml` leaves out."""
    heard: frozenset[tuple[str, str]] | None = None
    """Pairs of links of which one hears what the other says; None: not tried."""

    def arp(self, name: str, link: str) -> int | None:
        """Return one of the settings `net.ipv4.conf` as it counts for a link; None: unknown."""
        found = [self.sysctls.get(conf(name, where)) for where in (_ALL, link)]
        known = [value for value in found if value is not None]
        return max(known) if known else None

    def announcing(self) -> tuple[Interface, ...]:
        """Return the links on which service IPs may be answered for."""
        return tuple(link for link in self.links if may_answer(self.exclude, link) and link.carrier)

    def addressed(self) -> tuple[Interface, ...]:
        """Return those of them that have an IPv4 address, so that the kernel speaks there too."""
        return tuple(
            link for link in self.announcing() if any(each.version == 4 for each in link.addresses)
        )


def conf(name: str, link: str) -> str:
    """Return the path of a setting of a link below /proc/sys."""
    return f"net/ipv4/conf/{link}/{name}"


def judge_kernel(host: HostFacts, ips: Collection[IPAddress]) -> Iterator[DoctorFinding]:
    """Return what is wrong on the node; `ips` are all that services have."""
    wanted = frozenset(ips)
    yield from _bound(host, wanted)
    yield from _sources(host, wanted)
    yield from _reverse_path(host)
    yield from _memory(host, wanted)
    yield from _segments(host)


# ---- an IP that the kernel answers for


def _bound(host: HostFacts, ips: frozenset[IPAddress]) -> Iterator[DoctorFinding]:
    for link in host.links:
        mine = sorted((each.ip for each in link.addresses if each.ip in ips), key=_order)
        loud = [ip for ip in mine if _answering(host, link, ip)]
        if loud:
            where = some(_answering(host, link, loud[0]))
            yield _answered(host, link, loud, where)


def _order(ip: IPAddress) -> tuple[int, int]:
    return ip.version, int(ip)


def _answering(host: HostFacts, bound: Interface, ip: IPAddress) -> list[str]:
    """Name the links on which the kernel answers for an address that is bound to a link."""
    names = [link.name for link in host.announcing()]
    if ip.version == 6:
        # Linux answers a neighbour solicitation for an address of the very link, and no other.
        return [name for name in names if name == bound.name]
    return [name for name in names if _answers(host.arp("arp_ignore", name), name == bound.name)]


def _answers(arp_ignore: int | None, same_link: bool) -> bool:
    if arp_ignore is None or arp_ignore >= _NEVER:
        return False
    return same_link or arp_ignore not in _ONLY_ON_LINK


def _answered(
    host: HostFacts, link: Interface, ips: Sequence[IPAddress], where: str
) -> DoctorFinding:
    return DoctorFinding(
        DoctorCheck.BOUND_IP,
        Gravity.ERROR,
        _at(host, link),
        f"{len(ips)} service IPs are bound to {plain(link.name)} ({some(ips)}), and the kernel"
        f" answers for them on {where}",
        "Every node where the kernel answers draws clients to itself, whoever owns the IP.",
        _unbind(link, ips),
    )


def _unbind(link: Interface, ips: Sequence[IPAddress]) -> str:
    on_link = link.mac and link.broadcast and not link.noarp
    if ips[0].version == 4 and not on_link:
        # The address is kube-proxy's, or of a load balancer behind: it has to stay.
        return command("sysctl", "-w", "net.ipv4.conf.all.arp_ignore=1")
    plen = next(each.network.prefixlen for each in link.addresses if each.ip == ips[0])
    return command("ip", "address", "del", f"{ips[0]}/{plen}", "dev", link.name)


def _sources(host: HostFacts, ips: frozenset[IPAddress]) -> Iterator[DoctorFinding]:
    bound = sorted(
        {each.ip for link in host.links for each in link.addresses if each.ip in ips}, key=_order
    )
    bound = [ip for ip in bound if ip.version == 4]
    for link in host.addressed() if bound else ():
        value = host.arp("arp_announce", link.name)
        if value is not None and value < _BEST_LOCAL:
            yield DoctorFinding(
                DoctorCheck.ARP_ANNOUNCE,
                Gravity.ERROR,
                _at(host, link),
                f"arp_announce is {value}, and {some(bound)} is bound on this node",
                "The kernel may ask by ARP from a service IP, and whoever hears it sends that IP's"
                " packets here.",
                command("sysctl", "-w", "net.ipv4.conf.all.arp_announce=2"),
            )


# ---- routes, memory, segments


def _reverse_path(host: HostFacts) -> Iterator[DoctorFinding]:
    links = host.addressed()
    for link in links if len(links) > 1 else ():
        if host.arp("rp_filter", link.name) == _STRICT and not link.gateways:
            yield DoctorFinding(
                DoctorCheck.RP_FILTER,
                Gravity.WARNING,
                _at(host, link),
                f"rp_filter is strict on {plain(link.name)}, which has no default route",
                "Clients behind a router reach a service IP by this link, and the kernel drops"
                " their packets, as its way back is another link.",
                command("sysctl", "-w", f"net/ipv4/conf/{link.name}/rp_filter=2"),
            )


def _memory(host: HostFacts, ips: frozenset[IPAddress]) -> Iterator[DoctorFinding]:
    found = host.sysctls.get(OPTMEM)
    count = sum(ip.version == 4 for ip in ips)
    if found is not None and found < min(ENOUGH_OPTMEM, BYTES_AN_IP * count):
        yield DoctorFinding(
            DoctorCheck.OPTMEM,
            Gravity.WARNING,
            plain(host.node),
            f"optmem_max is {found}, too little for a kernel filter of {count} IPs",
            "The filter becomes coarser, so that the speaker wakes up for ARP that is not for it.",
            command("sysctl", "-w", f"net.core.optmem_max={ENOUGH_OPTMEM}"),
        )


def _segments(host: HostFacts) -> Iterator[DoctorFinding]:
    heard = host.heard or frozenset()
    for one, other in combinations(host.announcing(), 2):
        on_wire = {(one.name, other.name), (other.name, one.name)} & heard
        # What was tried is known: the same subnet in two segments is odd, but not this.
        if on_wire or (host.heard is None and _share_subnet(one, other)):
            yield _one_segment(host, one, other, bool(on_wire))


def _share_subnet(one: Interface, other: Interface) -> bool:
    return any(
        mine.network.overlaps(its.network)
        for mine in one.addresses
        for its in other.addresses
        if mine.version == its.version and not mine.is_link_local
    )


def _one_segment(host: HostFacts, one: Interface, other: Interface, on_wire: bool) -> DoctorFinding:
    how = "hear each other" if on_wire else "have addresses of one subnet"
    patch = json.dumps({"spec": {"interfaces": [one.name]}}, separators=(",", ":"))
    return DoctorFinding(
        DoctorCheck.SEGMENTS,
        Gravity.WARNING,
        _at(host, one),
        f"{plain(one.name)} and {plain(other.name)} {how}",
        "Both answer for each service IP, so that clients see its MAC address change again and"
        " again.",
        command("kubectl", "-n", "metallb-system", "patch", "l2advertisements", "NAME")
        + " --type=merge -p "
        + command(patch),
    )


def _at(host: HostFacts, link: Interface) -> str:
    return f"{plain(host.node, 253)}/{plain(link.name, 32)}"
