"""A small cluster with something wrong in each corner, as manifests and as kubectl dumps it.

`python tests/support/clarion_world.py` makes the dump anew, from a real API server by the real
kubectl. It is kept, so that tests and the documentation read the same one.
"""

import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "clarion" / "dumps"
WORLD = FOLDER / "world.yaml"
DUMP = FOLDER / "cluster.yaml"
KINDS = (
    "nodes,namespaces,services,endpointslices.discovery.k8s.io,ipaddresspools.metallb.io,"
    "l2advertisements.metallb.io,bgpadvertisements.metallb.io,bgppeers.metallb.io,"
    "bfdprofiles.metallb.io,communities.metallb.io"
)


def dump(kubeconfig: Path) -> str:
    """Return what kubectl prints of the whole cluster."""
    command = ["kubectl", f"--kubeconfig={kubeconfig}", "get", KINDS, "-A", "-o", "yaml"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Write the dump."""
    import apiserver
    import cluster

    with tempfile.TemporaryDirectory() as folder, apiserver.running(Path(folder)) as server:
        server.install_crds(cluster.CRDS)
        server.apply_all(WORLD.read_text())
        DUMP.write_text(dump(server.kubeconfig("admin")))


if __name__ == "__main__":
    main()
