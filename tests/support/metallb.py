"""MetalLB's own speaker, from its published source: built once, started beside ours."""

import subprocess
import sys
from pathlib import Path

import cluster as clusters
from cluster import Cluster
from gobuild import BuildError, build_once
from speakers import Speaker

SOURCES = Path(__file__).parents[1] / "apiserver" / "metallb"
"""Its release is the one that go.mod names."""
BUILD_TIMEOUT = 1800.0
"""Seconds; most of it is Kubernetes' client, on one slow core."""
PACKAGE = "go.universe.tf/metallb/speaker"


def build() -> Path:
    """The path of the program. Raises BuildError."""
    return build_once(
        "metallb-speaker", SOURCES, BUILD_TIMEOUT, "-trimpath", "-ldflags=-s -w", package=PACKAGE
    )


def start(cluster: Cluster, node: str) -> Speaker:
    """Start MetalLB's speaker on a node, in the place of ours; whoever starts it ends it."""
    program, host = build(), cluster.hosts[node]
    labels = ",".join(f"{key}={value}" for key, value in clusters.LABELS.items())
    variables = {
        "KUBECONFIG": str(cluster.server.kubeconfig(f"metallb-{node}")),
        "METALLB_NAMESPACE": clusters.NAMESPACE,
        "METALLB_NODE_NAME": node,
        "METALLB_POD_NAME": f"speaker-{node}",
        "METALLB_HOST": host.ip,
        "METALLB_ML_BIND_ADDR": host.ip,
        "METALLB_ML_LABELS": labels,
    }
    command = ["env", *(f"{name}={value}" for name, value in variables.items()), str(program)]
    log = cluster.folder / f"metallb-{node}.log"
    with log.open("wb") as output:
        began = host.namespace.start
        process = began(command, stdout=output.fileno(), stderr=subprocess.STDOUT)
    return Speaker(process, log, host)


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
