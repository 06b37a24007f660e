"""Asks other kernels by ICMP echo, and one link of this node by another. A driver."""

import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address
from itertools import permutations

from clarion.doctor.reach import PeerReach, ProbeAnswer
from link.echo_socket import EchoSocket
from link.interface import Interface

ROUNDS = 4
ROUND = 0.3
"""Seconds."""
MOST_LINKS = 16
"""Between which frames are sent: each to each."""
EXPERIMENTAL = 0x88B5
"""An EtherType for local experiments (IEEE 802, 9.2.3), which nobody else listens to."""
_OUTGOING = 4
_LONGEST = 64
_REPLIES_AT_ONCE = 256


def echo_all(
    peers: Sequence[PeerReach], links: Iterable[Interface], identifier: int, token: bytes
) -> tuple[PeerReach, ...]:
    """Return the peers with whether they answered; those on no link of ours are left alone.

    Raises PermissionError without CAP_NET_RAW, OSError where a link has just gone.
    """
    answered: set[str] = set()
    asked: set[str] = set()
    for link in links:
        for version in (4, 6):
            its = [peer.ip for peer in peers if _is_neighbour(link, peer.ip, version)]
            if its:
                asked.update(its)
                answered |= _echo(link.name, version, its, identifier, token)
    found = {ip: ProbeAnswer.ANSWERED if ip in answered else ProbeAnswer.SILENT for ip in asked}
    return tuple(replace(peer, echo=found.get(peer.ip)) for peer in peers)


def _is_neighbour(link: Interface, ip: str, version: int) -> bool:
    address = ip_address(ip)
    return address.version == version and link.reaches(address)


def _echo(link: str, version: int, ips: list[str], identifier: int, token: bytes) -> set[str]:
    answered: set[str] = set()
    used = EchoSocket(link, version)
    try:
        for sequence in range(1, ROUNDS + 1):
            for ip in set(ips) - answered:
                used.send(ip, identifier, sequence, token)
            end = time.monotonic() + ROUND
            while answered < set(ips) and _wait([used.fileno()], end):
                for source, reply in used.receive(_REPLIES_AT_ONCE):
                    if reply.payload == token:
                        answered.add(source)
            if answered >= set(ips):
                break
    finally:
        used.close()
    return answered


def _wait(sockets: list[int], end: float) -> list[int]:
    """Return those that can be read, none once it is `end`."""
    left = end - time.monotonic()
    return select.select(sockets, [], [], left)[0] if left > 0 else []


def heard_links(links: Sequence[Interface], token: bytes) -> frozenset[tuple[str, str]] | None:
    """Return the pairs of links (speaking, hearing) in one segment; None: too many to try.

    Raises PermissionError without CAP_NET_RAW, OSError where a link has just gone.
    """
    if len(links) > MOST_LINKS:
        return None
    with ExitStack() as stack:
        sockets = {link.name: stack.enter_context(_frames(link.name)) for link in links}
        for one, other in permutations(links, 2):
            if one.mac != other.mac:
                frame = other.mac + one.mac + EXPERIMENTAL.to_bytes(2, "big")
                sockets[one.name].send(frame + token + one.name.encode(errors="replace")[:15])
        return frozenset(_heard(sockets, token))


def _frames(link: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        made.bind((link, EXPERIMENTAL))
    except OSError:
        made.close()
        raise
    return made


def _heard(sockets: dict[str, socket.socket], token: bytes) -> Iterator[tuple[str, str]]:
    end = time.monotonic() + ROUND
    names = {used.fileno(): name for name, used in sockets.items()}
    while ready := _wait(list(names), end):
        for descriptor in ready:
            hearing = names[descriptor]
            data, source = sockets[hearing].recvfrom(_LONGEST)
            said = data[14:]
            if source[2] != _OUTGOING and said.startswith(token):
                speaking = said[len(token) :].rstrip(b"\0").decode(errors="replace")
                yield speaking, hearing
