"""Real `speaker` processes in namespaces, for tests: start one, read its log, ask it by HTTP."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import faulty
import stall_probe
from arp.packet import ArpPacket, Operation, decode, encode
from link import frame
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, ZERO
from netns import Host

POLL = 0.02
VIP = "10.77.9.1"
"""The first service's."""
MANIFEST = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: pool, namespace: metallb-system}}
spec: {{addresses: [10.77.9.0/24]}}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: l2, namespace: metallb-system}}
spec: {{ipAddressPools: [pool]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-x
  namespace: default
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
endpoints: [{{addresses: [10.1.1.1], conditions: {{ready: true}}, nodeName: node-1}}]
"""


class Speaker:
    """One running speaker and its log file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, host: Host) -> None:
        self.process, self.log, self.host = process, log, host

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the log lines so far, those of one event if named."""
        # What follows the last end of a line is not written yet, even if it ends in a bracket.
        lines = self.log.read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines if line[:1] == b"{" and line[-1:] == b"}"]
        return [line for line in found if not name or line["event"] == name]

    def wait_for(self, name: str, timeout: float = 15.0, **fields: Any) -> dict[str, Any]:
        """Return the first log line of the event with these fields, once it is there."""

        def found() -> dict[str, Any] | None:
            for line in self.events(name):
                if fields.items() <= line.items():
                    return line
            return None

        line: dict[str, Any] = wait_until(found, f"log line {name} {fields}", timeout)
        return line

    def get(self, path: str) -> tuple[int, str]:
        """Ask the speaker by HTTP from within its namespace; return status and body."""

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(
                    f"http://{self.host.ip}:7472{path}", timeout=5
                ) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return self.host.namespace.run(ask)

    def metric(self, series: str) -> float | None:
        """Return the value of one series as /metrics prints it, None where it is absent."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(series + " "):
                return float(line.split()[-1])
        return None

    def stop(self, timeout: float = 20.0) -> tuple[int, float]:
        """Send SIGTERM; return the exit status and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout), time.monotonic() - began


def wait_until(found: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
    """Poll until `found` returns something true; fail naming `what`."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(POLL)
    raise AssertionError(f"not within {timeout} s: {what}")


def ask(host: Host, ip: str) -> str | None:
    """Ask for an IP by broadcast from another host; return the answering MAC."""

    def question() -> str | None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EtherType.ARP)) as raw:
            raw.bind(("eth0", EtherType.ARP))
            raw.settimeout(1.0)
            own = raw.getsockname()[4]
            request = ArpPacket(Operation.REQUEST, own, IPv4Address(host.ip), ZERO, IPv4Address(ip))
            payload = encode(request)
            raw.send(frame.encode(EthernetFrame(BROADCAST, own, EtherType.ARP, payload)))
            try:
                while True:
                    reply = decode(raw.recv(2048)[14:])
                    if reply.operation is Operation.REPLY and str(reply.sender_ip) == ip:
                        return str(reply.sender_mac.hex(":"))
            except TimeoutError:
                return None

    return host.namespace.run(question)


@contextmanager
def speaker(
    host: Host,
    source: Path,
    *flags: str,
    log: Path,
    probe: Path | None = None,
    fault: str = "",
    output: int | None = None,
) -> Iterator[Speaker]:
    """Run a speaker on the host; it is killed at the end if the test has not stopped it.

    `probe` is the file for `stall_probe`, if that is to watch its loop; `fault` is one of `faulty`,
    if there is to be one in it; `output` takes the log in place of the file.
    """
    wrapped = (stall_probe.__file__, str(probe)) if probe else ()
    wrapped = (faulty.__file__, fault) if fault else wrapped
    command = [
        *(sys.executable, *wrapped, "-m", "speaker", "--source", str(source)),
        *("--node-name", host.name, "--host", host.ip, *flags),
    ]
    with log.open("wb") as file:
        into = file.fileno() if output is None else output
        process = host.namespace.start(command, stdout=into, stderr=subprocess.STDOUT)
    try:
        yield Speaker(process, log, host)
    finally:
        process.kill()
        process.wait()
