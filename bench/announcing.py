"""How long 1,000 IPs take to be announced on two interfaces, from the decision to each frame."""

import socket
import tempfile
import time
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dualstack import Machine, dualstack, manifests
from netnslab.instruments.instrument import arrivals, packet_socket
from speakers import speaker, wait_until

_REST = 1.0
_SO_RCVBUFFORCE = 33


def announce_times(ips: list[str], rounds: int) -> dict[str, Any]:
    """Return for each rate the milliseconds in which the first frames of all IPs left: medians."""
    return {f"rate {rate}": _rounds(ips, rate, rounds) for rate in ("0", "2000")}


def _rounds(ips: list[str], rate: str, rounds: int) -> dict[str, Any]:
    found = [_measure(ips, rate) for _ in range(rounds)]
    middle = {name: round(median(one[name] for one in found), 1) for name in found[0]}
    return {**middle, "all_ms_of_each_round": [one["all_ms"] for one in found]}


def _measure(ips: list[str], rate: str) -> dict[str, float]:
    with dualstack("client", "node") as machines, tempfile.TemporaryDirectory() as temporary:
        node, folder = machines["node"], Path(temporary)
        _connect(node, machines["client"])
        time.sleep(1.0)
        source = manifests(folder / "source", *ips)
        ears = [machines["client"].namespace.run(_ear, link) for link in ("eth0", "eth1")]
        flags = ("--announce-rate", rate)
        with ears[0], ears[1], speaker(node.host, source, *flags, log=folder / "log") as running:
            wait_until(lambda: len(running.events("announce")) == len(ips), "all announced", 30.0)
            time.sleep(_REST)
            packed = {IPv4Address(ip).packed for ip in ips}
            first = _first_frames(ears[0], packed) | _first_frames(ears[1], packed)
            decided = _decisions(running.events("announce"))
            late = _late(running.get("/metrics")[1])
        whole = max(first.values()) - min(decided.values())
        each = max(at - decided[ip] for (ip, _), at in first.items())
        return {
            "frames": len(first),
            "all_ms": round(whole * 1e3, 1),
            "slowest_ip_ms": round(each * 1e3, 1),
            "timers_late_by_5_ms": late,
        }


def _connect(node: Machine, client: Machine) -> None:
    """Lay a cable from `eth1` of one to `eth1` of the other: a segment of its own."""
    peer = {"ifname": "eth1", "net_ns_fd": client.namespace.fd}
    node.netlink(lambda nl: nl.link("add", ifname="eth1", kind="veth", peer=peer))
    for machine in (node, client):
        machine.link("eth1", state="up")


def _ear(link: str) -> socket.socket:
    raw = packet_socket(link, 0x0806)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
    return raw


def _first_frames(raw: socket.socket, ips: set[bytes]) -> dict[tuple[bytes, bytes], float]:
    """First gratuitous request of each IP from each MAC, when the kernel received it."""
    first: dict[tuple[bytes, bytes], float] = {}
    ahead = time.time() - time.monotonic()
    for at, frame in arrivals(raw):
        if frame[20:22] == b"\0\1" and frame[28:32] in ips:
            first.setdefault((frame[28:32], frame[6:12]), at + ahead)
    return first


def _decisions(events: list[dict[str, Any]]) -> dict[bytes, float]:
    return {
        IPv4Address(event["ip"]).packed: datetime.fromisoformat(event["ts"]).timestamp()
        for event in events
    }


def _late(text: str) -> float:
    """How many timers the loop served more than 5 ms late; both figures from one scrape."""
    for family in text_string_to_metric_families(text):
        if family.name == "clarion_loop_lag_seconds":
            values = {
                (s.name.rpartition("_")[2], s.labels.get("le")): s.value for s in family.samples
            }
            return values["count", None] - values["bucket", "0.005"]
    raise ValueError("the speaker does not export its loop's lag")
