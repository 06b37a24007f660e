"""What this node reaches of the others: their kernels by echo, their speakers by gossip. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from clarion.doctor.finding import DoctorCheck, DoctorFinding, Gravity, command, plain


class ProbeAnswer(StrEnum):
    """What came of a question to another node."""

    ANSWERED = "answered"
    SILENT = "silent"
    """Nothing came back in time."""
    CLOSED = "closed"
    """Its kernel refused the connection: nobody listens."""
    UNREAD = "unread"
    """It was connected, and then said nothing that our key opens."""


@dataclass(frozen=True, slots=True)
class PeerReach:
    """What was tried towards one node; None: it was not."""

    node: str
    ip: str
    port: int = 7946
    echo: ProbeAnswer | None = None
    """ICMP, on a link that both have."""
    udp: ProbeAnswer | None = None
    udp_full: ProbeAnswer | None = None
    """By a datagram of full length."""
    tcp: ProbeAnswer | None = None
    length: int = 1400
    """Bytes of the full datagram."""


def judge_reach(node: str, peers: tuple[PeerReach, ...]) -> Iterator[DoctorFinding]:
    """Return what does not get through from this node to others."""
    for peer in peers:
        way = f"{plain(node, 253)} -> {plain(peer.node, 253)}"
        yield from _echo(way, peer)
        yield from _gossip(way, peer)


def _echo(way: str, peer: PeerReach) -> Iterator[DoctorFinding]:
    if peer.echo is ProbeAnswer.SILENT:
        yield DoctorFinding(
            DoctorCheck.ECHO,
            Gravity.WARNING,
            way,
            f"{plain(peer.ip)} does not answer ICMP echo",
            "Who is not heard by echo is not missed by it, so a dead node's IPs move in seconds"
            " and not in a third of one.",
            _open("icmp", peer, "--icmp-type echo-request"),
        )


def _gossip(way: str, peer: PeerReach) -> Iterator[DoctorFinding]:
    if ProbeAnswer.UNREAD in (peer.tcp, peer.udp):
        # Where the port is open and nothing is read, all of it has one cause.
        yield _unread(way, peer)
        return
    if peer.tcp is ProbeAnswer.CLOSED:
        yield _closed(way, peer)
        return
    if peer.tcp is ProbeAnswer.SILENT:
        yield _silent(DoctorCheck.GOSSIP_TCP, way, peer, "TCP", "Tables are exchanged over TCP")
    if peer.udp is ProbeAnswer.SILENT:
        # A stream that was answered proves the key: what is dropped is UDP itself.
        yield _silent(DoctorCheck.GOSSIP_UDP, way, peer, "UDP", "Who lives is asked over UDP")
    elif peer.udp is ProbeAnswer.ANSWERED and peer.udp_full is ProbeAnswer.SILENT:
        yield _too_long(way, peer)


def _unread(way: str, peer: PeerReach) -> DoctorFinding:
    return DoctorFinding(
        DoctorCheck.GOSSIP_TCP,
        Gravity.ERROR,
        way,
        f"{_place(peer)} is open, and nothing that it says is sealed with our key",
        "Speakers that have not one key and one label form several rings, and each ring announces"
        " every service IP.",
        "kubectl -n metallb-system rollout restart daemonset speaker",
    )


def _closed(way: str, peer: PeerReach) -> DoctorFinding:
    return DoctorFinding(
        DoctorCheck.GOSSIP_TCP,
        Gravity.ERROR,
        way,
        f"nobody listens on {_place(peer)}",
        "That node's speaker does not run, or has no gossip address, and is no part of the ring.",
        command("kubectl", "-n", "metallb-system", "get", "pods", "-o", "wide")
        + " --field-selector "
        + command(f"spec.nodeName={peer.node}"),
    )


def _silent(
    check: DoctorCheck, way: str, peer: PeerReach, protocol: str, what: str
) -> DoctorFinding:
    return DoctorFinding(
        check,
        Gravity.ERROR,
        way,
        f"{_place(peer)} does not answer by {protocol}",
        f"{what}, so that these two nodes take each other for dead, or learn of others too late.",
        _open(protocol.lower(), peer, f"--dport {peer.port}"),
    )


def _too_long(way: str, peer: PeerReach) -> DoctorFinding:
    return DoctorFinding(
        DoctorCheck.GOSSIP_MTU,
        Gravity.ERROR,
        way,
        f"{_place(peer)} answers short datagrams, and none of {peer.length} bytes",
        "News travel in datagrams of full length, so that members flap as soon as there is much to"
        " tell.",
        command("ping", "-M", "do", "-c", "1", "-s", str(peer.length), peer.ip),
    )


def _open(protocol: str, peer: PeerReach, what: str) -> str:
    tool, protocol = (
        ("ip6tables", "icmpv6")
        if ":" in peer.ip and protocol == "icmp"
        else (
            "ip6tables" if ":" in peer.ip else "iptables",
            protocol,
        )
    )
    what = what.replace("--icmp-type", "--icmpv6-type") if protocol == "icmpv6" else what
    return f"{tool} -I INPUT -p {protocol} {what} -j ACCEPT   # on {plain(peer.node, 253)}"


def _place(peer: PeerReach) -> str:
    host = f"[{peer.ip}]" if ":" in peer.ip else peer.ip
    return f"{plain(host)}:{peer.port}"
