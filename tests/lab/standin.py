"""A tiny layer-2 announcer for proving the lab: right by default, wrong on request.

    standin.py MODE FLAGS OF THE SPEAKER

Heartbeats to all seeds stand for gossip; a node is alive for `ALIVE` seconds after one. Modes:
right; idle: does nothing; never-takes-over: does nothing new; leaves-silently; nervous: gives
others up at the second missing heartbeat; hasty: after a pause it goes on as if nothing were, and
nobody speaks to the dead, so that it always hears of nobody until it has spoken itself.
"""

import json
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from netnslab.instruments import arp, filters
from netnslab.instruments.instrument import arrivals, packet_socket
from netnslab.machines.addresses import LINK
from netnslab.results import oracle

BEAT, NERVOUS, ALIVE, QUIET = 0.05, 0.12, 2.0, 0.5


class StandIn:
    def __init__(self, mode: str, flags: dict[str, str]) -> None:
        self.mode, self.name = mode, flags["node-name"]
        documents = [
            document
            for path in Path(flags["source"]).glob("*.yaml")
            for document in yaml.safe_load_all(path.read_text())
        ]
        services = [d for d in documents if d["kind"] == "Service"]
        if "state" in flags:
            services = yaml.safe_load(Path(flags["state"]).read_text())["items"]
        self.ips = [d["status"]["loadBalancer"]["ingress"][0]["ip"] for d in services]
        slices = [d for d in documents if d["kind"] == "EndpointSlice"]
        self.everyone = {e["nodeName"] for e in slices[0]["endpoints"]}
        self.seeds = [(ip, 7946) for ip in flags["join"].split(",")]
        self.gossip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.gossip.bind((flags["ml-bindaddr"], 7946))
        self.gossip.setblocking(False)
        self.raw = packet_socket(LINK, arp.ETH_P_ARP)
        # As a speaker's, or a storm would eat up its quota of CPU.
        filters.neighbours(self.raw, self.ips)
        self.mac = self.raw.getsockname()[4]
        self.alive: dict[str, float] = {}
        self.heard: dict[tuple[str, int], float] = {}
        self.owned: set[str] = set()
        self.again: dict[str, list[float]] = {}
        self.leaving = False
        self.last = self.quiet_since = time.monotonic()
        signal.signal(signal.SIGTERM, self.terminate)

    def say(self, event: str, **rest: Any) -> None:
        print(json.dumps({"ts": time.time(), "level": "info", "event": event, **rest}), flush=True)

    def terminate(self, *_: object) -> None:
        self.leaving = True
        if self.mode == "right":
            self.beat()
            time.sleep(0.05)
        sys.exit(0)

    def beat(self) -> None:
        now = time.monotonic()
        message = json.dumps([self.name, self.leaving, now - self.quiet_since > QUIET]).encode()
        for seed in self.seeds:
            if self.mode == "hasty" and now - self.heard.get(seed, now) > ALIVE:
                continue
            try:
                self.gossip.sendto(message, seed)
            except OSError:
                continue

    def listen(self) -> None:
        while True:
            try:
                message, sender = self.gossip.recvfrom(500)
                name, leaving, claims = json.loads(message)
            except BlockingIOError:
                return
            except OSError:
                continue
            self.heard[sender] = time.monotonic()
            if leaving:
                self.alive.pop(name, None)
            elif claims or name == self.name:
                self.alive[name] = time.monotonic()

    def elect(self) -> None:
        now = time.monotonic()
        alive = NERVOUS if self.mode == "nervous" else ALIVE
        nodes = {name for name, at in self.alive.items() if now - at < alive} | {self.name}
        if self.mode == "never-takes-over":
            nodes = self.everyone
        owned = {ip for ip in self.ips if oracle.owner(ip, nodes) == self.name}
        if now - self.quiet_since < QUIET or self.mode == "idle":
            owned = set()
        for ip in owned - self.owned:
            self.again[ip] = [now, now + 0.5, now + 1.0]
            self.say("announce", ip=ip, owner=self.name)
        self.owned = owned
        for ip in owned:
            if self.again[ip] and now >= self.again[ip][0]:
                self.again[ip].pop(0)
                self.announce(ip)

    def announce(self, ip: str) -> None:
        spa = socket.inet_aton(ip)
        sender, target = (self.mac, spa), (b"\0" * 6, spa)
        self.raw.send(arp.encode(arp.BROADCAST, self.mac, arp.REQUEST, sender, target))

    def answer(self) -> None:
        for _, frame in arrivals(self.raw):
            packet = arp.decode(frame)
            question = packet and packet.operation == arp.REQUEST and packet.spa != packet.tpa
            if packet and question and packet.tpa in self.owned:
                asker = (frame[6:12], socket.inet_aton(packet.spa))
                own = (self.mac, socket.inet_aton(packet.tpa))
                self.raw.send(arp.encode(asker[0], self.mac, arp.REPLY, own, asker))

    def wake(self, now: float) -> None:
        self.heard.clear()
        if self.mode != "hasty":
            self.quiet_since, self.owned = now, set()
            self.alive.clear()

    def run(self) -> None:
        self.say("ready")
        due = 0.0
        while True:
            now = time.monotonic()
            if now - self.last > 1.0:
                self.wake(now)
            self.last = now
            self.listen()
            self.elect()
            self.answer()
            if now >= due:
                self.beat()
                due = now + BEAT
            select.select([self.raw, self.gossip], [], [], BEAT)


if __name__ == "__main__":
    StandIn(sys.argv[1], dict(flag[2:].split("=", 1) for flag in sys.argv[2:])).run()
