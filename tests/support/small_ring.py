"""Three speakers on one bridge that know each other, and a client; all announce from one folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netnslab.machines.topology import Topology
from speakers import Speaker, speaker

NODES = ("node-1", "node-2", "node-3")


@contextmanager
def three_nodes() -> Iterator[Topology]:
    """Build the bridge and all hosts; close them in the end."""
    made = Topology([*NODES])
    try:
        yield made
    finally:
        for namespace in [host.namespace for host in made.hosts()] + [made.switch]:
            namespace.close()


@contextmanager
def small_ring(topology: Topology, folder: Path, manifests: str) -> Iterator[dict[str, Speaker]]:
    """Start a speaker on each node, and wait until each knows the others."""
    topology.heal()
    source, secret = folder / "manifests", folder / "secretkey"
    source.mkdir()
    (source / "a.yaml").write_text(manifests)
    secret.write_text("a secret of more than sixteen bytes")
    seeds = ",".join(topology.nodes[name].ip for name in NODES)
    with ExitStack() as parts:
        running = {}
        for name in NODES:
            host = topology.nodes[name]
            flags = (
                f"--ml-bindaddr={host.ip}",
                f"--join={seeds}",
                f"--ml-secret-key-path={secret}",
            )
            running[name] = parts.enter_context(speaker(host, source, *flags, log=folder / name))
        for name in NODES:
            running[name].wait_for("ready")
            for other in NODES:
                if other != name:
                    running[name].wait_for("member", node=other, state="alive")
        yield running
