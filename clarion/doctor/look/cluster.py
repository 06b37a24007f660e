"""Lists what the doctor asks of a cluster. A driver; it writes nothing."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from clarion.doctor.documents import HEARTBEATS, PROXY_MAP
from clarion.reaching.listing import as_document, listed
from kube.api.client import ApiClient, ApiError
from kube.document import Document

_METALLB = "/apis/metallb.io/v1beta1/namespaces/{namespace}/"
LISTED: Mapping[str, str] = {
    "Node": "/api/v1/nodes",
    "Service": "/api/v1/services",
    "IPAddressPool": f"{_METALLB}ipaddresspools",
    "L2Advertisement": f"{_METALLB}l2advertisements",
    "BGPAdvertisement": f"{_METALLB}bgpadvertisements",
    "BGPPeer": "/apis/metallb.io/v1beta2/namespaces/{namespace}/bgppeers",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Lease": f"/apis/coordination.k8s.io/v1/namespaces/{HEARTBEATS}/leases",
}
"""What is listed, and where. No Secret is."""
OPTIONAL = frozenset({"BGPAdvertisement", "BGPPeer"})
"""Where they are not served there are none."""
ONE_MAP = f"/api/v1/namespaces/{PROXY_MAP[0]}/configmaps/{PROXY_MAP[1]}"


@dataclass(slots=True)
class Gathered:
    """What was found, and which kinds could not be listed, and why."""

    documents: list[Document] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    skew: float | None = None
    """Seconds that our clock is ahead of the API server's."""


async def gather(client: ApiClient, namespace: str) -> Gathered:
    """List everything; what is refused is missing. Raises `ApiError` where nothing answers."""
    found = Gathered()
    for kind, path in LISTED.items():
        try:
            async for each in listed(client, kind, path.format(namespace=namespace)):
                found.documents.append(each)
        except ApiError as error:
            if not error.status:
                raise
            if error.status != 404 or kind not in OPTIONAL:
                found.missing[kind] = str(error)
    try:
        data = json.loads(await client.get(ONE_MAP))
        found.documents.append(as_document("ConfigMap", ONE_MAP, data))
    except (ApiError, ValueError) as error:
        found.missing["ConfigMap"] = str(error)
    found.skew = await _skew(client)
    return found


async def _skew(client: ApiClient) -> float | None:
    """Ask for the server's time, which is cut to seconds, and compare with the middle of ours."""
    before = time.time()
    try:
        text = await client.date()
        served = parsedate_to_datetime(text).timestamp()
    except (ApiError, ValueError, TypeError):
        return None
    return (before + time.time()) / 2 - served - 0.5
