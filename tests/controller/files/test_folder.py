"""The controller of a folder: real files, real renames, the real reader; turns taken one by one."""

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.files import folder
from controller.files.folder import FolderController
from controller.files.state_file import StateError
from kube.files.directory import SourceError, _Directory
from kube.objects.core import ALLOCATED_FROM
from process import logs

POOL = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: {name}, namespace: metallb-system}}
spec: {{addresses: [{addresses}]{more}}}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default, annotations: {{{annotations}}}}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]{more}}}
"""


class World:
    """A folder, its state file, and controllers that come and go."""

    def __init__(self, path: Path) -> None:
        self.source, self.state = path / "manifests", path / "state.json"
        self.source.mkdir()
        self.time = 0.0
        self.log: list[Any] = []

    def pool(self, addresses: str, name: str = "lab", more: str = "") -> None:
        self.write(f"{name}.yaml", POOL.format(name=name, addresses=addresses, more=more))

    def services(self, *names: str, annotations: str = "", more: str = "") -> None:
        made = (SERVICE.format(name=name, annotations=annotations, more=more) for name in names)
        self.write("services.yaml", "".join(made))

    def write(self, name: str, text: str) -> None:
        partial = self.source / f".{name}"
        partial.write_text(text)
        partial.replace(self.source / name)

    def kept(self) -> dict[str, tuple[list[str], str | None]]:
        """Addresses and pool by service, as the state file says."""
        if not self.state.exists():
            return {}
        return {
            item["metadata"]["name"]: (
                [entry["ip"] for entry in item["status"]["loadBalancer"]["ingress"]],
                item["metadata"]["annotations"].get(ALLOCATED_FROM),
            )
            for item in json.loads(self.state.read_text())["items"]
        }

    def ips(self) -> dict[str, str]:
        return {name: ",".join(ips) for name, (ips, _) in self.kept().items()}

    def run(self, *steps: Callable[["Life"], Awaitable[None] | None]) -> None:
        """Start a controller, let it take the folder up, take the steps, and end it."""

        async def live() -> None:
            with capture_logs() as self.log:
                life = Life(self)
                try:
                    await life.controller.open()
                    await life.look()
                    for step in steps:
                        if (waiting := step(life)) is not None:
                            await waiting
                finally:
                    life.controller.close()

        asyncio.run(live())

    def said(self, event: str) -> list[str]:
        return [
            str(line.get("problem") or line.get("message"))
            for line in self.log
            if line["event"] == event and line["log_level"] != "debug"
        ]


class Life:
    """One controller, from its start to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.controller = FolderController(
            world.source, world.state, "metallb-system", None, logs.logger(), lambda: world.time
        )
        self.directory = _Directory(world.source, "metallb-system")
        self._first = True

    async def look(self) -> None:
        """Read the folder as it is now, and take a turn."""
        found = self.directory.load() if self._first else self.directory.poll(forced=True)
        self._first = False
        if found is not None:
            self.controller.take(*found)
        await self.controller.turn()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    # A turn without news does not wait for the next look.
    monkeypatch.setattr(folder, "LOOK", 0.0)
    return World(tmp_path)


def _look(life: Life) -> Awaitable[None]:
    return life.look()


def test_services_get_addresses_and_the_file_says_from_where(world: World) -> None:
    world.pool("192.0.2.0/29")
    world.services("web", "db")
    world.run()
    assert world.kept() == {"web": (["192.0.2.0"], "lab"), "db": (["192.0.2.1"], "lab")}
    assert world.said("address") == ['Assigned IP ["192.0.2.0"]', 'Assigned IP ["192.0.2.1"]']


def test_addresses_stay_over_restarts_and_nothing_is_written(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web", "db")
    world.run()
    before, stamp = world.kept(), world.state.stat()
    # Whoever is read first now would get the first address, if it were given anew.
    world.services("a", "db", "web")
    world.run(_look, _look)
    assert world.kept() == {**before, "a": (["192.0.2.3"], "lab")}
    stamp = world.state.stat()
    figures = []
    world.run(_look, _look, lambda life: figures.append(life.controller.figures.writes))
    assert figures == [0]
    assert world.state.stat() == stamp


def test_a_service_that_goes_gives_its_address_back(world: World) -> None:
    world.pool("192.0.2.1/32")
    world.services("web", "db")

    def without_web(life: Life) -> None:
        assert world.ips() == {"web": "192.0.2.1"}
        assert life.controller.core.waiting() == 1
        world.services("db")

    world.run(without_web, _look)
    assert world.ips() == {"db": "192.0.2.1"}


def test_a_new_pool_serves_who_has_waited(world: World) -> None:
    world.services("web")
    world.pool("192.0.2.1/32", name="small", more=", autoAssign: false")

    world.run(
        lambda life: world.pool("192.0.2.1/32", name="small", more=", autoAssign: true"), _look
    )
    assert world.kept() == {"web": (["192.0.2.1"], "small")}


def test_the_status_of_a_manifest_is_adopted_first(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.2")
    held = SERVICE.format(name="zz", annotations="", more="")
    held += "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n"
    world.write("a.yaml", SERVICE.format(name="web", annotations="", more=""))
    world.write("b.yaml", held)
    world.run()
    assert world.ips() == {"web": "192.0.2.2", "zz": "192.0.2.1"}


def test_the_state_file_goes_before_the_status_of_a_manifest(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    world.run()
    with (world.source / "services.yaml").open("a") as file:
        file.write("status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}}\n")
    world.run()
    assert world.ips() == {"web": "192.0.2.1"}


def test_a_status_that_no_pool_allows_is_taken_back(world: World) -> None:
    world.pool("192.0.2.1/32", more=", autoAssign: false")
    world.services("web")
    with (world.source / "services.yaml").open("a") as file:
        file.write("status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}\n")
    world.run()
    assert world.kept() == {"web": ([], None)}, "an entry without an address: it has none"


def test_a_broken_manifest_keeps_its_addresses_even_over_a_restart(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.write("web.yaml", SERVICE.format(name="web", annotations="", more=""))
    world.run()
    broken = SERVICE.format(name="web", annotations="", more="").replace("LoadBalancer", "7")
    world.write("web.yaml", broken)
    world.write("db.yaml", SERVICE.format(name="db", annotations="", more=""))
    world.run()
    assert world.ips() == {"db": "192.0.2.2", "web": "192.0.2.1"}
    world.write("web.yaml", SERVICE.format(name="web", annotations="", more=""))
    world.run()
    assert world.ips() == {"db": "192.0.2.2", "web": "192.0.2.1"}


def test_a_start_that_cannot_read_everything_takes_nothing_away(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    world.run()
    before = world.state.read_bytes()
    good = (world.source / "lab.yaml").read_text()
    world.write("lab.yaml", "{")
    waiting = []

    def mend(life: Life) -> None:
        waiting.append(life.controller.waiting_for)
        assert world.state.read_bytes() == before
        world.write("lab.yaml", good)
        world.services("web", "db")

    world.run(mend, _look, lambda life: waiting.append(life.controller.waiting_for))
    assert waiting == ["the manifests are not all read", None]
    assert world.ips() == {"db": "192.0.2.2", "web": "192.0.2.1"}
    assert world.said("source") != []


def test_a_file_that_breaks_later_costs_nothing(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")

    def break_pool(_: Life) -> None:
        world.write("lab.yaml", "{")
        world.write("db.yaml", SERVICE.format(name="db", annotations="", more=""))

    world.run(break_pool, _look)
    assert world.ips() == {"db": "192.0.2.2", "web": "192.0.2.1"}


def test_overlapping_pools_leave_the_last_configuration_in_force(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")

    def overlap(_: Life) -> None:
        world.pool("192.0.2.0/24", name="other")
        world.services("web", "db")

    world.run(overlap, _look)
    assert world.kept() == {"web": (["192.0.2.1"], "lab"), "db": (["192.0.2.2"], "lab")}


def test_a_broken_state_file_is_said_once_and_kept(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    world.state.write_text('{"items":[\n]]')
    world.run(_look, _look)
    (said,) = world.said("state")
    assert f"{world.state}:2: error" in said
    assert world.state.with_name("state.json.broken").read_text() == '{"items":[\n]]'
    assert world.ips() == {"web": "192.0.2.1"}


def test_another_hand_in_the_file_is_undone(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    world.run(lambda _: world.state.unlink(), _look)
    assert world.ips() == {"web": "192.0.2.1"}
    assert "written anew" in world.said("state")[0]


def test_a_full_disk_is_said_once_a_minute_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    real, failures = os.fsync, [28] * 3

    def fsync(descriptor: int) -> None:
        if failures:
            raise OSError(failures.pop(), "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    counted = []

    def count(life: Life) -> None:
        assert world.kept() == {}
        counted.append(life.controller.figures.failed_writes)

    world.run(count, _look, count, _look, count, _look)
    assert counted == [1, 2, 3]
    assert world.ips() == {"web": "192.0.2.1"}
    assert len(world.said("state")) == 1
    assert world.said("address") == ['Assigned IP ["192.0.2.1"]'], (
        "told when it is kept, not before"
    )


def test_the_next_controller_waits_for_nobody(world: World) -> None:
    def another(_: Life) -> Awaitable[None]:
        return Life(world).controller.open()

    with pytest.raises(StateError, match="another controller keeps it"):
        world.run(another)


def test_namespaces_and_shared_addresses_follow_the_rules(world: World) -> None:
    selector = ", serviceAllocation: {namespaces: [other]}"
    world.pool("192.0.2.1-192.0.2.9", more=selector)
    world.pool("198.51.100.1/32", name="shared")
    one = SERVICE.format(name="one", annotations="metallb.io/allow-shared-ip: x", more="")
    two = one.replace("name: one", "name: two").replace("port: 80", "port: 81")
    world.write("services.yaml", one + two)
    world.run()
    assert world.ips() == {"one": "198.51.100.1", "two": "198.51.100.1"}


def test_families_follow_the_pools_where_nobody_names_them(world: World) -> None:
    world.pool("2001:db8::1-2001:db8::9")
    world.services("web")

    def add_ipv4(_: Life) -> None:
        world.pool("192.0.2.1-192.0.2.9", name="four")
        world.services("web", "db")

    world.run(add_ipv4, _look)
    assert world.ips() == {"web": "2001:db8::1", "db": "192.0.2.1"}


def test_a_service_that_is_no_load_balancer_any_more_has_no_entry(world: World) -> None:
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    text = (world.source / "services.yaml").read_text().replace("LoadBalancer", "ClusterIP")
    world.run(lambda _: world.write("services.yaml", text), _look)
    assert world.kept() == {}


# ---- the whole of it, with its own clock


def _run_until(controller: FolderController, reached: Callable[[], bool]) -> None:
    async def live() -> None:
        running = asyncio.create_task(controller.run())
        try:
            async with asyncio.timeout(30):
                while not reached():
                    assert not running.done(), running.result()
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait([running])
            controller.close()

    asyncio.run(live())


def _controller(world: World) -> FolderController:
    return FolderController(
        world.source, world.state, "metallb-system", None, logs.logger(), lambda: world.time
    )


def test_it_runs_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    controller = _controller(world)
    _run_until(controller, controller.settled.is_set)
    assert world.ips() == {"web": "192.0.2.1"}
    assert controller.waiting_for is None
    # It has let go of the file.
    again = _controller(world)
    _run_until(again, again.settled.is_set)
    assert again.figures.writes == 0


def test_a_folder_that_is_not_there_ends_it(tmp_path: Path) -> None:
    controller = FolderController(
        tmp_path / "none", tmp_path / "state", "metallb-system", None, logs.logger(), lambda: 0.0
    )
    with pytest.raises(SourceError, match="none: No such file or directory"):
        asyncio.run(controller.run())
    controller.close()


def test_a_state_file_among_the_manifests_ends_it(tmp_path: Path) -> None:
    controller = FolderController(
        tmp_path, tmp_path / "state.json", "metallb-system", None, logs.logger(), lambda: 0.0
    )
    with pytest.raises(SourceError, match="lies among the manifests of"):
        asyncio.run(controller.run())


def test_who_ends_it_waits_for_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.pool("192.0.2.1-192.0.2.9")
    world.services("web")
    real, entered, go_on = os.fsync, threading.Event(), threading.Event()

    def fsync(descriptor: int) -> None:
        entered.set()
        assert go_on.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    controller = _controller(world)

    async def live() -> None:
        running = asyncio.create_task(controller.run())
        assert await asyncio.to_thread(entered.wait, 30)
        running.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done(), "another controller could have the file now"
        go_on.set()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(live())
    controller.close()
    assert world.ips() == {"web": "192.0.2.1"}
