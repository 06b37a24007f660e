"""Where services and nodes come from: a folder of manifests, or the API of a cluster."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger as Log

from kube.files.directory import DirectorySource
from kube.problem import Problem
from kube.snapshot import Snapshot
from process import interpreter
from process.health import Health
from speaker.metrics.collector import Figures
from speaker.settings import Settings

if TYPE_CHECKING:
    from speaker.cluster.cluster import Cluster

Take = Callable[[Snapshot, tuple[Problem, ...], frozenset[str] | None], None]
Listen = Callable[[asyncio.AbstractEventLoop], None]


def make_folder(settings: Settings, take: Take) -> DirectorySource:
    """Read manifests from the folder that the settings name."""
    assert settings.source is not None  # noqa: S101 - without one there is a cluster

    def take_all(snapshot: Snapshot, problems: tuple[Problem, ...]) -> None:
        take(snapshot, problems, None)

    # Its thread takes its time, so that the loop has its processor.
    return DirectorySource(
        settings.source,
        settings.namespace,
        take_all,
        interpreter.Leisure,
        settings.state,
        settings.node_name if settings.bgp_engine is not None else "",
    )


def make_cluster(
    settings: Settings, take: Take, listen: Listen, clock: Callable[[], float], log: Log
) -> "Cluster":
    """Watch the cluster that this process runs in, or that $KUBECONFIG names."""
    # Imported late: without Kubernetes none of it need be installed.
    from kube.api.client import from_environment
    from kube.api.state import Scope
    from speaker.cluster.cluster import Cluster

    scope = Scope(
        node=settings.node_name,
        namespace=settings.namespace,
        labels=settings.labels,
        pod=settings.pod_name,
        lb_class=settings.lb_class,
        bgp=settings.bgp_engine is not None,
    )
    return Cluster(from_environment(log), scope, clock, take, log, listen)


def show(cluster: "Cluster", figures: Figures, health: Health) -> None:
    """Have the pages tell how it is with the cluster."""
    health.waiting_for = lambda: cluster.waiting_for
    figures.api_behind = lambda: cluster.behind
    figures.api_failed_writes = lambda: cluster.failed_writes
    figures.api_failed_reads = cluster.failed_reads
    figures.api_relists = cluster.relists
    figures.api_dropped_events = cluster.dropped_events
