"""Default gateways out of rtnetlink messages: built by hand, and by the kernel of the machine."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from link.netlink import route
from link.netlink.messages import NLMSG_DONE
from link.netlink.route import RTM_DELROUTE, RTM_NEWROUTE, RouteMessage, messages

GATEWAY, GATEWAY6 = IPv4Address("192.0.2.1"), IPv6Address("fe80::1")
V4, V6 = socket.AF_INET, socket.AF_INET6
MAIN, LOCAL = 254, 255
UNICAST, BLACKHOLE = 1, 6
OIF, VIA, MULTIPATH = 4, 5, 9


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data.ljust(len(data) + 3 & ~3, b"\0")


def message(
    *attributes: bytes,
    kind: int = RTM_NEWROUTE,
    family: int = V4,
    prefix: int = 0,
    table: int = MAIN,
    type_: int = UNICAST,
) -> bytes:
    body = struct.pack("=BBBBBBBBI", family, prefix, 0, 0, table, 3, 0, type_, 0)
    body += b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def link(index: int) -> bytes:
    return attribute(OIF, struct.pack("=i", index))


def via(address: IPv4Address | IPv6Address) -> bytes:
    return attribute(VIA, address.packed)


def hop(index: int, address: IPv4Address | IPv6Address) -> bytes:
    inner = via(address)
    return struct.pack("=HBBi", 8 + len(inner), 0, 0, index) + inner


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (message(link(2), via(GATEWAY)), ((2, GATEWAY),)),
        (message(via(GATEWAY), link(2)), ((2, GATEWAY),)),
        (message(link(2), via(GATEWAY6), family=V6), ((2, GATEWAY6),)),
        (
            message(attribute(MULTIPATH, hop(2, GATEWAY) + hop(3, GATEWAY))),
            ((2, GATEWAY), (3, GATEWAY)),
        ),
        (message(link(2)), ()),
        (message(via(GATEWAY)), ()),
        (message(link(2), via(GATEWAY), prefix=8), ()),
        (message(link(2), via(GATEWAY), table=LOCAL), ()),
        (message(link(2), via(GATEWAY), type_=BLACKHOLE), ()),
        (message(link(2), via(GATEWAY6)), ()),
        (message(link(2), via(GATEWAY), family=socket.AF_PACKET), ()),
    ],
)
def test_which_routes_are_default_gateways(
    data: bytes, found: tuple[tuple[int, IPv4Address | IPv6Address], ...]
) -> None:
    assert list(messages(data)) == [RouteMessage(RTM_NEWROUTE, found)]


def test_several_messages_in_one_datagram() -> None:
    gone = message(link(2), via(GATEWAY), kind=RTM_DELROUTE)
    done = struct.pack("=IHHIII", 20, NLMSG_DONE, 2, 1, 0, 0)
    found = list(messages(gone + done))
    assert found == [RouteMessage(RTM_DELROUTE, ((2, GATEWAY),)), RouteMessage(NLMSG_DONE)]


def test_a_cut_message_ends_the_datagram_and_nothing_else() -> None:
    whole = message(link(2), via(GATEWAY))
    for length in range(len(whole)):
        assert list(messages(whole + whole[:length])) == list(messages(whole))


def test_lengths_that_lie_are_survived() -> None:
    whole = message(attribute(MULTIPATH, hop(2, GATEWAY)))
    for at in range(len(whole)):
        for value in (0, 1, 3, 255):
            data = whole[:at] + bytes((value,)) + whole[at + 1 :]
            assert len(list(messages(data))) <= 2


def test_the_kernel_understands_the_question() -> None:
    """Dumping routes needs no privilege; what comes ends in DONE."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(5.0)
        asked.send(route.dump_request(7))
        kinds: list[int] = []
        while NLMSG_DONE not in kinds:
            kinds += [found.type for found in messages(asked.recv(1 << 17))]
    assert set(kinds) <= {RTM_NEWROUTE, NLMSG_DONE}
