"""Names and numbers of the routed network: nodes and routers on one segment, a client behind it.

Light: the instruments import it.
"""

from ipaddress import ip_address

NODES_LINK, CLIENT_LINK = "eth0", "eth1"
"""Of a router: towards the nodes, and towards the client."""
PREFIX, PREFIX6 = 24, 64
CLIENT_PREFIX, CLIENT_PREFIX6 = 24, 64
SERVICES, SERVICES6 = "10.100.0.0/16", "2001:db8:100::/48"
MOST_NODES, MOST_ROUTERS = 8, 2
ROUTER_AS, NODE_AS = 64501, 64512
ANSWER_PORT = 9000
FLOWS, FIRST_PORT = 128, 20_000
FLOW_RATE = 10
"""Questions a second and flow."""


def router_ip(number: int, family: int = 4) -> str:
    """Where router `number`, from 1, is on the nodes' segment."""
    return f"10.88.0.{number}" if family == 4 else f"2001:db8:88::{number:x}"


def uplink_ip(number: int, family: int = 4) -> str:
    """Where router `number` is on its link to the client."""
    return f"10.89.{number}.1" if family == 4 else f"2001:db8:89:{number:x}::1"


def client_ip(number: int, family: int = 4) -> str:
    """Where the client is on its link to router `number`."""
    return f"10.89.{number}.2" if family == 4 else f"2001:db8:89:{number:x}::2"


def home_ip(family: int = 4) -> str:
    """The client's own address, from which it asks by way of any router."""
    return "10.89.0.1" if family == 4 else "2001:db8:89::1"


def node_ip(number: int, family: int = 4) -> str:
    """Where node `number`, from 1, is on the segment."""
    return f"10.88.0.{10 + number}" if family == 4 else f"2001:db8:88::{10 + number:x}"


def service_ip(number: int, family: int = 4) -> str:
    """Service IP `number`, from 0."""
    if family == 6:
        return f"2001:db8:100::{1 + number:x}"
    return f"10.100.{number // 250}.{1 + number % 250}"


def mac(kind: int, number: int) -> str:
    """The MAC of a machine: kind 1 are routers, 2 nodes."""
    return f"02:00:00:00:{kind:02x}:{number:02x}"


def link_local(address: str) -> str:
    """The address that a link makes of its MAC (RFC 4291, appendix A)."""
    parts = [int(part, 16) for part in address.split(":")]
    first = parts[0] ^ 2
    words = (first << 8 | parts[1], parts[2] << 8 | 0xFF, 0xFE << 8 | parts[3])
    last = parts[4] << 8 | parts[5]
    return str(ip_address("fe80::" + ":".join(f"{word:x}" for word in (*words, last))))


def prefix(ip: str) -> str:
    """The prefix of one service IP."""
    return f"{ip}/{128 if ':' in ip else 32}"
