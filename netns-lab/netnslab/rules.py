"""What the switch drops on purpose, as nftables rules of the family `bridge`.

Only the families `bridge` and `netdev` see every frame; `inet` and `arp` never see what a packet
socket sent. A rule of its own for each direction: what comes out of a port, what goes into it.
"""

import subprocess

from netnslab.addresses import GOSSIP_PORT
from netnslab.errors import LabError
from netnslab.namespaces import Namespace

TABLE = "lab"


def silent_port(port: str) -> str:
    """Loses every frame from and to one port; its carrier stays."""
    return _both(f'iifname "{port}" drop;', f'oifname "{port}" drop;')


def paused() -> str:
    """Forwards nothing at all."""
    return _both("drop;", "")


def lossy(percent: float) -> str:
    """Loses that share of all frames into, and again out of, every port."""
    chance = f"numgen random mod 1000 < {round(percent * 10)} drop;"
    return _both(chance, chance)


def no_gossip() -> str:
    """Loses gossip between all nodes, by UDP and by TCP."""
    both = "meta l4proto { tcp, udp } th"
    ports = f"{both} dport {GOSSIP_PORT} drop; {both} sport {GOSSIP_PORT} drop;"
    return _both(ports, "")


def _both(incoming: str, outgoing: str) -> str:
    hook = "type filter hook {} priority -300;"
    return (
        f"table bridge {TABLE} {{\n"
        f" chain incoming {{ {hook.format('prerouting')} {incoming} }}\n"
        f" chain outgoing {{ {hook.format('postrouting')} {outgoing} }}\n"
        "}\n"
    )


def load(switch: Namespace, rules: str) -> None:
    """Puts rules in force in the switch's namespace. Raises LabError."""
    _nft(switch, rules)


def clear(switch: Namespace) -> None:
    """Takes all rules of `load` away; nothing where there are none. Raises LabError."""
    # Declaring first makes the deletion succeed whether or not the table was there.
    _nft(switch, f"table bridge {TABLE}\ndelete table bridge {TABLE}\n")


def _nft(switch: Namespace, script: str) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, check=False
        )

    try:
        done = switch.run(run)
    except FileNotFoundError:
        raise LabError("this scenario needs nft: install the package nftables") from None
    if done.returncode != 0:
        raise LabError(f"nft refused a rule: {done.stderr.strip().splitlines()[0]}")
