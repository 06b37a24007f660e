"""Lists objects of an API server as documents, page by page: plain data, and nothing is watched."""

import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

from kube.api.client import ApiClient, ApiError
from kube.document import Document, ManifestError, Origin, document

PAGE = 500
MOST_PAGES = 1_000
_NO_QUERY: Mapping[str, str] = MappingProxyType({})


async def listed(
    client: ApiClient, kind: str, path: str, narrowed: Mapping[str, str] = _NO_QUERY
) -> AsyncIterator[Document]:
    """Yield the objects; `path` says of which version. Raises `ApiError`."""
    query = {"limit": str(PAGE), **narrowed}
    for _ in range(MOST_PAGES):
        items, more = _page(await client.get(path, query), path)
        for item in items:
            yield as_document(kind, path, item)
        if not more:
            return
        query["continue"] = more
    raise ApiError(-1, f"{path}: more than {MOST_PAGES * PAGE} objects")


def _page(body: bytes | bytearray, path: str) -> tuple[list[Any], str]:
    try:
        page = json.loads(body)
        return list(page["items"] or []), str(page["metadata"].get("continue") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ApiError(-1, f"{path}: no list") from None


def as_document(kind: str, path: str, data: Any) -> Document:
    """Return an object as a document: those of a list do not say what they are.

    Raises `ApiError` where it is none.
    """
    try:
        said = {"kind": kind, "apiVersion": version_of(path), **_without_nulls(data)}
        return document(said, Origin())
    except (ManifestError, TypeError):
        raise ApiError(-1, f"{path}: no object") from None


def version_of(path: str) -> str:
    """Return the apiVersion that a path of the API is of: `v1`, `metallb.io/v1beta1`."""
    parts = path.split("/")
    return parts[2] if parts[1] == "api" else f"{parts[2]}/{parts[3]}"


def _without_nulls(data: Any) -> Any:
    """Leave out what is null, which Kubernetes takes for absent."""
    if isinstance(data, dict):
        return {key: _without_nulls(value) for key, value in data.items() if value is not None}
    return [_without_nulls(value) for value in data] if isinstance(data, list) else data
