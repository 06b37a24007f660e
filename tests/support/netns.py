"""A segment for tests: one bridge and a network namespace for each host on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netnslab.machines.namespaces import NetworkNamespace
from netnslab.machines.topology import Host, Topology

__all__ = ["Host", "NetworkNamespace", "missing_right", "segment", "traffic"]


def missing_right() -> str | None:
    """Why this process can make no namespaces, None where it can."""
    try:
        NetworkNamespace("probe").close()
    except OSError as error:
        return f"no right to make network namespaces: {error.strerror}"
    return None


@contextmanager
def segment(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts by name, all on one bridge. The kernel frees them once their processes are gone."""
    topology = Topology(list(names))
    try:
        yield topology.nodes
    finally:
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            namespace.close()


def traffic(host: Host, link: str = "eth0") -> tuple[int, int]:
    """Packets and bytes, Ethernet headers included, that the host has sent on its link so far."""
    table = host.namespace.run(Path("/proc/thread-self/net/dev").read_text)
    fields = next(line for line in table.splitlines() if f"{link}:" in line).split(":")[1].split()
    return int(fields[9]), int(fields[8])
