"""Names and numbers of the lab's one segment: 10.77.0.0/16, and 2001:db8:77::/64 for IPv6.

Light: the instruments import it.
"""

PREFIX = 16
PREFIX6 = 64
CLIENT_IP = "10.77.0.2"
OBSERVER_IP = "10.77.0.3"
# The observer asks from an address that its kernel knows nothing of: what is answered to it must
# not refresh the kernel's own entries.
ASKER_IP, ASKER_IP6 = "10.77.0.4", "2001:db8:77::4"
BRIDGE = "br0"
LINK = "eth0"
ECHO_PORT = 9000
# Where no backend listens.
DISCARD_PORT = 9
GOSSIP_PORT = 7946
MOST_NODES = 50
MOST_SERVICES = 1000
# So many services cannot all be watched as closely as a few without the watching itself taking the
# processors that the speakers need.
MANY = 50
# IFA_F_NODAD of linux/if_addr.h. Without it an address of IPv6 cannot be bound to before a worker
# of the kernel has run, even where nobody is asked for duplicates (accept_dad 0): on a busy machine
# that can be later than whoever binds.
AT_ONCE = 0x02
GOSSIP_BRIDGE = "br1"
GOSSIP_LINK = "eth1"
# What a daemon such as keepalived moves between nodes: below all of their own addresses.
FLOATING_IP, FLOATING_IP6 = "10.77.0.5", "2001:db8:77::5"
# The storm asks from an address of its own, about addresses that nobody has.
STORM_IP, STORM_IP6 = "10.77.0.9", "2001:db8:77::9"


def node_name(number: int) -> str:
    """The name of node `number`, from 1."""
    return f"node-{number}"


def node_ip(number: int) -> str:
    """The address of node `number`, from 1."""
    return f"10.77.0.{10 + number}"


def moved_ip(number: int, times: int) -> str:
    """What node `number` is called after so many changes of its address."""
    return f"10.77.{240 + times % 10}.{10 + number}"


def ip6(number: int) -> str:
    """The IPv6 address of the machine whose IPv4 address ends in `number`."""
    return f"2001:db8:77::{number:x}"


def service_ip(number: int, family: int = 4) -> str:
    """Candidate service IP `number`, from 0; clear of .0 and .255."""
    if family == 6:
        return f"2001:db8:77::1:{1 + number:x}"
    return f"10.77.{1 + number // 250}.{1 + number % 250}"


def gossip_ip(number: int) -> str:
    """Where node `number` gossips if that has a segment of its own."""
    return f"10.78.0.{10 + number}"


def stranger(number: int, family: int = 4) -> str:
    """Address `number` of a thousand that nobody has."""
    if family == 6:
        return f"2001:db8:77::2:{1 + number:x}"
    return f"10.77.{200 + number // 250}.{1 + number % 250}"
