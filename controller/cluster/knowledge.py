"""Watches what webhooks judge objects by, besides pools and services; and answers them."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from structlog.typing import FilteringBoundLogger as Log

from controller.admission import review
from controller.admission.conversion import convert
from controller.admission.world import AdmissionWorld, BGPType
from controller.cluster.watching import METALLB, Watching
from kube.address import IPAddress, parse_ip
from kube.api.client import ApiClient
from kube.api.reflector import Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.objects.bgp import BGPAdvertisement, BGPPeer, Community
from kube.objects.core import Node, Service
from kube.objects.metallb import IPAddressPool

Answer = Callable[[bytes], bytes]
POOLS = "/validate-metallb-io-v1beta1-ipaddresspool"
CONVERT = "/convert"

_View = TypeVar("_View", IPAddressPool, BGPAdvertisement, BGPPeer, Community, Node)


class Knowledge:
    """The reflectors that only webhooks need. `answers` may be called in any thread."""

    def __init__(
        self,
        client: ApiClient,
        watching: Watching,
        namespace: str,
        bgp: BGPType,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._client, self._watching, self._clock, self._log = client, watching, clock, log
        self._namespace, self._bgp = namespace, bgp
        rng = random.Random()  # noqa: S311 - back-off only
        own = f"{METALLB}/namespaces/{namespace}"
        peers = f"/apis/metallb.io/v1beta2/namespaces/{namespace}/bgppeers"
        self.advertisements, self.communities, self.peers, self.nodes = self._all = tuple(
            Reflector(Resource(kind, path), rng)
            for kind, path in (
                ("BGPAdvertisement", f"{own}/bgpadvertisements"),
                ("Community", f"{own}/communities"),
                ("BGPPeer", peers),
                ("Node", "/api/v1/nodes"),
            )
        )

    async def run(self) -> None:
        """Watch until cancelled. Raises only what is a bug."""
        async with asyncio.TaskGroup() as group:
            for found in self._all:
                watcher = Watcher(self._client, found, self._clock, _ignore, self._log)
                group.create_task(watcher.run())

    @property
    def waiting_for(self) -> str | None:
        """Why an object cannot be judged yet: the first resource that was never listed."""
        for found in self._all:
            if not found.synced:
                return f"{found.resource.path}: {found.trouble or 'not listed yet'}"
        return None

    def answers(self) -> dict[str, Answer]:
        """Return by path what answers a request's body."""
        judged = {path: partial(self._judge, path) for path in review.HOOKS}
        return {**judged, CONVERT: convert}

    def _judge(self, path: str, body: bytes) -> bytes:
        return review.answer(path, body, self._world(path))

    def _world(self, path: str) -> AdmissionWorld:
        """Return what is known now: copies, as the loop that watches goes on meanwhile."""
        return AdmissionWorld(
            namespace=self._namespace,
            bgp=self._bgp,
            pools=_named(self._watching.pools, IPAddressPool),
            advertisements=_named(self.advertisements, BGPAdvertisement),
            peers=_named(self.peers, BGPPeer),
            communities=_named(self.communities, Community),
            nodes=_named(self.nodes, Node),
            # Only a change of pools takes addresses away.
            addresses=self._addresses() if path == POOLS else {},
        )

    def _addresses(self) -> Mapping[str, Sequence[IPAddress]]:
        services = dict(self._watching.services.objects)
        return {
            view.key: [ip for text in view.ingress if (ip := parse_ip(text)) is not None]
            for view in services.values()
            if isinstance(view, Service)
        }


def _named(reflector: Reflector, kind: type[_View]) -> dict[str, _View]:
    # Copied in one step, which no other thread can come between.
    objects = dict(reflector.objects)
    return {found.name: found for found in objects.values() if isinstance(found, kind)}


def _ignore(_reflector: Reflector, _changed: set[Key]) -> None:
    """Whoever is asked looks for itself."""
