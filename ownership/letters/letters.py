"""What Clarion speakers tell each other straight, besides memberlist's gossip. Pure.

The courier (`courier`) carries them: it proves the sender, refuses what is repeated, and
names the life of the node that a letter is about, and that of the one it is sent to.

| kind      | about    | to            | says |
|-----------|----------|---------------|------|
| BEAT      | sender   | its watchers  | my process runs (empty) |
| HELLO     | sender   | all           | these are my links: name, MAC, addresses |
| MISSING   | the node | all           | I miss it: its kernel on a link, or its process |
| GONE      | the node | all           | two of us miss it: the heirs may take over |
| HEAR      | sender   | who is silent | do you hear me? (empty) |
| HEARD     | sender   | who asked     | I do (empty) |
| BACK      | the node | itself        | it was gone, and is back: its link, or its process |
| YOURS     | sender   | the winner    | I answer for these IPs until I hear you |
| QUIET     | sender   | the winner    | the same; and I took them quietly from a dead node |
| ASK       | sender   | a node        | do you answer for these IPs? |
| MINE      | sender   | who asked     | I answer for these IPs |
| DENY      | sender   | who asked     | I do not answer for these IPs |
| SUBNETS    | sender   | all           | I ask over routers, and stand in these subnets |
| FAR_MISSING | the node | all         | I miss its machine, and not on one link alone (empty) |
| FAR_GONE  | the node | all           | two of us miss it (empty) |
| FAR_BACK  | the node | all           | it was gone, and has answered me (empty) |

The last four are for speakers that announce by BGP. Earlier versions refuse and count them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from link.address import IPAddress
from ownership.letters.courier import MAX_PAYLOAD

MOST_LINKS = 8
MOST_ADDRESSES = 4
"""How many links of a node, and addresses of a link, others are told."""
IPS_A_LETTER = 24
QUIET_LINKS, QUIET_IPS = 2, 4
"""Links of a dead node, and IPs of it, in one letter beside its name of up to 253 bytes."""
MOST_SUBNETS, MOST_GATEWAYS = 8, 2
"""How many subnets of a node, and gateways in each, others are told."""
_MAC = 6
_LONGEST_NAME = 15
"""IFNAMSIZ without its last zero."""


class LetterKind(IntEnum):
    """The third byte of a letter."""

    BEAT = 1
    HELLO = 2
    MISSING = 3
    GONE = 4
    YOURS = 5
    MINE = 6
    QUIET = 7
    ASK = 8
    DENY = 9
    BACK = 10
    HEAR = 11
    HEARD = 12
    SUBNETS = 13
    FAR_MISSING = 14
    FAR_GONE = 15
    FAR_BACK = 16


ABOUT_IPS = frozenset(
    {LetterKind.YOURS, LetterKind.QUIET, LetterKind.ASK, LetterKind.MINE, LetterKind.DENY}
)
ANSWERS = frozenset({LetterKind.HEARD, LetterKind.MINE, LetterKind.DENY})
"""Letters that are sent only to who has asked for them."""
FAR = frozenset(
    {LetterKind.SUBNETS, LetterKind.FAR_MISSING, LetterKind.FAR_GONE, LetterKind.FAR_BACK}
)
"""What witnesses that ask over routers tell each other."""


class LetterError(ValueError):
    """A payload that is none; the one exception that the readers below raise."""


@dataclass(frozen=True, slots=True)
class PeerLink:
    """A link on which a node announces: `mac` of 6 bytes, lowest addresses first."""

    name: str
    mac: bytes
    ips: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """The links of a node; `asks`: please tell me yours."""

    links: tuple[PeerLink, ...]
    asks: bool = False


def encode_hello(hello: Hello) -> bytes:
    """Write `asks`, then each link: name, MAC, addresses, all but the MAC by length.

    Many links with long names get fewer addresses each, so that all fit into one letter.
    """
    for most in range(MOST_ADDRESSES, 0, -1):
        written = bytes([hello.asks]) + b"".join(
            _link(link, most) for link in hello.links[:MOST_LINKS]
        )
        if len(written) <= MAX_PAYLOAD:
            break
    return written


def _link(link: PeerLink, most: int) -> bytes:
    ips = link.ips[:most]
    head = _counted(link.name.encode()) + link.mac + bytes([len(ips)])
    return head + b"".join(_counted(ip.packed) for ip in ips)


def decode_hello(payload: bytes) -> Hello:
    """Read it; raise LetterError."""
    reader = _FieldReader(payload)
    asks, links = reader.number(), list[PeerLink]()
    while reader.more():
        if len(links) == MOST_LINKS:
            raise LetterError("too many links")
        name, mac, count = reader.name(), reader.take(_MAC), reader.number()
        if count > MOST_ADDRESSES:
            raise LetterError("too many addresses")
        links.append(PeerLink(name, mac, tuple(reader.ip() for _ in range(count))))
    return Hello(tuple(links), bool(asks))


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet in which a node stands, and its default gateways there."""

    network: IPv4Network | IPv6Network
    gateways: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a node stands that asks over routers, empty: it does no more; `asks`: please tell me
    where you do."""

    subnets: tuple[Subnet, ...] = ()
    asks: bool = False


def encode_whereabouts(told: Whereabouts) -> bytes:
    """Write `asks`, then each subnet: prefix length, address, gateways, all addresses by length."""
    return bytes([told.asks]) + b"".join(map(_subnet, told.subnets[:MOST_SUBNETS]))


def _subnet(subnet: Subnet) -> bytes:
    network, gateways = subnet.network, subnet.gateways[:MOST_GATEWAYS]
    head = bytes([network.prefixlen]) + _counted(network.network_address.packed)
    return head + bytes([len(gateways)]) + b"".join(_counted(ip.packed) for ip in gateways)


def decode_whereabouts(payload: bytes) -> Whereabouts:
    """Read it; raise LetterError, also where a gateway is not in its subnet."""
    reader = _FieldReader(payload)
    asks, subnets = reader.number(), list[Subnet]()
    while reader.more():
        if len(subnets) == MOST_SUBNETS:
            raise LetterError("too many subnets")
        network, count = reader.network(), reader.number()
        if count > MOST_GATEWAYS:
            raise LetterError("too many gateways")
        gateways = tuple(reader.ip() for _ in range(count))
        if not all(ip in network for ip in gateways):
            raise LetterError("a gateway elsewhere")
        subnets.append(Subnet(network, gateways))
    return Whereabouts(tuple(subnets), bool(asks))


@dataclass(frozen=True, slots=True)
class Quiet:
    """IPs that were taken over without a word from a node whose process died; and its links, as the
    reader may never have known it."""

    owner: str
    links: tuple[PeerLink, ...]
    ips: frozenset[IPAddress]


def encode_quiet(quiet: Quiet) -> Iterator[bytes]:
    """Write owner, links and some of the IPs, as many payloads as they need."""
    links = encode_hello(Hello(quiet.links[:QUIET_LINKS]))
    head = _counted(quiet.owner.encode()) + _counted(links)
    for part in encode_ips(sorted(quiet.ips, key=lambda ip: ip.packed), QUIET_IPS):
        yield head + part


def decode_quiet(payload: bytes) -> Quiet:
    """Read one payload; raise LetterError."""
    reader = _FieldReader(payload)
    owner = _text(reader.take(reader.number()))
    links = decode_hello(reader.take(reader.number())).links
    return Quiet(owner, links, decode_ips(reader.rest()))


def encode_link_name(name: str) -> bytes:
    """Write which link of a node is missed; empty: its process."""
    return name.encode()


def decode_link_name(payload: bytes) -> str:
    """Read it; raise LetterError."""
    if len(payload) > _LONGEST_NAME:
        raise LetterError("a name too long")
    return _text(payload)


def encode_ips(ips: Iterable[IPAddress], most: int = IPS_A_LETTER) -> Iterator[bytes]:
    """Write IPs, as many payloads of at most so many as they need."""
    parts = [_counted(ip.packed) for ip in ips]
    for start in range(0, len(parts), most):
        yield b"".join(parts[start : start + most])


def decode_ips(payload: bytes) -> frozenset[IPAddress]:
    """Read one payload of IPs; raise LetterError."""
    reader, ips = _FieldReader(payload), set()
    while reader.more():
        ips.add(reader.ip())
    return frozenset(ips)


def _counted(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise LetterError("no UTF-8") from error


class _FieldReader:
    """Takes fields off the front of a payload."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise LetterError("truncated")
        taken, self._at = self._data[self._at : end], end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def number(self) -> int:
        return self.take(1)[0]

    def name(self) -> str:
        return decode_link_name(self.take(self.number()))

    def network(self) -> IPv4Network | IPv6Network:
        prefix, packed = self.number(), self.take(self.number())
        try:
            found = ip_network((packed, prefix))
        except ValueError as error:
            raise LetterError("no subnet") from error
        if not prefix:
            raise LetterError("a subnet of everything")
        return found

    def ip(self) -> IPAddress:
        packed = self.take(self.number())
        try:
            return ip_address(packed)
        except ValueError as error:
            raise LetterError("no address") from error
