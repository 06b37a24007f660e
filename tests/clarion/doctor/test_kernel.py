"""What the kernel does by itself: ARP for bound IPs, sources, routes, memory, segments."""

import re
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity
from clarion.doctor.kernel import OPTMEM, HostFacts, conf, judge_kernel
from link.interface import Interface

VIP, VIP6 = ip_address("192.0.2.10"), ip_address("2001:db8::10")


def link(index: int, name: str, *addresses: str, gateway: str = "", **changes: Any) -> Interface:
    made = Interface(index, name, bytes((2, 0, 0, 0, 0, index)), True, True, True, False)
    gateways = frozenset({ip_address(gateway)} if gateway else ())
    found = frozenset(map(ip_interface, addresses))
    return replace(made, addresses=found, gateways=gateways, **changes)


ETH0 = link(2, "eth0", "192.0.2.1/24", "fe80::1/64", gateway="192.0.2.254")
ETH1 = link(3, "eth1", "198.51.100.1/24")
LO = link(1, "lo", "127.0.0.1/8", mac=b"", broadcast=False)


def host(*links: Interface, **sysctls: int) -> HostFacts:
    """A node with these links; `arp_ignore=1` sets that of `all`, `eth0__arp_ignore` a link's."""
    found = {conf(name, "all"): 0 for name in ("arp_ignore", "arp_announce", "rp_filter")}
    found |= {
        conf(name, one.name): 0
        for one in links
        for name in ("arp_ignore", "arp_announce", "rp_filter")
    }
    for key, value in sysctls.items():
        where, _, name = key.rpartition("__")
        found[OPTMEM if key == "optmem" else conf(name, where or "all")] = value
    return HostFacts("node-1", links, found)


def of(check: DoctorCheck, facts: HostFacts, *ips: str) -> list[DoctorFinding]:
    found = judge_kernel(facts, [ip_address(ip) for ip in ips])
    return [each for each in found if each.check is check]


def ipvs(*addresses: str) -> Interface:
    return link(9, "kube-ipvs0", *addresses, noarp=True)


@pytest.mark.parametrize(
    ("arp_ignore", "elsewhere", "same_link"),
    [
        # Documentation/networking/ip-sysctl.rst; 3 is about addresses of scope host alone.
        (0, True, True),
        (1, False, True),
        (2, False, True),
        (3, True, True),
        (8, False, False),
    ],
)
def test_the_kernel_answers_for_a_bound_ip_as_arp_ignore_says(
    arp_ignore: int, elsewhere: bool, same_link: bool
) -> None:
    on_ipvs = host(ETH0, ipvs(f"{VIP}/32"), arp_ignore=arp_ignore)
    assert bool(of(DoctorCheck.BOUND_IP, on_ipvs, str(VIP))) is elsewhere
    on_link = host(link(2, "eth0", "192.0.2.1/24", f"{VIP}/32"), arp_ignore=arp_ignore)
    assert bool(of(DoctorCheck.BOUND_IP, on_link, str(VIP))) is same_link


def test_of_all_and_the_link_the_larger_setting_counts() -> None:
    strict_link = host(ETH0, ipvs(f"{VIP}/32"), arp_ignore=0, eth0__arp_ignore=1)
    assert of(DoctorCheck.BOUND_IP, strict_link, str(VIP)) == []
    other_link = host(ETH0, ETH1, ipvs(f"{VIP}/32"), eth0__arp_ignore=1)
    (found,) = of(DoctorCheck.BOUND_IP, other_link, str(VIP))
    assert "answers for them on eth1" in found.seen


def test_an_ipv6_address_is_answered_for_on_its_own_link_alone() -> None:
    assert of(DoctorCheck.BOUND_IP, host(ETH0, ipvs(f"{VIP6}/128")), str(VIP6)) == []
    (found,) = of(DoctorCheck.BOUND_IP, host(link(2, "eth0", f"{VIP6}/64"), LO), str(VIP6))
    assert found.mend == f"ip address del {VIP6}/64 dev eth0"


def test_what_mends_a_bound_ip_depends_on_whose_it_is() -> None:
    (of_proxy,) = of(DoctorCheck.BOUND_IP, host(ETH0, ipvs(f"{VIP}/32")), str(VIP))
    assert of_proxy.mend == "sysctl -w net.ipv4.conf.all.arp_ignore=1"
    bound = host(link(2, "eth0", "192.0.2.1/24", f"{VIP}/32"))
    (by_hand,) = of(DoctorCheck.BOUND_IP, bound, str(VIP))
    assert by_hand.mend == f"ip address del {VIP}/32 dev eth0"
    assert by_hand.severity is Gravity.ERROR


def test_five_thousand_bound_ips_are_one_finding() -> None:
    ips = [str(ip_address("10.0.0.0") + n) for n in range(5000)]
    (found,) = of(DoctorCheck.BOUND_IP, host(ETH0, ipvs(*(f"{ip}/32" for ip in ips))), *ips)
    assert "10.0.0.0, 10.0.0.1, 10.0.0.2 and 4997 more" in found.seen


def test_a_nodes_own_address_is_no_service_ip() -> None:
    assert list(judge_kernel(host(ETH0, LO, optmem=131072), [VIP])) == []


def test_a_bound_ip_may_be_the_source_of_arp_unless_arp_announce_is_two() -> None:
    loud = host(ETH0, ipvs(f"{VIP}/32"), arp_ignore=1, arp_announce=1)
    (found,) = of(DoctorCheck.ARP_ANNOUNCE, loud, str(VIP))
    assert found.mend == "sysctl -w net.ipv4.conf.all.arp_announce=2"
    strict = host(ETH0, ipvs(f"{VIP}/32"), arp_ignore=1, arp_announce=2)
    assert list(judge_kernel(strict, [VIP])) == []
    assert of(DoctorCheck.ARP_ANNOUNCE, host(ETH0), str(VIP)) == []


@pytest.mark.parametrize(("value", "wrong"), [(0, False), (1, True), (2, False)])
def test_strict_reverse_path_on_a_second_link(value: int, wrong: bool) -> None:
    found = of(DoctorCheck.RP_FILTER, host(ETH0, ETH1, eth1__rp_filter=value))
    assert bool(found) is wrong
    assert [each.where for each in found] == ["node-1/eth1"] * wrong
    assert of(DoctorCheck.RP_FILTER, host(ETH0, rp_filter=value)) == [], "there is one way"


def test_a_loose_link_is_loose_although_all_is_strict() -> None:
    assert of(DoctorCheck.RP_FILTER, host(ETH0, ETH1, rp_filter=1, eth1__rp_filter=2)) == []


@pytest.mark.parametrize(
    ("optmem", "count", "wrong"), [(20480, 400, False), (20480, 500, True), (131072, 5000, False)]
)
def test_optmem_is_held_against_the_number_of_ips(optmem: int, count: int, wrong: bool) -> None:
    ips = [str(ip_address("10.0.0.0") + n) for n in range(count)]
    assert bool(of(DoctorCheck.OPTMEM, host(ETH0, optmem=optmem), *ips)) is wrong


def test_links_that_hear_each_other_are_in_one_segment() -> None:
    facts = replace(host(ETH0, ETH1), heard=frozenset({("eth1", "eth0")}))
    (found,) = of(DoctorCheck.SEGMENTS, facts)
    assert found.seen == "eth0 and eth1 hear each other"
    assert '\'{"spec":{"interfaces":["eth0"]}}\'' in found.mend


def test_one_subnet_on_two_links_counts_where_no_frame_could_be_sent() -> None:
    twin = link(3, "eth1", "192.0.2.2/25")
    assert len(of(DoctorCheck.SEGMENTS, host(ETH0, twin))) == 1
    assert of(DoctorCheck.SEGMENTS, replace(host(ETH0, twin), heard=frozenset())) == []
    both_local = link(3, "eth1", "fe80::2/64")
    assert of(DoctorCheck.SEGMENTS, host(ETH0, both_local)) == []


def test_links_that_cannot_announce_are_left_alone() -> None:
    down = replace(link(3, "eth1", "192.0.2.2/24"), carrier=False)
    slave = link(4, "eth2", "192.0.2.3/24", master=2)
    docker = link(5, "docker0", "192.0.2.4/24")
    facts = replace(host(ETH0, down, slave, docker), exclude=re.compile("^docker"))
    assert list(judge_kernel(facts, [VIP])) == []


def test_a_name_from_elsewhere_is_one_word_of_the_command() -> None:
    evil = link(3, "a;reboot\x1b[2J", f"{VIP}/32")
    (found,) = of(DoctorCheck.BOUND_IP, host(evil), str(VIP))
    assert found.mend == f"ip address del {VIP}/32 dev 'a;reboot?[2J'"
    assert found.where.isprintable()
