"""What a new leader learns from a list of all services, while its watch goes on."""

import json
import random
from typing import Any, cast

import pytest

from controller.cluster.watching import Watching
from kube.api.client import ApiClient
from kube.api.reflector import Reflector
from kube.objects.core import Service
from process import logs

CLASSES = (None, "example.org/other")


def item(name: str, version: int, lb_class: str | None = None) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "loadBalancerClass": lb_class}
    metadata = {"namespace": "default", "name": name, "resourceVersion": str(version)}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


def fill(reflector: Reflector, version: int, *items: dict[str, Any]) -> Reflector:
    """Have it hold a list."""
    page = {"metadata": {"resourceVersion": str(version)}, "items": items}
    found = reflector.begin_page(json.dumps(page).encode())
    assert found is not None
    reflector.add(found)
    reflector.end_page()
    return reflector


class Setting:
    """A watch that holds `a` and `b` as of version 10, and a core that knows the same."""

    def __init__(self) -> None:
        client = cast(ApiClient, None)
        self.watching = Watching(client, "metallb-system", None, lambda: 0.0, logs.logger())
        fill(self.watching.services, 10, item("a", 3), item("b", 5))
        self.known: dict[str, Service] = {}
        for key, view in self.watching.services.objects.items():
            self.known["/".join(key)] = cast(Service, view)

    def watch(self, kind: str, found: dict[str, Any]) -> None:
        self.watching.services.event(json.dumps({"type": kind, "object": found}).encode())
        key = f"default/{found['metadata']['name']}"
        view = self.watching.service(key)
        if view is None:
            self.known.pop(key, None)
        else:
            self.known[key] = view

    def learn(self, version: int, *items: dict[str, Any]) -> dict[str, str | None]:
        """Take a list; return the versions of what is known then."""
        listed = fill(self._new_list(), version, *items)
        found: dict[str, Service | None] = dict(self.known)
        for key, view in self.watching.untold(listed, self.known):
            before = found.get(key)
            # The core does so: an older state of a service is no news.
            if view is None or before is None or int(view.demand.version) >= version_of(before):
                found[key] = view
        return {key: view.demand.version for key, view in found.items() if view is not None}

    def _new_list(self) -> Reflector:
        resource = self.watching.services.resource
        return Reflector(resource, random.Random(0), keep=self.watching.keep)


def version_of(view: Service) -> int:
    return int(view.demand.version)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_what_the_watch_has_not_told_yet(setting: Setting) -> None:
    """`a` has changed, `b` is gone, `c` is new."""
    found = setting.learn(20, item("a", 12), item("c", 14))
    assert found == {"default/a": "12", "default/c": "14"}


def test_who_comes_while_the_list_is_on_its_way_stays(setting: Setting) -> None:
    setting.watch("ADDED", item("late", 21))
    found = setting.learn(20, item("a", 3), item("b", 5))
    assert found == {"default/a": "3", "default/b": "5", "default/late": "21"}


def test_who_goes_while_the_list_is_on_its_way_does_not_come_back(setting: Setting) -> None:
    setting.watch("DELETED", item("b", 21))
    assert setting.learn(20, item("a", 3), item("b", 5)) == {"default/a": "3"}


def test_who_was_deleted_and_made_again(setting: Setting) -> None:
    setting.watch("DELETED", item("b", 21))
    setting.watch("ADDED", item("b", 22))
    assert setting.learn(20, item("a", 3), item("b", 5)) == {"default/a": "3", "default/b": "22"}


@pytest.mark.parametrize("lb_class", CLASSES)
def test_who_is_not_ours_is_not_learnt(setting: Setting, lb_class: str | None) -> None:
    found = setting.learn(20, item("a", 3), item("b", 5), item("c", 14, lb_class))
    assert ("default/c" in found) is (lb_class is None)


def test_a_watch_that_lists_anew_knows_nothing_better(setting: Setting) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410}}
    setting.watching.services.event(json.dumps(gone).encode())
    assert setting.watching.services.version == ""
    found = setting.learn(20, item("a", 3), item("c", 9))
    assert found == {"default/a": "3", "default/c": "9"}


def test_who_is_gone_before_the_watch_tells_of_him_is_not_kept(setting: Setting) -> None:
    """The watch breaks off, and what it lists has him no more: that is no change to it."""
    told: list[set[str]] = []
    setting.watching.on_services = told.append
    watched = setting.watching.services
    assert "default/c" in setting.learn(20, item("a", 3), item("b", 5), item("c", 14))
    watched.event(b'{"type": "MODIFIED", "object": ' + json.dumps(item("a", 13)).encode() + b"}")
    setting.watching._take(watched, {("default", "a")})
    watched.event(b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}')
    fill(watched, 30, item("a", 13), item("b", 5))
    setting.watching._take(watched, set())
    setting.watching._take(watched, set())
    assert told == [{"default/a"}, {"default/c"}, set()]
    assert setting.watching.service("default/c") is None
