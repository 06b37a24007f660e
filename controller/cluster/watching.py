"""Watches what addresses depend on: services, pools and namespaces."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger as Log

from controller.allocation.requests import ALLOCATED_FROM
from kube.api.client import ApiClient
from kube.api.reflector import Failure, Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.objects.core import Namespace, Service
from kube.objects.metallb import ConfigurationState, IPAddressPool
from kube.objects.reading import View
from kube.problem import Problem

METALLB = "/apis/metallb.io/v1beta1"
STATE = "controller"
"""The name of our ConfigurationState."""

LONGEST_VERSION = 20
"""Digits of a resourceVersion: the server counts in 64 bits."""

_View = TypeVar("_View")


class Watching:
    """The reflectors, and who hears of their changes."""

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        lb_class: str | None,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        own = f"{METALLB}/namespaces/{namespace}"
        self._client, self._clock, self._log = client, clock, log
        self._namespace, self._lb_class = namespace, lb_class
        self._rng = random.Random()  # noqa: S311 - back-off only
        self.services = self._reflector("Service", "/api/v1/services")
        self.namespaces = self._reflector("Namespace", "/api/v1/namespaces")
        self.pools = self._reflector("IPAddressPool", f"{own}/ipaddresspools")
        self.state = self._reflector(
            "ConfigurationState",
            f"{own}/configurationstates",
            ("fieldSelector", f"metadata.name={STATE}"),
        )
        self._ahead: dict[str, int] = {}
        """Services that a list has and the watch has not told yet, with their versions."""
        self.needed = (self.services, self.namespaces, self.pools)
        self.synced = asyncio.Event()
        """Set when each of them has been listed once."""
        self.on_services: Callable[[set[str]], None] = lambda keys: None
        self.on_namespaces: Callable[[], None] = lambda: None
        self.on_pools: Callable[[], None] = lambda: None
        self.on_state: Callable[[], None] = lambda: None

    def _reflector(self, kind: str, path: str, *query: tuple[str, str]) -> Reflector:
        keep = self.keep if kind == "Service" else None
        return Reflector(Resource(kind, path, query), self._rng, keep=keep)

    async def run(self) -> None:
        """Watch until cancelled. Raises only what is a bug."""
        async with asyncio.TaskGroup() as group:
            for found in (*self.needed, self.state):
                watcher = Watcher(self._client, found, self._clock, self._take, self._log)
                group.create_task(watcher.run())

    async def services_now(self) -> Reflector:
        """Return all services as the server has them in this moment, and not as a watch told.

        Raises ApiError.
        """
        reflector = self._reflector("Service", "/api/v1/services")
        while not reflector.synced:
            request = reflector.next_request()
            await asyncio.sleep(request.delay)
            page = await self._client.get(reflector.resource.path, dict(request.query))
            items = reflector.begin_page(page)
            if items is not None:
                reflector.add(items)
                reflector.end_page()
        return reflector

    def untold(
        self, listed: Reflector, known: Mapping[str, Service]
    ) -> list[tuple[str, Service | None]]:
        """Take a list; return what it has that the watch has not told, None for who is gone.

        `known` are the services of list and watch so far. While the list was on its way the watch
        went on: who came after it is not in it, and who has gone since is in it still.
        """
        watched, then = _number(self.services.version), _number(listed.version)
        found: list[tuple[str, Service | None]] = []
        for key, view in _all_by_key(listed, Service):
            version = _number(view.demand.version)
            if key not in self.services.objects and version > watched:
                self._ahead["/".join(key)] = version
            if key in self.services.objects or version > watched:
                found.append(("/".join(key), view))
        for name, view in known.items():
            if _split(name) not in listed.objects and _number(view.demand.version) <= then:
                found.append((name, None))
        return found

    def _caught_up(self) -> set[str]:
        """Drain those of a list whom the watch has told by now, or would have: they are gone."""
        watched = _number(self.services.version)
        found = {key for key, version in self._ahead.items() if version <= watched}
        for key in found:
            del self._ahead[key]
        return found

    def keep(self, view: View) -> View | None:
        """Keep services that are ours, or that have to be cleaned of what was."""
        if not isinstance(view, Service):
            return None
        ours = (view.load_balancer_class or None) == (self._lb_class or None)
        if view.type == "LoadBalancer":
            return view if ours else None
        if ALLOCATED_FROM not in view.annotations:
            return None
        return msgspec.structs.replace(view, labels={})

    @property
    def waiting_for(self) -> str | None:
        """Why nothing can be decided yet: the first resource that was never listed."""
        for reflector in self.needed:
            if not reflector.synced:
                return f"{reflector.resource.path}: {reflector.trouble or 'not listed yet'}"
        return None

    @property
    def behind(self) -> int:
        """How many resources may be out of date, because the API server does not answer."""
        return sum(found.trouble is not None for found in (*self.needed, self.state))

    def relists(self) -> Mapping[str, int]:
        """Count by kind how often everything was listed again, as a watch could not go on."""
        return {found.resource.kind: found.relists for found in (*self.needed, self.state)}

    def failed_reads(self) -> Mapping[str, int]:
        """Count by reason how often a list or a watch failed."""
        found = [reflector.failures for reflector in (*self.needed, self.state)]
        return {why.name.lower(): sum(counts[why] for counts in found) for why in Failure}

    def service(self, key: str) -> Service | None:
        """Return a service as it was last seen."""
        found = self.services.objects.get(_split(key))
        return found if isinstance(found, Service) else None

    def pool(self, name: str) -> IPAddressPool | None:
        """Return a pool as it was last seen."""
        found = self.pools.objects.get((self._namespace, name))
        return found if isinstance(found, IPAddressPool) else None

    def all_pools(self) -> list[IPAddressPool]:
        """Return all pools that can be read, by name."""
        return sorted(_all(self.pools, IPAddressPool), key=lambda pool: pool.name)

    def unread_pools(self) -> list[Problem]:
        """Return what is wrong with those that cannot, and what there is to warn of."""
        return [problem for found in self.pools.problems.values() for problem in found]

    def namespace_labels(self) -> dict[str, dict[str, str]]:
        """Return the labels of every namespace."""
        return {found.name: found.labels for found in _all(self.namespaces, Namespace)}

    def own_state(self) -> ConfigurationState | None:
        """Return our ConfigurationState, if it exists."""
        return next(_all(self.state, ConfigurationState), None)

    def _take(self, reflector: Reflector, changed: set[Key]) -> None:
        if reflector is self.services:
            self.on_services({"/".join(key) for key in changed} | self._caught_up())
        elif reflector is self.namespaces:
            self.on_namespaces()
        elif reflector is self.pools:
            self.on_pools()
        else:
            self.on_state()
        if self.waiting_for is None:
            self.synced.set()


def _all(reflector: Reflector, kind: type[_View]) -> Iterator[_View]:
    return (found for _, found in _all_by_key(reflector, kind))


def _all_by_key(reflector: Reflector, kind: type[_View]) -> Iterator[tuple[Key, _View]]:
    return ((key, view) for key, view in reflector.objects.items() if isinstance(view, kind))


def _split(key: str) -> Key:
    namespace, _, name = key.partition("/")
    return namespace, name


def _number(version: str) -> int:
    """Return a resourceVersion as the number that it is; 0 for none, as before everything."""
    return int(version) if version.isdecimal() and len(version) <= LONGEST_VERSION else 0
