"""Names and numbers of the lab's one segment, 10.77.0.0/16. Light: the instruments import it."""

PREFIX = 16
CLIENT_IP = "10.77.0.2"
OBSERVER_IP = "10.77.0.3"
BRIDGE = "br0"
LINK = "eth0"
ECHO_PORT = 9000
MOST_NODES = 50
MOST_SERVICES = 1000


def node_name(number: int) -> str:
    """The name of node `number`, from 1."""
    return f"node-{number}"


def node_ip(number: int) -> str:
    """The address of node `number`, from 1."""
    return f"10.77.0.{10 + number}"


def service_ip(number: int) -> str:
    """Candidate service IP `number`, from 0; clear of .0 and .255."""
    return f"10.77.{1 + number // 250}.{1 + number % 250}"
