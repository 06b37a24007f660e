"""The speakers' gossip Secret: made when it is missing, and never changed."""

import asyncio
import base64
import secrets
from typing import Any

import msgspec
from structlog.typing import FilteringBoundLogger as Log

from kube.api.client import ApiClient, ApiError
from kube.api.writes import unless

KEY = "secretkey"
BYTES = 128
"""Of chance, as MetalLB takes; the gossip key is derived from their base64 text."""
RETRY = 5.0
_ALREADY_THERE, _NOT_FOUND = 409, 404


class _Metadata(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


async def ensure(client: ApiClient, namespace: str, name: str, deployment: str, log: Log) -> None:
    """Make the Secret unless it is there; tries again until the server has answered."""
    while True:
        try:
            return await _ensure(client, namespace, name, deployment, log)
        except ApiError as error:
            log.warning("secret", name=name, error=str(error))
        await asyncio.sleep(RETRY)


async def _ensure(client: ApiClient, namespace: str, name: str, deployment: str, log: Log) -> None:
    collection = f"/api/v1/namespaces/{namespace}/secrets"
    try:
        await client.get(f"{collection}/{name}")
        return
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
    # The text is what a mounted file holds; the API wants that in base64 once more.
    text = base64.b64encode(secrets.token_bytes(BYTES))
    metadata = {"name": name, "ownerReferences": await _owners(client, namespace, deployment)}
    data = {KEY: base64.b64encode(text).decode()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    await unless(_ALREADY_THERE, client.post(collection, body))
    log.info("secret", name=name, state="made")


async def _owners(client: ApiClient, namespace: str, deployment: str) -> list[dict[str, Any]]:
    if not deployment:
        return []
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"
    try:
        found = msgspec.json.decode(await client.get(path), type=_Object)
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return []
    kind = {"apiVersion": "apps/v1", "kind": "Deployment"}
    return [{**kind, "name": deployment, "uid": found.metadata.uid}]
