"""A controller and a speaker of one folder: from a Service without an address to the answer."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.files.folder import FolderController
from netns import Host, missing_right, segment
from process import logs
from speakers import MANIFEST, ask, speaker, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=str(missing_right())),
]


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    with segment(["node-1", "node-2"]) as made:
        yield made


@contextmanager
def _controller(source: Path, state: Path) -> Iterator[FolderController]:
    """Run a controller in a thread with a loop of its own."""
    made: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
    controller = FolderController(source, state, "metallb-system", None, logs.logger(), lambda: 0.0)

    async def live() -> None:
        task = asyncio.create_task(controller.run())
        made.append((asyncio.get_running_loop(), task))
        await asyncio.wait([task])

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        wait_until(controller.settled.is_set, "addresses are given")
        yield controller
    finally:
        loop, task = made[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        controller.close()


def test_from_a_service_without_an_address_to_the_answer(
    hosts: dict[str, Host], tmp_path: Path
) -> None:
    source, state = tmp_path / "manifests", tmp_path / "state.json"
    source.mkdir()
    text = MANIFEST.format(name="web", ip="10.77.9.1")
    # It asks for an address: with a state file it is the controller that gives it.
    asks = "annotations: {metallb.io/loadBalancerIPs: 10.77.9.5}"
    text = text.replace(
        "{name: web, namespace: default}", f"{{name: web, namespace: default, {asks}}}", 1
    )
    without = "\n".join(line for line in text.splitlines() if not line.startswith("status:"))
    (source / "a.yaml").write_text(without)
    flags = ("--state", str(state))
    with speaker(hosts["node-1"], source, *flags, log=tmp_path / "log") as running:
        running.wait_for("ready")
        assert ask(hosts["node-2"], "10.77.9.5") is None
        with _controller(source, state):
            running.wait_for("leader", ip="10.77.9.5")
            assert ask(hosts["node-2"], "10.77.9.5") == hosts["node-1"].mac
        # The controller is gone: what it gave stays.
        state.write_text("[")
        running.wait_for("source", level="error")
        assert ask(hosts["node-2"], "10.77.9.5") == hosts["node-1"].mac
