"""Reads what a drain has to know of a cluster, and writes a node's label. A driver.

It is the only part of the command that writes anything.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping

from clarion.reaching.listing import listed
from clarion.reaching.way import UnseenClusterError
from kube.api.client import ApiClient, ApiError
from kube.objects.core import SERVED as PODS
from kube.objects.core import Node, Pod
from kube.objects.metallb import NODE_LABEL, BGPStatus, L2Status
from kube.objects.metallb import SERVED as STATUSES
from kube.objects.reading import LAYER2, is_dns_name
from kube.snapshot import Snapshot, assemble, read_documents
from plan.service import EXCLUDE_LABEL

_METALLB = "/apis/metallb.io/v1beta1/namespaces/{}/"
_OBJECTS = {
    "Node": "/api/v1/nodes",
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "IPAddressPool": f"{_METALLB}ipaddresspools",
    "L2Advertisement": f"{_METALLB}l2advertisements",
}
_REPORTS = {"ServiceL2Status": "servicel2statuses", "ServiceBGPStatus": "servicebgpstatuses"}
_MOST_PAGE = 16 * 1024 * 1024
_PATIENCE = 3.0
Status = L2Status | BGPStatus


class DrainCluster:
    """One cluster, and MetalLB's namespace in it."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def snapshot(self) -> Snapshot:
        """Return what elections are made from. Raises `ApiError`."""
        found = [
            each
            for kind, path in _OBJECTS.items()
            async for each in listed(self._client, kind, path.format(self._namespace))
        ]
        return assemble([read_documents(found, LAYER2)], self._namespace)[0]

    async def statuses(self, node: str = "") -> list[Status]:
        """Return what the speakers say that they announce, that of one node if named.

        A kind that is not served has no objects. Raises `ApiError`.
        """
        query = {"labelSelector": f"{NODE_LABEL}={node}"} if node else {}
        found: list[Status] = []
        for kind, plural in _REPORTS.items():
            path = _METALLB.format(self._namespace) + plural
            try:
                documents = [each async for each in listed(self._client, kind, path, query)]
            except ApiError as error:
                if error.status != 404:
                    raise
                continue
            views = read_documents(documents, STATUSES).views.values()
            found += [view for view in views if isinstance(view, L2Status | BGPStatus)]
        return found

    async def speakers(self, labels: str) -> dict[str, str] | None:
        """Return the address of each node's speaker; None where pods may not be listed."""
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        try:
            query = {"labelSelector": labels}
            documents = [each async for each in listed(self._client, "Pod", path, query)]
        except ApiError as error:
            if error.status != 403:
                raise
            return None
        views = read_documents(documents, PODS).views.values()
        pods = [view for view in views if isinstance(view, Pod)]
        return {pod.node: pod.ip for pod in pods if pod.node and pod.ip and not pod.ending}

    async def label(self, node: str, present: bool) -> None:
        """Set the label that excludes the node, or take it off. Raises `ApiError`."""
        body = {"metadata": {"labels": {EXCLUDE_LABEL: "" if present else None}}}
        await self._client.merge(_node_path(node), body)

    async def node(self, name: str) -> Node:
        """Return the node. Raises `UnseenClusterError` where there is none."""
        path = _node_path(name)
        try:
            async for found in listed(
                self._client, "Node", "/api/v1/nodes", {"fieldSelector": f"metadata.name={name}"}
            ):
                for view in read_documents([found], LAYER2).views.values():
                    if isinstance(view, Node) and view.name == name:
                        return view
        except ApiError as error:
            raise UnseenClusterError(f"{path}: {error}") from None
        raise UnseenClusterError(f"there is no node {name}")


def _node_path(name: str) -> str:
    if not is_dns_name(name):
        raise UnseenClusterError(f"no name of a node: {name[:80]!r}")
    return f"/api/v1/nodes/{name}"


def page_of(ip: str, port: int) -> str:
    """Return a speaker's page of metrics. Raises `OSError`."""
    host = f"[{ip}]" if ":" in ip else ip
    try:
        # The address is a pod's, written by the cluster, and no URL of anybody's.
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=_PATIENCE) as found:
            return str(found.read(_MOST_PAGE).decode(errors="replace"))
    except (ValueError, urllib.error.URLError) as error:
        raise OSError(str(error)) from None


def addresses(snapshot: Snapshot) -> Mapping[str, tuple[str, ...]]:
    """Return the IPs of each service."""
    return {key: found.ingress for key, found in snapshot.services.items() if found.ingress}
