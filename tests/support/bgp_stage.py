"""Whole speakers that speak BGP: a folder of manifests, the engine's container, real routers."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from frr_container import PROMPT_RIGHTS, REALTIME, RIGHTS, FrrContainer, frr_container
from frr_engine import FrrEngine, engine
from netns import Host
from netnslab.machines.addresses import AT_ONCE
from netnslab.machines.topology import Topology
from routers import Router
from speakers import Speaker, speaker, wait_until

NODE = "node-1"
MY_AS, ITS_AS = 64500, 64501
COMES_UP = 30.0
"""Seconds for a session, on a machine that has much else to do."""
Manifest = dict[str, Any]


def manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    """Return an object of MetalLB's."""
    version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    about = {"name": name, "namespace": "metallb-system"}
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": about, "spec": spec}


def service(name: str, *ips: str, labels: dict[str, str] | None = None) -> list[Manifest]:
    """Return a service with these IPs, and one endpoint that is ready."""
    about: Manifest = {"name": name, "namespace": "default"}
    points = {**about, "name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**about, "labels": labels or {}},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": points,
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.1.1"], "conditions": {"ready": True}, "nodeName": NODE}
            ],
        },
    ]


def node(**labels: str) -> Manifest:
    """Return the Node on which the speaker runs."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}}


def secret(name: str, password: str) -> Manifest:
    """Return the Secret that a peer's `passwordSecret` names."""
    about = {"name": name, "namespace": "metallb-system"}
    kind = {"type": "kubernetes.io/basic-auth", "stringData": {"password": password}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, **kind}


@dataclass
class BgpStage:
    """One node and some routers; `speaking` starts the speaker."""

    topology: Topology
    routers: dict[str, Router]
    container: FrrContainer
    folder: Path
    log: Path

    @property
    def node(self) -> Host:
        """The node's machine."""
        return self.topology.nodes[NODE]

    @property
    def router(self) -> Router:
        """The only router, or the first."""
        return next(iter(self.routers.values()))

    def write(self, name: str, *objects: Manifest) -> None:
        """Put manifests there in one go, as a mounted folder changes."""
        # JSON is YAML, and a thousand objects are written sooner so.
        self.write_text(name, "\n---\n".join(map(json.dumps, objects)))

    def write_text(self, name: str, text: str) -> None:
        """Put a file of manifests there as it is."""
        part = self.folder / f".{name}"
        part.write_text(text)
        part.rename(self.folder / f"{name}.yaml")

    def remove(self, name: str) -> None:
        """Delete the objects of that file."""
        (self.folder / f"{name}.yaml").unlink()

    def peer(self, name: str = "tor", **spec: Any) -> None:
        """Write a BGPPeer, by default for the router of that name."""
        usual = {"myASN": MY_AS, "peerASN": ITS_AS, "holdTime": "9s", "connectTime": "1s"}
        if "interface" not in spec and name in self.routers:
            usual["peerAddress"] = self.routers[name].host.ip
        chosen = {key: value for key, value in (usual | spec).items() if value is not None}
        self.write(f"peer-{name}", manifest("BGPPeer", name, chosen))

    def pool(self, *addresses: str, **advertisement: Any) -> None:
        """Write the pool `pool` and one advertisement of it."""
        self.write(
            "pool",
            manifest("IPAddressPool", "pool", {"addresses": list(addresses or ["10.77.9.0/24"])}),
            manifest("BGPAdvertisement", "bgp", {"ipAddressPools": ["pool"], **advertisement}),
        )

    @contextmanager
    def speaking(self) -> Iterator[Speaker]:
        """Run the speaker."""
        flags = ("--bgp-engine", str(self.container.folder))
        with speaker(self.node, self.folder, *flags, log=self.log) as running:
            yield running

    def learns(self, prefix: str, name: str = "", via: str = "") -> None:
        """Wait until the router's kernel sends what is for the prefix to the node."""
        tor = self.routers[name] if name else self.router
        ours = frozenset((via or self.node.ip,))
        wait_until(lambda: tor.next_hops(prefix) == ours, f"a route to {prefix}", COMES_UP)

    def forgets(self, prefix: str, name: str = "") -> None:
        """Wait until the router's kernel has no route to the prefix."""
        tor = self.routers[name] if name else self.router
        wait_until(lambda: not tor.next_hops(prefix), f"no route to {prefix}", COMES_UP)

    def dropped(self, name: str = "") -> int:
        """How often the router has lost its session with the node."""
        tor = self.routers[name] if name else self.router
        return int(tor.neighbor(self.node.ip).get("connectionsDropped", 0))


def up(peer: str, kind: str = "bgp") -> str:
    """Return the series that tells whether a session is up."""
    return f'metallb_{kind}_session_up{{peer="{peer}",vrf="default"}}'


def bfd_of(router: Router, ip: str) -> dict[str, Any]:
    """Return what a router's BFD daemon knows of a neighbour; empty without a session."""
    found = json.loads(router.frr.say("bfdd", "enable", "show bfd peers json"))
    return next((dict(each) for each in found if each["peer"] == ip), {})


def set_up(router: Router, my_as: int, neighbors: Sequence[str], more: Sequence[str] = ()) -> None:
    """Give a router a configuration in place of the one that it has.

    `neighbors`: lines that follow `neighbor`; `more`: lines for the router, families included.
    """
    configured = router.frr.running("bgpd")
    lines = [f"no {line}" for line in configured.splitlines() if line.startswith("router bgp")]
    lines += [f"router bgp {my_as}", "no bgp ebgp-requires-policy", "bgp router-id 10.255.0.1"]
    lines += ["timers bgp 1 3", *(f"neighbor {words}" for words in neighbors), *more, "exit"]
    router.frr.configure("bgpd", lines)


def usual(peer: str, *more: str, my_as: str = str(MY_AS)) -> list[str]:
    """Return a neighbour's usual lines for `set_up`."""
    start = [f"{peer} remote-as {my_as}", f"{peer} timers connect 1"]
    return [*start, *(f"{peer} {words}" for words in more)]


def give(host: Host, address: str, link: str = "eth0") -> None:
    """Give a machine one more address, as `192.0.2.1/24`."""

    def add() -> None:
        ip, length = address.split("/")
        with IPRoute() as netlink:
            index = netlink.link_lookup(ifname=link)[0]
            netlink.link("set", index=index, state="up")
            flags = AT_ONCE if ":" in ip else 0
            netlink.addr("add", index=index, address=ip, prefixlen=int(length), flags=flags)

    host.namespace.run(add)


def route(host: Host, prefix: str, via: str) -> None:
    """Give a machine a static route."""

    def add() -> None:
        with IPRoute() as netlink:
            netlink.route("add", dst=prefix, gateway=via)

    host.namespace.run(add)


@contextmanager
def bgp_stage(
    tmp: Path, *names: str, family: int = 4, listen: int = 179, realtime: bool = False
) -> Iterator[BgpStage]:
    """A node, its engine, and routers that know the node as an ordinary peer.

    `listen`: the port of the routers. `realtime`: the engine's BFD goes before all others, as far
    as the kernel lets it.
    """
    names = names or ("tor",)
    folder = tmp / "manifests"
    folder.mkdir()
    topology = Topology([NODE, *names], family)
    with ExitStack() as stack:
        for host in topology.hosts():
            stack.callback(host.namespace.close)
            # Routers with a peer by link advertise themselves; nobody is to take an address of it.
            host.namespace.sysctl("ipv6/conf/eth0/autoconf", 0)
        stack.callback(topology.switch.close)
        routers = {name: _router(stack, topology.nodes[name], listen) for name in names}
        for each in routers.values():
            set_up(each, ITS_AS, usual(topology.nodes[NODE].ip))
        own = topology.nodes[NODE].namespace
        flags, rights = ((REALTIME,), PROMPT_RIGHTS) if realtime else ((), RIGHTS)
        beside = stack.enter_context(frr_container(namespace=own, flags=flags, rights=rights))
        made = BgpStage(topology, routers, beside, folder, tmp / "speaker.log")
        made.pool()
        yield made


def _router(stack: ExitStack, host: Host, listen: int) -> Router:
    running = engine(host.name, namespace=host.namespace, listen=listen)
    frr: FrrEngine = stack.enter_context(running)
    return Router(frr, host)
