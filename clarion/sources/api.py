"""A cluster by kubeconfig: one list of each kind, nothing is watched and nothing written."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from clarion.sources.trouble import UnseenError
from kube.api.client import ApiClient, ApiError, ConfigError
from kube.document import ManifestError
from kube.objects.reading import NOT_JSON, View, decode
from kube.problem import Problem, Severity
from kube.snapshot import Key, Reading

PAGE = 500
"""Objects of one answer."""
MOST_PAGES = 1_000
_METALLB = "/apis/metallb.io/v1beta1/namespaces/{namespace}/"


@dataclass(frozen=True, slots=True)
class _Listed:
    """A kind, where it is listed, and whether one can do without it."""

    kind: str
    path: str
    optional: bool = False


LISTED = (
    _Listed("Service", "/api/v1/services"),
    _Listed("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
    _Listed("Node", "/api/v1/nodes"),
    # Pools may be for namespaces with certain labels. A speaker may not list them, so its pod's
    # account may not either.
    _Listed("Namespace", "/api/v1/namespaces", optional=True),
    _Listed("IPAddressPool", f"{_METALLB}ipaddresspools"),
    _Listed("L2Advertisement", f"{_METALLB}l2advertisements"),
    _Listed("BGPAdvertisement", f"{_METALLB}bgpadvertisements", optional=True),
    _Listed("BGPPeer", f"{_METALLB.replace('v1beta1', 'v1beta2')}bgppeers", optional=True),
    _Listed("BFDProfile", f"{_METALLB}bfdprofiles", optional=True),
    _Listed("Community", f"{_METALLB}communities", optional=True),
)
"""All that is read. No Secret is: nobody needs a password to tell who announces what."""


class _Meta(msgspec.Struct, rename="camel"):
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    items: list[msgspec.Raw] = []


def reading(kubeconfig: str, context: str | None, namespace: str) -> Reading:
    """List everything once. `kubeconfig` empty: as a pod finds its own API server.

    Raises `UnseenError`.
    """
    return asyncio.run(_reading(kubeconfig, context, namespace))


async def _reading(kubeconfig: str, context: str | None, namespace: str) -> Reading:
    client = ApiClient(kubeconfig, context=context)
    try:
        await client.open()
        return await _all(client, namespace)
    except ConfigError as error:
        raise UnseenError(str(error)) from None
    finally:
        await client.close()


async def _all(client: ApiClient, namespace: str) -> Reading:
    views: dict[Key, View] = {}
    problems: list[Problem] = []
    forbidden: list[str] = []
    for listed in LISTED:
        try:
            async for raw in _items(client, listed.path.format(namespace=namespace)):
                _take(listed.kind, raw, views, problems)
        except ApiError as error:
            if not (listed.optional and error.status in (403, 404)):
                raise UnseenError(f"{listed.kind}: cannot be listed: {error}") from None
            # 404: the kind is not served, so there is none of it.
            forbidden += [listed.kind] * (error.status == 403)
    if forbidden:
        text = f"may not be listed by this account, and count as absent: {', '.join(forbidden)}"
        problems.append(Problem(Severity.WARNING, "", 0, "", "", text))
    return Reading(views, problems=tuple(problems))


def _take(kind: str, raw: msgspec.Raw, views: dict[Key, View], problems: list[Problem]) -> None:
    """Read one object: a broken one costs only itself."""
    try:
        found, warnings = decode(kind, raw)
    except ManifestError as error:
        problems.append(error.problem)
        return
    problems.extend(warnings)
    namespace = getattr(found, "namespace", "")
    views[kind, namespace, getattr(found, "name", "")] = found


async def _items(client: ApiClient, path: str) -> AsyncIterator[msgspec.Raw]:
    """Return the objects of a list, page by page. Raises `ApiError`."""
    query = {"limit": str(PAGE)}
    for _ in range(MOST_PAGES):
        body = await client.get(path, query)
        try:
            page = msgspec.json.decode(body, type=_Page)
        except NOT_JSON:
            raise ApiError(0, f"{path}: no list") from None
        for item in page.items:
            yield item
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_
    raise ApiError(0, f"{path}: more than {MOST_PAGES * PAGE} objects")
