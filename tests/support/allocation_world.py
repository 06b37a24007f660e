"""The allocation core with an API server that answers at once: objects in, statuses out."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

from controller.admission.summary import summary
from controller.allocation.assignments import Assignments
from controller.allocation.io import ServiceEvent, StatusWrite
from controller.allocation.pools import Pools
from controller.allocation.requests import ALLOCATED_FROM
from kube.config import judge
from kube.objects.core import Service
from kube.objects.metallb import IPAddressPool
from kube.objects.reading import decode
from kube.problem import Problem

Object = dict[str, Any]


class AllocationWorld:
    """Services and pools as plain objects, and a leader that decides about them."""

    def __init__(self, lb_class: str | None = None) -> None:
        self.services: dict[str, Object] = {}
        self.pools: dict[str, Object] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.events: dict[str, list[ServiceEvent]] = defaultdict(list)
        self.problems: list[Problem] = []
        self.verdict: list[str] = []
        self.writes: list[StatusWrite] = []
        self._lb_class = lb_class
        self._version = 0
        self._valid: Pools | None = None
        self.core = Assignments(lb_class)
        self.start()

    # ---- what users do

    def apply_pool(self, document: Object | None, name: str) -> None:
        if document is None:
            self.pools.pop(name, None)
        else:
            self.pools[name] = document
        self._judge()
        if self._valid is not None:
            self.core.set_pools(self._valid)
        self.settle()

    def apply_service(self, key: str, metadata: Object, spec: Object) -> None:
        """The object as the server keeps it; its status stays as it was."""
        namespace, _, name = key.partition("/")
        known = self.services.get(key, {})
        status = known.get("status", {}) if spec.get("type") == "LoadBalancer" else {}
        metadata = {**metadata, "namespace": namespace, "name": name}
        self.services[key] = {"metadata": metadata, "spec": spec, "status": status}
        self._changed(key)
        self.settle()

    def set_status(self, key: str, status: Object) -> None:
        self.services[key]["status"] = status
        self._changed(key)
        self.settle()

    def delete_service(self, key: str) -> None:
        del self.services[key]
        if self.core.leads:
            self.core.handle_service(key, None)
        self.settle()

    def label_namespace(self, name: str, labels: dict[str, str]) -> None:
        self.namespaces = {**self.namespaces, name: labels}
        self.core.set_namespaces(self.namespaces)
        self.settle()

    # ---- the controller

    def start(self) -> None:
        """A controller that knows nothing begins, and hears of everything."""
        self.core = Assignments(self._lb_class)
        self.core.set_namespaces(self.namespaces)
        self._judge()
        if self._valid is not None:
            self.core.set_pools(self._valid)
        for key in sorted(self.services):
            self.core.handle_service(key, self.view(key))
        self.core.lead()
        self.settle()

    def stop(self) -> None:
        self.core.follow()

    def settle(self) -> None:
        """Decide, write, and hear of what was written, until nothing is left."""
        for _ in range(1_000):
            self.core.settle(lambda: False)
            due = self.core.due()
            for key in due:
                if (write := self.core.wanted(key)) is not None:
                    self.write(write)
            self._gather()
            if not due and not self.core.busy:
                return
        raise AssertionError("it never settles")

    def write(self, write: StatusWrite) -> None:
        self.writes.append(write)
        item = self.services[write.service]
        assert item["metadata"]["resourceVersion"] == write.version
        item["status"] = {"loadBalancer": {"ingress": [{"ip": str(ip)} for ip in write.ips]}}
        annotations = dict(item["metadata"].get("annotations") or {})
        annotations.pop(ALLOCATED_FROM, None)
        item["metadata"]["annotations"] = annotations
        if write.pool:
            annotations[ALLOCATED_FROM] = write.pool
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.core.handle_written(write.service, self.view(write.service))

    def view(self, key: str) -> Service:
        found, _ = decode("Service", json.dumps(self.services[key]).encode())
        return cast(Service, found)

    # ---- what is there

    def ingress(self, key: str) -> list[str]:
        balancer = self.services[key].get("status", {}).get("loadBalancer") or {}
        return [entry["ip"] for entry in balancer.get("ingress") or []]

    def pool(self, key: str) -> str | None:
        annotations = self.services[key]["metadata"].get("annotations") or {}
        return cast(str | None, annotations.get(ALLOCATED_FROM))

    def _changed(self, key: str) -> None:
        self._version += 1
        self.services[key]["metadata"]["resourceVersion"] = str(self._version)
        if self.core.leads:
            self.core.handle_service(key, self.view(key))

    def _gather(self) -> None:
        for told in self.core.events():
            self.events[told.service].append(told)

    def _judge(self) -> None:
        pools: list[IPAddressPool] = []
        for name in sorted(self.pools):
            found, _ = decode("IPAddressPool", json.dumps(self.pools[name]).encode())
            pools.append(cast(IPAddressPool, found))
        config, self.problems = judge(pools, [])
        self.verdict = summary(pools, self.problems)
        if config is not None:
            self._valid = Pools(pools, config)


def merged(document: Any, patch: Any) -> Any:
    """Return what a JSON merge patch (RFC 7386) makes of a document."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
