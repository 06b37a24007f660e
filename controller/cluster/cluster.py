"""The allocating half of a controller in a cluster: watches, decides while it leads, writes."""

import asyncio
from collections.abc import Callable

import msgspec
from structlog.typing import FilteringBoundLogger as Log

from controller.admission.summary import summary
from controller.allocation.assignments import Assignments
from controller.allocation.pools import Pools
from controller.cluster.watching import Watching
from controller.cluster.writer import Writer
from kube.api.client import ApiClient, ApiError
from kube.config import judge
from kube.objects.metallb import IPAddressPool
from kube.problem import Problem, Severity
from process.survival import survive

BITE = 0.005
"""Seconds that one turn of the loop may spend on decisions."""
RETRY = 0.5
"""Seconds until a new leader asks again for what the server would not tell."""


class Cluster:
    """Joins the core with reflectors and writer; the lease says `lead` and `follow`."""

    def __init__(
        self,
        client: ApiClient,
        names: tuple[str, str],
        lb_class: str | None,
        leads: Callable[[], bool],
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        """`names` are the namespace of the pools and the name of our pod."""
        self.core = Assignments(lb_class)
        self.watching = Watching(client, names[0], lb_class, clock, log)
        self.writer = Writer(client, self.core, self.watching, names, leads, clock, log)
        self.updates = 0
        """Changes of objects that were looked at."""
        self.loaded = self.stale = False
        """Whether there has been a valid configuration, and whether that of now is none."""
        self._leads, self._clock, self._log = leads, clock, log
        self._specs: list[IPAddressPool] = []
        self._judged: tuple[list[IPAddressPool], list[Problem]] | None = None
        self._waking = False
        self._leading: asyncio.Task[None] | None = None
        self.writer.on_written = self._wake
        self.watching.on_services = self._take_services
        self.watching.on_namespaces = self._take_namespaces
        self.watching.on_pools = self._take_pools
        self.watching.on_state = self.writer.look_at_state

    async def close(self) -> None:
        """Decide nothing any more, and let what is being written end."""
        self.follow()
        await self.writer.close()

    # ---- leading

    def lead(self) -> None:
        """Begin to decide, as soon as all is known that decisions are made of."""
        if self._leading is None:
            self._leading = asyncio.create_task(self._begin())

    def follow(self) -> None:
        """Another leads, or nobody."""
        if self._leading is not None:
            self._leading.cancel()
            self._leading = None
        self.core.follow()

    async def _begin(self) -> None:
        await self.watching.synced.wait()
        while True:
            if await self._catch_up():
                break
            await asyncio.sleep(RETRY)
        self._log.info("leader", services=len(self.core.services()))
        self.core.lead()
        self.writer.lead()
        self._wake()

    async def _catch_up(self) -> bool:
        """Look at the services themselves: what the last leader wrote may not be watched yet."""
        try:
            listed = await self.watching.services_now()
        except ApiError as error:
            self._log.warning("leader", error=str(error))
            return False
        for key, view in self.watching.untold(listed, self.core.services()):
            # What is watched is kept anyway: one of two equal views is enough.
            watched = self.watching.service(key)
            self.core.handle_service(key, watched if watched == view else view)
        return True

    # ---- what comes in

    def _take_services(self, keys: set[str]) -> None:
        for key in keys:
            self.core.handle_service(key, self.watching.service(key))
        self.updates += len(keys)
        self._wake()

    def _take_namespaces(self) -> None:
        self.core.set_namespaces(self.watching.namespace_labels())
        self._wake()

    def _take_pools(self) -> None:
        self.updates += 1
        self.writer.look_at_pools()
        specs = [msgspec.structs.replace(p, status=None) for p in self.watching.all_pools()]
        problems = self.watching.unread_pools()
        # Most changes are of counters, which we wrote ourselves.
        if (specs, problems) != self._judged:
            self._judged = specs, problems
            self._judge(specs, problems)

    def _judge(self, specs: list[IPAddressPool], problems: list[Problem]) -> None:
        config, findings = judge(specs, [])
        errors = [p for p in (*problems, *findings) if p.severity is Severity.ERROR]
        self.stale = bool(errors)
        self.writer.judge(summary(specs, errors), errors)
        if config is not None and not errors:
            self.loaded = True
            if specs != self._specs or self.core.pools is None:
                self._specs = specs
                self.core.set_pools(Pools(specs, config))
        self._wake()

    # ---- deciding

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._waking = False
        if not self.core.leads:
            return
        if not self._leads():
            # It stood still for so long that another may lead: that is found out in this moment.
            self.core.follow()
            return
        until = self._clock() + BITE
        try:
            self.core.settle(lambda: self._clock() >= until)
        except Exception as error:
            survive("allocation", error)
        self.writer.look()
        if self.core.busy:
            self._wake()
