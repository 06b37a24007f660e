"""Runs the speaker with one fault in it: `faulty.py FAULT -m speaker ...`.

A fault replaces one function of the speaker by one that raises. Those that end in `once` work after
that as they did, so that whatever ought to go on can be seen to go on.
"""

import errno
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "injected"
POISON = "poison"
"""The name of the service that a fault is about."""


class InjectedError(Exception):
    """Not a type that anybody expects."""


def _raise(*_: Any, **__: Any) -> Any:
    raise InjectedError(TEXT)


async def _raise_later(*_: Any, **__: Any) -> Any:
    raise InjectedError(TEXT)


async def _return(*_: Any, **__: Any) -> None:
    """End in order where there should be no end."""


def _for_call(
    owner: Any,
    name: str,
    which: Callable[[int, tuple[Any, ...]], bool],
    error: Exception | None = None,
) -> None:
    """Have `owner.name` raise at the calls that `which(number, arguments)` picks, from 1 on."""
    real, calls = getattr(owner, name), 0

    def call(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if which(calls, arguments):
            raise error or InjectedError(TEXT)
        return real(*arguments, **keywords)

    setattr(owner, name, call)


def _nth(owner: Any, name: str, number: int = 1) -> None:
    _for_call(owner, name, lambda call, _: call == number)


def _prepare_once() -> None:
    from speaker import configuration

    # The first call is that of the start.
    _nth(configuration, "prepare", 2)


def _filters_once() -> None:
    from speaker.wire.layer2 import Layer2

    _nth(Layer2, "set_service_ips", 2)


def _plan_of_one_service() -> None:
    from plan.layer2 import Rules

    _for_call(Rules, "plan", lambda _, arguments: arguments[1].name == POISON)


def _announcing_one_service() -> None:
    from ownership.election.reconcile import Reconciler

    _for_call(Reconciler, "reconcile", lambda _, arguments: arguments[1].endswith(f"/{POISON}"))


def _half_announced_once() -> None:
    """The service counts as announced by then."""
    from ownership.failover import Failover
    from speaker import driver

    driver.SERVICE_RETRY = 0.1
    _nth(Failover, "win")


def _datagram_once() -> None:
    from gossip.swim import Swim

    _nth(Swim, "handle_datagram")


def _datagram_always() -> None:
    from gossip.swim import Swim

    _for_call(Swim, "handle_datagram", lambda *_: True)


def _gossip_timer_once() -> None:
    from gossip.swim import Swim

    _nth(Swim, "handle_timeout")


def _gossip_timer_always() -> None:
    from gossip import agent
    from gossip.swim import Swim

    agent.FIRST_RETRY = 0.001
    _for_call(Swim, "handle_timeout", lambda *_: True)


def _gossip_event_once() -> None:
    from speaker.members import Members

    _nth(Members, "_on_member")


def _seeds_once() -> None:
    from speaker.ring import peers

    _quick_helpers()
    _nth(peers, "look_up")


def _secret_once() -> None:
    from speaker.ring import secret_file

    _quick_helpers()
    secret_file.POLL = 0.1
    _nth(secret_file, "read_secret")


def _quick_helpers() -> None:
    from speaker import upkeep

    upkeep.FIRST_PAUSE = 0.01


def _turn_once() -> None:
    from speaker.driver import Driver

    _nth(Driver, "_turn", 2)


def _turn_always() -> None:
    from speaker import upkeep
    from speaker.driver import Driver

    upkeep.FAILING_FOR = 0.5
    _for_call(Driver, "_turn", lambda call, _: call > 1)


def _heartbeat_once() -> None:
    from speaker.driver import Driver

    _nth(Driver, "_fire", 2)


def _failover_once() -> None:
    from ownership.failover import Failover

    _nth(Failover, "handle_timeout", 3)


def _failover_always() -> None:
    from ownership.failover import Failover
    from speaker import upkeep

    upkeep.FAILING_FOR = 0.5
    _for_call(Failover, "handle_timeout", lambda *_: True)


def _frame_once() -> None:
    from ownership.announcing.answering import Answering

    _nth(Answering, "_answer")


def _socket_once() -> None:
    from link.packet_socket import PacketSocket
    from speaker.wire.layer2 import FRAMES_A_TURN

    failed: list[bool] = []

    def first_read(_: int, arguments: tuple[Any, ...]) -> bool:
        # Frames are thrown away by the same call, with another limit.
        if failed or arguments[1:] != (FRAMES_A_TURN,):
            return False
        failed.append(True)
        return True

    _for_call(PacketSocket, "receive", first_read, OSError(errno.EIO, TEXT))


def _links_once() -> None:
    from speaker.wire.layer2 import Layer2

    _nth(Layer2, "set_interfaces", 2)


def _netlink_once() -> None:
    from link.netlink.monitor import Monitor

    real = Monitor._read
    told: list[bool] = []

    def read(self: Any) -> None:
        if self._synced.is_set() and not told:
            told.append(True)
            raise InjectedError(TEXT)
        real(self)

    Monitor._read = read  # type: ignore[method-assign]


def _source_ends() -> None:
    _at_reload(_return)


def _source_raises() -> None:
    _at_reload(_raise_later)


def _at_reload(then: Callable[[], Any]) -> None:
    """End the source as the test asks for it, by SIGHUP."""
    from kube.files.directory import DirectorySource

    async def run(self: Any) -> None:
        self._on_change(*self._directory.load())
        await self._wake.wait()
        await then()

    DirectorySource.run = run  # type: ignore[method-assign]


def _api_thread_raises() -> None:
    from kube.api.state import KubernetesSource

    KubernetesSource.run = _raise_later  # type: ignore[method-assign]


def _leaving_raises() -> None:
    from speaker.leaving import Leaving

    Leaving._withdraw_everything = _raise_later  # type: ignore[method-assign]


def _quick_rotation() -> None:
    """No fault: a new key is tried at once, so that one who lacks it is missed soon."""
    from gossip import rotation
    from speaker.ring import secret_file

    rotation.SETTLE, secret_file.POLL = 0.5, 0.1


def _no_room_for_news() -> None:
    """The queue of gossip holds none: as if thousands waited in it already."""
    from gossip.broadcast import BroadcastQueue

    made = BroadcastQueue.__init__
    BroadcastQueue.__init__ = lambda self, limit: made(self, 0)  # type: ignore[method-assign]


def _disk_hangs() -> None:
    """A thread of the default executor never returns, and Python waits for it at the end."""
    from kube.files import directory

    def poll(*_: Any) -> Any:
        Path("/proc/thread-self/comm").write_text("hangs")
        time.sleep(3600)

    directory._Directory.poll = poll  # type: ignore[assignment,method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    "prepare_once": _prepare_once,
    "filters_once": _filters_once,
    "plan_of_one_service": _plan_of_one_service,
    "announcing_one_service": _announcing_one_service,
    "half_announced_once": _half_announced_once,
    "datagram_once": _datagram_once,
    "datagram_always": _datagram_always,
    "gossip_timer_once": _gossip_timer_once,
    "gossip_timer_always": _gossip_timer_always,
    "gossip_event_once": _gossip_event_once,
    "seeds_once": _seeds_once,
    "secret_once": _secret_once,
    "turn_once": _turn_once,
    "turn_always": _turn_always,
    "heartbeat_once": _heartbeat_once,
    "failover_once": _failover_once,
    "failover_always": _failover_always,
    "frame_once": _frame_once,
    "socket_once": _socket_once,
    "links_once": _links_once,
    "netlink_once": _netlink_once,
    "source_ends": _source_ends,
    "source_raises": _source_raises,
    "api_thread_raises": _api_thread_raises,
    "leaving_raises": _leaving_raises,
    "disk_hangs": _disk_hangs,
    "no_room_for_news": _no_room_for_news,
    "quick_rotation": _quick_rotation,
}


def main() -> None:
    """Put the fault in, then run the module."""
    fault, flag, module, *arguments = sys.argv[1:]
    assert flag == "-m", sys.argv
    sys.path.insert(0, os.getcwd())
    FAULTS[fault]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
