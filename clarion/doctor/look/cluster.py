"""Lists what the doctor asks of a cluster, or reads it from dumps. A driver; it writes nothing."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from clarion.doctor.documents import HEARTBEATS, PROXY_MAP
from kube.api.client import ApiClient, ApiError
from kube.document import Document, Origin, document
from kube.files.directory import MAX_FILES, SUFFIXES
from kube.files.manifest import read

PAGE = 500
MOST_PAGES = 1_000
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
ONE_MAP = f"/api/v1/namespaces/{PROXY_MAP[0]}/configmaps/{PROXY_MAP[1]}"
_VERSIONS = {
    "Node": "v1",
    "Service": "v1",
    "Pod": "v1",
    "ConfigMap": "v1",
    "BGPPeer": "metallb.io/v1beta2",
    "Lease": "coordination.k8s.io/v1",
}
_METALLB_VERSION = "metallb.io/v1beta1"


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
            async for data in _items(client, path.format(namespace=namespace)):
                found.documents.append(_document(kind, data))
        except ApiError as error:
            if not error.status:
                raise
            found.missing[kind] = str(error)
    try:
        data = json.loads(await client.get(ONE_MAP))
        found.documents.append(_document("ConfigMap", data))
    except (ApiError, ValueError) as error:
        found.missing["ConfigMap"] = str(error)
    found.skew = await _skew(client)
    return found


async def _items(client: ApiClient, path: str) -> AsyncIterator[Any]:
    query = {"limit": str(PAGE)}
    for _ in range(MOST_PAGES):
        try:
            page = json.loads(await client.get(path, query))
            items, more = page["items"] or [], page["metadata"].get("continue", "")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ApiError(-1, f"{path}: no list") from None
        for item in items:
            yield item
        if not more:
            return
        query["continue"] = more


def _document(kind: str, data: Any) -> Document:
    """Items of a list do not say what they are."""
    version = _VERSIONS.get(kind, _METALLB_VERSION)
    whole = {"kind": kind, "apiVersion": version, **data} if isinstance(data, dict) else {}
    return document(whole, Origin())


async def _skew(client: ApiClient) -> float | None:
    """Ask for the server's time, which is cut to seconds, and compare with the middle of ours."""
    before = time.time()
    try:
        text = await client.date()
        served = parsedate_to_datetime(text).timestamp()
    except (ApiError, ValueError, TypeError):
        return None
    return (before + time.time()) / 2 - served - 0.5


def dumped(source: Path) -> Gathered:
    """Read a file, or the YAML and JSON files of a folder. Raises `OSError`, `ManifestError`."""
    files = [source]
    if source.is_dir():
        files = sorted(each for each in source.rglob("*") if each.suffix in SUFFIXES)[:MAX_FILES]
    found = Gathered()
    for file in files:
        found.documents.extend(read(file.read_bytes(), file.name))
    return found
