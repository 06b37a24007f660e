"""The table of frames and neighbour states, against the kernel of this machine as the client.

If a row fails on some kernel, the order of our announcement frames must be thought over.
"""

import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest

from dualstack import FAILED, PROBE, REACHABLE, STALE, Machine, dualstack
from link.interface import Interface
from link.mac import parse_mac
from netns import missing_right
from ownership.announcing.frames import build
from ownership.io import Announcement, Client, Form
from speakers import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]

OLD_OWNER, NEW_OWNER = "02:00:00:00:00:aa", "02:00:00:00:00:bb"
LOCKTIME = 1.0
NODE = Interface(
    2,
    "eth0",
    parse_mac(NEW_OWNER),
    up=True,
    carrier=True,
    broadcast=True,
    noarp=False,
    addresses=frozenset({ip_interface("fe80::bb/64")}),
)

YOUNG = {"young reachable": REACHABLE, "young stale": STALE, "young probe": PROBE}
OLD = {"old reachable": REACHABLE, "old stale": STALE}
MOVES = {**dict.fromkeys([*YOUNG, *OLD], True), "none": False}
EXPECTED = {
    Form.REQUEST: MOVES,
    Form.REPLY: MOVES,
    Form.REPLY_TO_ALL: {**MOVES, **dict.fromkeys(YOUNG, False)},
    Form.TO_CLIENT: {**MOVES, "none": True},
}
EXPECTED6 = {
    Form.ADVERTISEMENT: MOVES,
    Form.TO_CLIENT: {**MOVES, "none": True, "failed": True},
}


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, Machine]]:
    with dualstack("client", "node") as made:
        yield made


def outcomes(machines: dict[str, Machine], form: Form, version: int) -> dict[str, bool]:
    """For each state of an entry: does one such frame put the new owner's MAC into it?"""
    client, node = machines["client"], machines["node"]
    states = EXPECTED[form] if version == 4 else EXPECTED6[form]
    start = 100 + 10 * list(Form).index(form)
    ips = {state: f"10.77.9.{start + n}" for n, state in enumerate(states)}
    if version == 6:
        ips = {state: f"2001:db8:77::9:{start + n:x}" for n, state in enumerate(states)}
    last = "10.77.9.250" if version == 4 else "2001:db8:77::9:250"
    client.set_neighbour(last, OLD_OWNER, STALE)
    for state, nud in OLD.items():
        client.set_neighbour(ips[state], OLD_OWNER, nud)
    time.sleep(LOCKTIME + 0.2)
    for state, nud in YOUNG.items():
        client.set_neighbour(ips[state], OLD_OWNER, nud)
    if "failed" in ips:
        client.set_neighbour(ips["failed"], OLD_OWNER, FAILED)
    with node.raw(0x0806 if version == 4 else 0x86DD) as raw:
        for ip in ips.values():
            raw.send(build(announcement(client, form, ip)))
        # Frames are read in their order: the last one is of a kind that moves any entry.
        raw.send(build(announcement(client, Form.REQUEST if version == 4 else form, last)))
    wait_until(lambda: client.neighbour(last)[0] == NEW_OWNER, "all frames are read")
    return {state: client.neighbour(ip)[0] == NEW_OWNER for state, ip in ips.items()}


def announcement(client: Machine, form: Form, ip: str) -> Announcement:
    mac = parse_mac(client.mac)
    if ":" in ip:
        to = Client(IPv6Address(client.ip6), mac) if form is Form.TO_CLIENT else None
        return Announcement(IPv6Address(ip), NODE, form, to)
    to = Client(IPv4Address(client.ip), mac) if form is Form.TO_CLIENT else None
    return Announcement(IPv4Address(ip), NODE, form, to)


@pytest.mark.parametrize("form", list(EXPECTED))
def test_ipv4(machines: dict[str, Machine], form: Form) -> None:
    assert outcomes(machines, form, 4) == EXPECTED[form]


@pytest.mark.parametrize("form", list(EXPECTED6))
def test_ipv6(machines: dict[str, Machine], form: Form) -> None:
    assert outcomes(machines, form, 6) == EXPECTED6[form]
