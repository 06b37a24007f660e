"""BGP's objects at an API server, and the Secrets that peers name: watched while BGP is wanted.

No Secret is listed but those that a peer names, each by its name, so that a Role may name them too;
and no ConfigMap but the one that holds lines for the engine.
Beside what is wanted, what our own node says that it does: its ServiceBGPStatus objects.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger as Log

from kube.api.client import ApiClient
from kube.api.reflector import Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.bgp_config import BgpConfig, BgpObjects, judge_bgp, secrets_of
from kube.objects.bgp import BFDProfile, BGPAdvertisement, BGPPeer, Community
from kube.objects.config_map import NAME, BgpExtras
from kube.objects.core import Node
from kube.objects.metallb import NODE_LABEL, BGPStatus, IPAddressPool
from kube.objects.reading import PASSWORD_SECRET, View, is_dns_name
from kube.objects.secret import PasswordSecret
from kube.problem import Problem, Severity

MAX_SECRETS = 64
"""Watched at a time; those that come later in the alphabet count as missing."""
_PEERS = "/apis/metallb.io/v1beta2"
_OTHERS = "/apis/metallb.io/v1beta1"


@dataclass(frozen=True, slots=True)
class _Watched:
    reflector: Reflector
    task: asyncio.Task[None] | None


class BgpState:
    """Keeps what our node does by BGP; `on_change` is called when it may be another one."""

    def __init__(
        self,
        client: ApiClient,
        own_node: str,
        namespace: str,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        log: Log,
    ) -> None:
        self._client, self._clock, self._log = client, clock, log
        self._own_node, self._namespace = own_node, namespace
        self._on_change = on_change
        self._rng = random.Random()  # noqa: S311 - back-off only
        self._config: BgpConfig | None = None
        self._findings: tuple[Problem, ...] = ()
        self._secrets: dict[str, _Watched] = {}
        self._group: asyncio.TaskGroup | None = None
        self.peers = self._custom("BGPPeer", _PEERS, "bgppeers")
        self.advertisements = self._custom("BGPAdvertisement", _OTHERS, "bgpadvertisements")
        self.profiles = self._custom("BFDProfile", _OTHERS, "bfdprofiles")
        self.communities = self._custom("Community", _OTHERS, "communities")
        self.extras = self._named("ConfigMap", "configmaps", NAME)

    @property
    def reflectors(self) -> tuple[Reflector, ...]:
        """All that is watched now."""
        secrets = (found.reflector for found in self._secrets.values())
        custom = self.peers, self.advertisements, self.profiles, self.communities
        return *custom, self.extras, *secrets

    @property
    def config(self) -> BgpConfig | None:
        """The last good one; None until there is one. As of the last `judge`."""
        return self._config

    def problems(self) -> Iterator[Problem]:
        """Return what is wrong with the objects, each and all together."""
        for reflector in self.reflectors:
            for found in reflector.problems.values():
                yield from found
        yield from self._findings

    async def run(self) -> None:
        """Watch until cancelled. Raises only what is a bug."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for reflector in self.reflectors:
                group.create_task(self._watcher(reflector).run())

    def judge(self, pools: Sequence[IPAddressPool] | None, nodes: Mapping[str, Node]) -> None:
        """Judge all objects; an error, or anything not known yet, leaves the last good ones.

        `pools` is None while they are not valid.
        """
        self._findings = tuple(self._unread())
        if self._findings or not all(reflector.synced for reflector in self.reflectors):
            return
        config, problems = judge_bgp(self._objects(), pools or (), nodes, self._own_node)
        self._findings = tuple(problems)
        broken = any(
            problem.severity is Severity.ERROR
            for reflector in self.reflectors
            for found in reflector.problems.values()
            for problem in found
        )
        if config is not None and pools is not None and not broken:
            self._config = config

    def _unread(self) -> Iterator[Problem]:
        """Return Secrets, and the ConfigMap, that cannot be read: who may not must hear of it."""
        secrets = (
            (f"Secret {self._namespace}/{name}", found.reflector)
            for name, found in self._secrets.items()
        )
        extras = f"ConfigMap {self._namespace}/{NAME}", self.extras
        for title, reflector in (*secrets, extras):
            if not reflector.synced and (why := reflector.trouble) is not None:
                yield Problem(Severity.ERROR, "", 0, title, "", f"cannot be read: {why}")

    def _objects(self) -> BgpObjects:
        secrets = (found.reflector for found in self._secrets.values())
        passwords = {
            found.name: found.password for some in secrets for found in _all(some, PasswordSecret)
        }
        return BgpObjects(
            tuple(_all(self.advertisements, BGPAdvertisement)),
            tuple(_all(self.peers, BGPPeer)),
            tuple(_all(self.profiles, BFDProfile)),
            tuple(_all(self.communities, Community)),
            passwords,
            next(_all(self.extras, BgpExtras), None),
        )

    def _take(self, reflector: Reflector, changed: set[Key]) -> None:
        if reflector is self.peers:
            self._follow_secrets()
        self._on_change()

    def _follow_secrets(self) -> None:
        """Watch the Secrets that peers name now, and no other ones."""
        named = filter(is_dns_name, secrets_of(_all(self.peers, BGPPeer)))
        wanted = sorted(named)[:MAX_SECRETS]
        for name in self._secrets.keys() - set(wanted):
            task = self._secrets.pop(name).task
            if task is not None:
                task.cancel()
        for name in wanted:
            if name not in self._secrets:
                self._secrets[name] = self._watch_secret(name)

    def _watch_secret(self, name: str) -> _Watched:
        reflector = self._named(PASSWORD_SECRET, "secrets", name)
        watcher = self._watcher(reflector)
        task = self._group.create_task(watcher.run()) if self._group is not None else None
        return _Watched(reflector, task)

    def _named(self, kind: str, plural: str, name: str) -> Reflector:
        path = f"/api/v1/namespaces/{self._namespace}/{plural}"
        query = (("fieldSelector", f"metadata.name={name}"),)
        return Reflector(Resource(kind, path, query), self._rng)

    def _custom(self, kind: str, version: str, plural: str) -> Reflector:
        path = f"{version}/namespaces/{self._namespace}/{plural}"
        return Reflector(Resource(kind, path), self._rng)

    def _watcher(self, reflector: Reflector) -> Watcher:
        return Watcher(self._client, reflector, self._clock, self._take, self._log)


class OwnStatuses:
    """The ServiceBGPStatus objects of our node, by service; those of other nodes are theirs.

    `on_change` gets the services whose objects changed, and is called after the first list.
    """

    def __init__(
        self,
        client: ApiClient,
        own_node: str,
        namespace: str,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self.on_change: Callable[[set[str]], None] = lambda services: None
        path = f"{_OTHERS}/namespaces/{namespace}/servicebgpstatuses"
        selector = (("labelSelector", f"{NODE_LABEL}={own_node}"),)
        rng = random.Random()  # noqa: S311 - back-off only
        self.reflector = Reflector(Resource("ServiceBGPStatus", path, selector), rng)
        self._watcher = Watcher(client, self.reflector, clock, self._take, log)
        self._found: dict[str, dict[Key, BGPStatus]] = {}
        self._service: dict[Key, str] = {}

    async def run(self) -> None:
        """Watch until cancelled. Raises only what is a bug."""
        await self._watcher.run()

    @property
    def synced(self) -> bool:
        """Whether it is known which there are."""
        return self.reflector.synced

    def of(self, service: str) -> Collection[BGPStatus]:
        """Return the objects of a service `namespace/name`: one, if all is well."""
        return self._found.get(service, {}).values()

    def services(self) -> Collection[str]:
        """Name the services that have objects."""
        return self._found.keys()

    def _take(self, reflector: Reflector, changed: set[Key]) -> None:
        services: set[str] = set()
        for key in changed:
            before = self._service.pop(key, None)
            if before is not None:
                services.add(before)
                self._found[before].pop(key)
                if not self._found[before]:
                    del self._found[before]
            found = reflector.objects.get(key)
            if isinstance(found, BGPStatus):
                services.add(found.service)
                self._service[key] = found.service
                self._found.setdefault(found.service, {})[key] = found
        self.on_change(services)


_View = TypeVar("_View", bound=View)


def _all(reflector: Reflector, kind: type[_View]) -> Iterator[_View]:
    return (found for found in reflector.objects.values() if isinstance(found, kind))
