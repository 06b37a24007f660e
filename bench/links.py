"""`python -m bench.links [CHECKOUT...]`: what links that come and go cost a speaker.

On a node with containers links come and go all the time, and no service is announced on them. Each
checkout's speaker (by default ours) runs in a namespace in which 50 veth pairs a second are made
and deleted, once excluded by `excludel2.yaml` and once not; beside them runs a process that only
reads the same news. Needs root; prints the part of a core that each used, round by round.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "netns-lab"), str(ROOT / "tests" / "support"), str(ROOT)]

from bench.client import processor_seconds  # noqa: E402
from dualstack import Machine, dualstack, manifests  # noqa: E402

VIP = "10.77.1.1"
PAIRS_A_SECOND = 50
LIFE = 1.0
"""Seconds that a pair of links lives."""
SECONDS = 4.0
ROUNDS = 5
EXCLUDE = 'announcedInterfacesToExclude: ["^storm"]\n'
SPEAKER = "import sys; sys.path.insert(0, sys.argv.pop(1)); from speaker.cli import main; main()"


def storm(machine: Machine) -> int:
    """Fork a maker and deleter of links in the machine; return its pid."""
    pid = os.fork()
    if not pid:
        try:
            machine.netlink(_make_and_delete)
        finally:
            os._exit(0)
    return pid


def _make_and_delete(netlink: Any) -> None:
    began, living = time.monotonic(), list[tuple[float, str]]()
    for number in range(int(SECONDS * PAIRS_A_SECOND)):
        time.sleep(max(0.0, began + number / PAIRS_A_SECOND - time.monotonic()))
        name = f"storm{number}"
        netlink.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}x"})
        for end in (name, f"{name}x"):
            netlink.link("set", index=netlink.link_lookup(ifname=end)[0], state="up")
        living.append((time.monotonic() + LIFE, name))
        while living and living[0][0] <= time.monotonic():
            _delete(netlink, living.pop(0)[1])
    for _, name in living:
        _delete(netlink, name)


def _delete(netlink: Any, name: str) -> None:
    netlink.link("del", index=netlink.link_lookup(ifname=name)[0])


@contextmanager
def watched(machine: Machine, command: list[str]) -> Iterator[int]:
    """Run a command in the machine's namespace, without its output; give its pid."""
    with open(os.devnull, "wb") as null:
        child = machine.namespace.start(command, stdout=null.fileno(), stderr=subprocess.STDOUT)
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def speaker(stack: ExitStack, folder: Path, checkout: str, files: str) -> tuple[Machine, int]:
    """Start a checkout's speaker that excludes what the folder `files` says."""
    machine = stack.enter_context(dualstack("client", "node"))["node"]
    flags = ["--node-name", "node", "--port", "0", "--log-level", "warn"]
    flags += ["--source", str(folder / "source"), "--metallb-files", str(folder / files)]
    command = [sys.executable, "-c", SPEAKER, checkout, *flags]
    return machine, stack.enter_context(watched(machine, command))


def listener(stack: ExitStack) -> tuple[Machine, int]:
    """Start a process that reads the news of links and does nothing about them."""
    machine = stack.enter_context(dualstack("client", "node"))["node"]
    command = [sys.executable, "-m", "bench.links", "--listen"]
    return machine, stack.enter_context(watched(machine, command))


def listen() -> None:
    """Decode what comes, for ever."""
    from link.netlink.monitor import Monitor

    async def run() -> None:
        monitor = Monitor(lambda interfaces, macs: None)
        await monitor.start()
        await asyncio.Event().wait()

    asyncio.run(run())


def main() -> None:
    """Measure all in turn, print each round's part of a core, and the median."""
    checkouts = sys.argv[1:] or [str(ROOT)]
    found: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        manifests(folder / "source", VIP)
        (folder / "excluding").mkdir()
        (folder / "excluding" / "excludel2.yaml").write_text(EXCLUDE)
        (folder / "plain").mkdir()
        running = {"listener": listener(stack)}
        for checkout in checkouts:
            for files in ("excluding", "plain"):
                running[f"{checkout} {files}"] = speaker(stack, folder, checkout, files)
        time.sleep(8.0)
        for _ in range(ROUNDS):
            for name, (machine, pid) in running.items():
                before = processor_seconds(pid)
                os.waitpid(storm(machine), 0)
                found[name].append((processor_seconds(pid) - before) / SECONDS)
    for name, parts in found.items():
        each = " ".join(f"{part:.1%}" for part in parts)
        print(f"{name}: median {statistics.median(parts):.1%} of a core ({each})")


if __name__ == "__main__":
    listen() if sys.argv[1:] == ["--listen"] else main()
