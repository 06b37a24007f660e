"""What kernel clients get from a whole speaker, on IPv4 and IPv6, over odd wires too."""

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from dualstack import FAILED, Machine, dualstack, has_kind, index_of, manifests
from link.mac import BROADCAST, parse_mac
from ndp.groups import multicast_mac, solicited_node
from ndp.packet import ICMPv6Type, NeighborMessage, encode
from netns import missing_right
from speakers import Speaker, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

VIP, VIP6 = "10.77.9.1", "2001:db8:77::9:1"
OUTSIDE = "198.51.100.1"
NUD_SECONDS = 60
INCOMPLETE = 0x01
_ETH_P_ALL = 0x0003


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    with dualstack("client", "node", "third") as made:
        yield made


@pytest.fixture(scope="module")
def running(
    machines: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Speaker]:
    folder = tmp_path_factory.mktemp("answers")
    source = manifests(folder / "source", VIP, VIP6, OUTSIDE)
    with speaker(machines["node"].host, source, log=folder / "log") as started:
        started.wait_for("ready")
        yield started
        assert started.process.poll() is None


def dropped(running: Speaker, reason: str) -> float:
    return running.metric(f'clarion_dropped_total{{reason="{reason}"}}') or 0.0


def test_neighbour_unreachability_detection_never_fails(
    machines: dict[str, Machine], running: Speaker
) -> None:
    """A busy client verifies its entries by unicast, here every second or so."""
    client, node = machines["client"], machines["node"]
    for family in ("ipv4", "ipv6"):
        client.namespace.sysctl(f"{family}/neigh/eth0/base_reachable_time_ms", 1_000)
        client.namespace.sysctl(f"{family}/neigh/eth0/delay_first_probe_time", 1)
    assert client.resolve(VIP) == client.resolve(VIP6) == node.mac
    before = running.metric(f'metallb_layer2_requests_received{{ip="{VIP6}"}}') or 0
    seen: set[int] = set()
    end = time.monotonic() + NUD_SECONDS
    while time.monotonic() < end:
        for ip in (VIP, VIP6):
            client.send_to(ip)
            mac, state = client.neighbour(ip)
            assert mac == node.mac
            seen.add(state)
        time.sleep(0.1)
    assert not seen & {FAILED, INCOMPLETE}
    asked = (running.metric(f'metallb_layer2_requests_received{{ip="{VIP6}"}}') or 0) - before
    assert asked > NUD_SECONDS / 6


def test_an_ip_outside_the_subnet_of_the_node(
    machines: dict[str, Machine], running: Speaker
) -> None:
    client = machines["client"]
    client.netlink(
        lambda nl: nl.route("add", dst="198.51.100.0/24", oif=index_of(nl, "eth0"), scope="link")
    )
    assert client.resolve(OUTSIDE) == machines["node"].mac


def test_nobody_else_can_take_an_ipv6_address_in_use(
    machines: dict[str, Machine], running: Speaker
) -> None:
    """Duplicate address detection (RFC 4862): the probe comes from `::` and is answered."""
    third = machines["third"]
    for scope in ("all", "eth0"):
        third.namespace.sysctl(f"ipv6/conf/{scope}/accept_dad", 1)
        third.namespace.sysctl(f"ipv6/conf/{scope}/dad_transmits", 1)

    def flags(nl: Any) -> int:
        for entry in nl.get_addr(index=index_of(nl, "eth0"), family=10):
            if entry.get_attr("IFA_ADDRESS") == VIP6:
                return int(entry.get_attr("IFA_FLAGS"))
        return 0

    third.netlink(lambda nl: nl.addr("add", index=index_of(nl, "eth0"), address=VIP6, prefixlen=64))
    try:
        wait_until(lambda: third.netlink(flags) & 0x08, "the address is found to be in use")
    finally:
        third.netlink(
            lambda nl: nl.addr("del", index=index_of(nl, "eth0"), address=VIP6, prefixlen=64)
        )


def arp_request(source: str, target: str, mac: str) -> bytes:
    sender, own = ip_address(source).packed, parse_mac(mac)
    body = bytes.fromhex("0001080006040001") + own + sender + bytes(6) + ip_address(target).packed
    return BROADCAST + own + b"\x08\x06" + body


@pytest.mark.parametrize(
    ("reason", "version"),
    [("other_host", 4), ("other_host", 6), ("oversized", 4), ("hop_limit", 6)],
)
def test_frames_that_are_dropped_and_counted(
    machines: dict[str, Machine], running: Speaker, reason: str, version: int
) -> None:
    client = machines["client"]
    arp = arp_request(client.ip, VIP, client.mac)
    vip, own = IPv6Address(VIP6), parse_mac(client.mac)
    group = solicited_node(vip)
    question = NeighborMessage(
        ICMPv6Type.SOLICITATION,
        IPv6Address(client.ip6),
        group,
        vip,
        own,
    )
    ndp = multicast_mac(group) + own + b"\x86\xdd" + encode(question)
    plain = arp if version == 4 else ndp
    frame = {
        "other_host": plain[:12] + b"\x81\x00\x00\x05" + plain[12:],
        "oversized": plain + bytes(3_000),
        "hop_limit": plain[:21] + b"\x40" + plain[22:],
    }[reason]
    if reason == "oversized":
        for machine in (client, machines["node"]):
            machine.link("eth0", mtu=9_000)
            machine.switch_port(mtu=9_000)
    before = dropped(running, reason)
    with client.raw(_ETH_P_ALL) as raw:
        raw.send(frame)
    wait_until(lambda: dropped(running, reason) == before + 1, f"counted as {reason}")


def test_filter_falls_back_when_the_kernel_has_no_room(
    machines: dict[str, Machine], tmp_path: Path
) -> None:
    third = machines["third"]
    third.namespace.sysctl("core/optmem_max", 2_000)
    ips = [f"10.77.9.{number}" for number in range(1, 250, 2)]
    ips += [f"198.51.100.{number}" for number in range(1, 250, 2)]
    source = manifests(tmp_path / "source", *ips)
    with speaker(third.host, source, log=tmp_path / "log") as running:
        running.wait_for("announce", ip=ips[-1])
        series = 'clarion_kernel_filter{family="ipv4",interface="eth0",level="prefixes"}'
        assert running.metric(series) == 1
        client = machines["client"]
        assert client.resolve(ips[100]) == third.mac


EXTRA: dict[str, dict[str, Any]] = {
    "macvlan": {"macvlan_mode": "bridge"},
    "vlan": {"vlan_id": 5},
}


@pytest.mark.parametrize("kind", ["macvlan", "bridge", "vlan", "bond"])
def test_kinds_of_links(machines: dict[str, Machine], tmp_path: Path, kind: str) -> None:
    """The speaker answers on such a link, and only there."""
    extra = EXTRA.get(kind, {})
    if not has_kind(kind, **extra):
        pytest.skip(f"this kernel has no {kind} links")
    with dualstack("client", "node") as pair:
        node, client = pair["node"], pair["client"]
        name, mac = "odd0", "02:00:00:00:00:dd"
        build_link(node, kind, name, mac, extra)
        if kind == "vlan":
            build_link(client, kind, name, client.mac, extra)
            client.netlink(
                lambda nl: nl.addr(
                    "add", index=index_of(nl, name), address="198.51.100.7", prefixlen=24
                )
            )
        vip = OUTSIDE if kind == "vlan" else VIP
        source = manifests(tmp_path / "source", vip)
        with speaker(node.host, source, log=tmp_path / "log") as running:
            running.wait_for("interface", interface=name, state="answering")
            running.wait_for("ready")
            macs = {client.resolve(vip) for _ in range(3)}
            assert mac in macs or kind == "macvlan"


_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def test_a_tap_link(machines: dict[str, Machine], running: Speaker) -> None:
    """The other end of a tap is a program, here this test with a question in its hand."""
    node = machines["node"]

    def make() -> int:
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"tap9", _IFF_TAP | _IFF_NO_PI))
        return tap

    tap = node.namespace.run(make)
    try:
        node.link("tap9", address="02:00:00:00:00:cc", state="up")
        running.wait_for("interface", interface="tap9", state="answering")
        os.write(tap, arp_request("10.77.0.99", VIP, "02:00:00:00:00:99"))
        os.set_blocking(tap, False)
        is_answer = bytes.fromhex("0200000000990200000000cc0806")
        wait_until(lambda: next_frame(tap).startswith(is_answer), "an answer on the tap")
    finally:
        os.close(tap)


def next_frame(tap: int) -> bytes:
    try:
        return os.read(tap, 2048)
    except BlockingIOError:
        return b""


def build_link(machine: Machine, kind: str, name: str, mac: str, extra: dict[str, Any]) -> None:
    def build(nl: Any) -> None:
        base = index_of(nl, "eth0")
        more = {"link": base} if kind in ("macvlan", "vlan") else {}
        nl.link("add", ifname=name, kind=kind, address=mac, **more, **extra)
        index = index_of(nl, name)
        if kind in ("bridge", "bond"):
            nl.link("set", index=base, master=index)
        nl.link("set", index=index, address=mac, state="up")

    machine.netlink(build)


def test_a_switch_that_snoops_passes_questions_on(tmp_path: Path) -> None:
    """With a querier, solicitations reach only ports that joined the group of the IP."""
    with dualstack("client", "node", "third", snooping=True) as made:
        client, node, third = made["client"], made["node"], made["third"]
        source = manifests(tmp_path / "source", VIP6)
        with speaker(node.host, source, log=tmp_path / "log") as running:
            running.wait_for("ready")
            time.sleep(4.0)
            with third.raw(0x86DD) as ear:
                ear.settimeout(0.3)
                assert client.resolve(VIP6) == node.mac
                heard = []
                try:
                    while True:
                        heard.append(ear.recv(2048))
                except TimeoutError:
                    pass
            group = multicast_mac(solicited_node(IPv6Address(VIP6)))
            # Else this bridge does not snoop, and the test proves nothing.
            assert group not in [frame[:6] for frame in heard]
            node.link("eth0", state="down")
            node.link("eth0", state="up")
            wait_until(lambda: client.resolve(VIP6) == node.mac, "an answer after the flap")


@pytest.mark.parametrize("uid", [0, 65534])
def test_with_one_capability_and_nothing_to_write(
    machines: dict[str, Machine], tmp_path: Path, uid: int
) -> None:
    """The pod's rights: NET_RAW alone, no new privileges, read-only root."""
    third = machines["third"]
    third.namespace.sysctl("core/optmem_max", 131_072)
    # Of its own, for the speaker of `node` answers for the others and may always be the first.
    ips = ("10.77.9.8", "2001:db8:77::9:8")
    source = manifests(tmp_path / "source", *ips)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    run = [sys.executable, "-m", "speaker", "--source", str(source), "--node-name", "third"]
    rights = ["--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw"]
    drop = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights]
    drop += ["--bounding-set=-all,+net_raw", "--no-new-privs"]
    script = 'mount -o remount,ro,bind / && ! touch /x 2>/dev/null && exec setpriv "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", *drop, *run, "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = third.namespace.start(command, stdout=output.fileno(), stderr=subprocess.STDOUT)
    try:
        running = Speaker(process, log, third.host)
        running.wait_for("ready")
        assert [machines["client"].resolve(ip) for ip in ips] == [third.mac] * 2
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("ip", ["10.77.9.7", "2001:db8:77::9:7"])
def test_a_client_that_we_ask_confirms_its_move(
    machines: dict[str, Machine], tmp_path: Path, ip: str
) -> None:
    """Its answer goes to the service IP and is about itself: the kernel filter lets it through."""
    node, client = machines["third"], machines["client"]
    with speaker(node.host, manifests(tmp_path / "source", ip), log=tmp_path / "log") as started:
        started.wait_for("ready")
        assert client.resolve(ip) == node.mac
        node.switch_port(state="down")
        time.sleep(0.3)
        node.switch_port(state="up")
        series = "clarion_takeover_confirmed_seconds_count"
        wait_until(lambda: started.metric(series), "the client has confirmed", 10)
