"""Links that hear each other, and what is read of a kernel, in a namespace with a real bridge."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from pyroute2 import IPRoute

import netns
from clarion.doctor.kernel import conf
from clarion.doctor.look.host import read_exclude, read_host
from clarion.doctor.look.wire import heard_links
from netns import NetworkNamespace

TOKEN = bytes(range(16))


@pytest.fixture
def namespace() -> Iterator[NetworkNamespace]:
    if reason := netns.missing_right():
        pytest.skip(reason)
    made = NetworkNamespace("doctor")
    yield made
    made.close()


def build(links: dict[str, str]) -> None:
    """Make links by name, each with its far end in the bridge that is named."""
    with IPRoute() as netlink:
        for bridge in set(links.values()):
            netlink.link("add", ifname=bridge, kind="bridge")
        for name in links:
            netlink.link("add", ifname=name, kind="veth", peer=f"{name}-far")
        index = {link.get_attr("IFLA_IFNAME"): link["index"] for link in netlink.get_links()}
        for name, bridge in links.items():
            netlink.link("set", index=index[f"{name}-far"], master=index[bridge])
        for number in index.values():
            netlink.link("set", index=number, state="up")
        for n, name in enumerate(links, 1):
            netlink.addr("add", index=index[name], address=f"192.0.2.{n}", prefixlen=24)
        netlink.route("add", dst="default", gateway="192.0.2.254", oif=index["one"])


def ends(namespace: NetworkNamespace) -> set[tuple[str, str]]:
    host = namespace.run(read_host, "node-1", None)
    mine = [link for link in host.announcing() if link.name in ("one", "two", "three")]
    assert len(mine) == 3, "they are up, and have carrier"
    heard = namespace.run(heard_links, mine, TOKEN)
    assert heard is not None
    return set(heard)


@pytest.mark.root
def test_links_in_one_segment_hear_each_other_and_no_other(namespace: NetworkNamespace) -> None:
    namespace.run(build, {"one": "br0", "two": "br0", "three": "br1"})
    assert ends(namespace) == {("one", "two"), ("two", "one")}


@pytest.mark.parametrize(
    ("text", "left_out", "stays"),
    [
        ("announcedInterfacesToExclude: ['^eth1', '^br-.*']", "br-lan", "docker0"),
        ("announcedInterfacesToExclude: ['(']", "docker0", "eth0"),
        ("other: 1", "cni0", "eth0"),
        ("announcedInterfacesToExclude: []", "", "docker0"),
        ("", "kube-ipvs0", "eth0"),
    ],
)
def test_links_that_are_left_out(tmp_path: Path, text: str, left_out: str, stays: str) -> None:
    (tmp_path / "excludel2.yaml").write_text(text)
    pattern = read_exclude(tmp_path / "excludel2.yaml")
    assert pattern.search(left_out) or not left_out
    assert not pattern.search(stays)


@pytest.mark.root
def test_what_is_read_of_a_kernel(namespace: NetworkNamespace) -> None:
    namespace.run(build, {"one": "br0", "two": "br1", "three": "br1"})
    namespace.sysctl("ipv4/conf/one/arp_ignore", 2)
    namespace.sysctl("ipv4/conf/all/rp_filter", 1)
    host = namespace.run(read_host, "node-1", None)
    links = {link.name: link for link in host.links}
    assert ip_interface("192.0.2.1/24") in links["one"].addresses
    assert links["one"].gateways == {ip_address("192.0.2.254")}
    assert links["two"].gateways == frozenset()
    assert host.sysctls[conf("arp_ignore", "one")] == 2
    assert (host.arp("arp_ignore", "one"), host.arp("rp_filter", "two")) == (2, 1)
    # A port of a bridge announces nothing.
    assert {"one", "two", "three"} <= {link.name for link in host.announcing()}
    assert "one-far" not in {link.name for link in host.announcing()}
