"""What is dropped on purpose, as nftables rules: by the switch, and by the nodes' own firewalls.

On the switch only the families `bridge` and `netdev` see every frame; `inet` and `arp` never see
what a packet socket sent. A rule of its own for each direction: what comes out of a port, what goes
into it.
"""

import subprocess

from netnslab.errors import LabError
from netnslab.machines.addresses import GOSSIP_PORT
from netnslab.machines.namespaces import NetworkNamespace

TABLE = "lab"
_ECHO_REQUESTS = ("icmp type echo-request", "icmpv6 type echo-request")
_ECHO_REPLIES = ("icmp type echo-reply", "icmpv6 type echo-reply")


def silent_port(port: str) -> str:
    """Lose every frame from and to one port; its carrier stays."""
    return _both(f'iifname "{port}" drop;', f'oifname "{port}" drop;')


def deaf_port(port: str) -> str:
    """Lose every frame to one port; what it sends gets through."""
    return _both("", f'oifname "{port}" drop;')


def mute_port(port: str) -> str:
    """Lose every frame from one port; what is sent to it gets through."""
    return _both(f'iifname "{port}" drop;', "")


def one_way(port: str, other: str) -> str:
    """Lose what goes from one port to one other; the way back is good, and all others are."""
    # Where a frame leaves the switch, its rules no longer know where it came from.
    hook = "type filter hook forward priority -300;"
    drop = f'iifname "{port}" oifname "{other}" drop;'
    return f"table bridge {TABLE} {{\n chain between {{ {hook} {drop} }}\n}}\n"


def pause() -> str:
    """Forward nothing at all."""
    return _both("drop;", "")


def lossy(percent: float) -> str:
    """Lose that share of all frames into, and again out of, every port."""
    chance = f"numgen random mod 1000 < {round(percent * 10)} drop;"
    return _both(chance, chance)


def no_gossip() -> str:
    """Lose gossip between all nodes, by UDP and by TCP."""
    both = "meta l4proto { tcp, udp } th"
    ports = f"{both} dport {GOSSIP_PORT} drop; {both} sport {GOSSIP_PORT} drop;"
    return _both(ports, "")


def no_echo_requests() -> str:
    """A node's firewall that answers no echo request."""
    return _firewall("input", "".join(f"{what} drop; " for what in _ECHO_REQUESTS))


def no_echo_replies() -> str:
    """A node's firewall that lets no echo reply out."""
    return _firewall("output", "".join(f"{what} drop; " for what in _ECHO_REPLIES))


def few_echo_requests(each_second: int) -> str:
    """A node's firewall that answers so many echo requests a second, whoever sends them."""
    limit = f"limit rate over {each_second}/second drop; "
    return _firewall("input", "".join(f"{what} {limit}" for what in _ECHO_REQUESTS))


def network_policy() -> str:
    """The guide's NetworkPolicy for the speakers, where a network plugin enforces it on the host.

    It lists what may come in, which is gossip, and nothing that may go out: no dialling, no echo
    request, no question by UDP. Only what a node's speaker itself sends is meant: what answers for
    services, and the kernel, are no pods of the speaker.
    """
    out = "".join(f"{what} drop; " for what in _ECHO_REQUESTS)
    return _firewall("output", f"meta l4proto {{ tcp, udp }} th dport {GOSSIP_PORT} drop; {out}")


def no_arp_for(ips: list[str]) -> str:
    """A node's kernel hears no ARP question for these service IPs; packet sockets do."""
    hook = "type filter hook input priority 0;"
    drop = f"arp daddr ip {{ {', '.join(ips)} }} drop;"
    return f"table arp {TABLE} {{\n chain own {{ {hook} {drop} }}\n}}\n"


def _firewall(hook: str, rules: str) -> str:
    chain = f"type filter hook {hook} priority -200; {rules}"
    return f"table inet {TABLE} {{\n chain own {{ {chain}}}\n}}\n"


def _both(incoming: str, outgoing: str) -> str:
    hook = "type filter hook {} priority -300;"
    return (
        f"table bridge {TABLE} {{\n"
        f" chain incoming {{ {hook.format('prerouting')} {incoming} }}\n"
        f" chain outgoing {{ {hook.format('postrouting')} {outgoing} }}\n"
        "}\n"
    )


def load(where: NetworkNamespace, rules: str) -> None:
    """Put rules in force in the namespace of the switch or of a node. Raises LabError."""
    _nft(where, rules)


def clear(where: NetworkNamespace) -> None:
    """Take all rules of `load` away; nothing where there are none. Raises LabError."""
    # Declaring first makes the deletion succeed whether or not the table was there.
    tables = (f"{family} {TABLE}" for family in ("bridge", "inet", "arp"))
    _nft(where, "".join(f"table {table}\ndelete table {table}\n" for table in tables))


def _nft(where: NetworkNamespace, script: str) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, check=False
        )

    try:
        done = where.run(run)
    except FileNotFoundError:
        raise LabError("this scenario needs nft: install the package nftables") from None
    if done.returncode != 0:
        raise LabError(f"nft refused a rule: {done.stderr.strip().splitlines()[0]}")
