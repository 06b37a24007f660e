"""Clusters of real processes: on one segment for a test or a module, and long-running ones.

The long-running ones wait for minutes by their nature. They begin with the first test and pass
beside all others; the test that judges one waits for its end.
"""

import shutil
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Generic, TypeVar

import pytest

import gopeer
import netns
import steady
import unattended
from foreign_peers import ClarionPeer, GoPeer, Options, Peer, SerfPeer
from gobuild import BuildError
from steady import Cost
from unattended import Story

KINDS: dict[str, Callable[[netns.Host, str, Options], Peer]] = {
    "go": GoPeer,
    "serf": SerfPeer,
    "clarion": ClarionPeer,
}
PLAIN = Options()
AES_256 = Options(keys=(bytes(range(32)),))
T = TypeVar("T")

Start = Callable[..., Peer]


def _why_no_go() -> str | None:
    try:
        gopeer.build()
    except BuildError as error:
        return str(error)
    return None


def _why_no_serf() -> str | None:
    return None if shutil.which("serf") else "serf is not installed, see .ci/install-foreign"


@pytest.fixture(scope="session")
def missing() -> dict[str, str | None]:
    """Why a kind of peer cannot run here, None where it can."""
    rights = netns.missing_right()
    return {
        "go": rights or _why_no_go(),
        "serf": rights or _why_no_serf(),
        "clarion": rights,
    }


@contextmanager
def _starting(missing: dict[str, str | None], hosts: int) -> Iterator[Start]:
    if reason := missing["clarion"]:
        pytest.skip(reason)
    with ExitStack() as stack:
        made = stack.enter_context(netns.segment([f"host{n}" for n in range(hosts)]))
        free = iter(made.values())

        def begin(kind: str, name: str, options: Options = PLAIN) -> Peer:
            if reason := missing[kind]:
                pytest.skip(f"no {kind} peer: {reason}")
            peer = KINDS[kind](next(free), name, options)
            stack.callback(peer.stop)
            return peer

        yield begin


@pytest.fixture
def start(missing: dict[str, str | None]) -> Iterator[Start]:
    """Starts a peer of a kind on a host of its own; all are stopped with the test."""
    with _starting(missing, 8) as begin:
        yield begin


@pytest.fixture(scope="module")
def start_to_share(missing: dict[str, str | None]) -> Iterator[Start]:
    """The same; all are stopped with the module."""
    with _starting(missing, 20) as begin:
        yield begin


class Promises(Generic[T]):
    """What runs beside the tests: results to come, by key."""

    def __init__(self, missing: dict[str, str | None]) -> None:
        self._missing = missing
        self._pool = ThreadPoolExecutor(thread_name_prefix="beside the tests")
        self._running: dict[Hashable, tuple[ExitStack, Future[T]]] = {}
        self._skipped: dict[Hashable, str] = {}

    def begin(self, key: Hashable, kind: str, run: Callable[[ExitStack], T]) -> None:
        """Run this in a thread; what it puts on the stack is stopped when it ends."""
        if reason := self._missing[kind]:
            self._skipped[key] = f"no {kind} peer: {reason}"
            return
        stack = ExitStack()

        def work() -> T:
            with stack:
                return run(stack)

        self._running[key] = stack, self._pool.submit(work)

    def result(self, *key: Hashable) -> T:
        """Wait for it; raises what it raised. Skips the test where its kind of peer is missing."""
        if reason := self._skipped.get(key):
            pytest.skip(reason)
        return self._running[key][1].result()

    def abandon(self) -> None:
        """End what nobody has waited for."""
        for stack, future in self._running.values():
            if not future.done():
                stack.close()
        self._pool.shutdown()


@pytest.fixture(scope="session", autouse=True)
def _begin_early(request: pytest.FixtureRequest) -> None:
    """What takes minutes begins before the first test, if any test is to judge it."""
    wanted = {
        name
        for item in request.session.items
        if isinstance(item, pytest.Function)
        for name in item.fixturenames
    }
    for name in ("rotations", "blocked", "costs"):
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture(scope="session")
def rotations(
    missing: dict[str, str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Promises[Story]]:
    """By kind of the foreign peers: all get the new key in time."""
    promises = Promises[Story](missing)
    for kind in ("go", "serf"):
        folder = tmp_path_factory.mktemp(f"rotation-{kind}")
        promises.begin((kind,), kind, partial(unattended.rotation, kind, folder))
    yield promises
    promises.abandon()


@pytest.fixture(scope="session")
def blocked(
    missing: dict[str, str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Promises[tuple[Story, Story]]]:
    """By kind of the foreign peers: some get the new key late."""
    promises = Promises[tuple[Story, Story]](missing)
    for kind in ("go", "serf"):
        folder = tmp_path_factory.mktemp(f"blocked-{kind}")
        promises.begin((kind,), kind, partial(unattended.blocked, kind, folder))
    yield promises
    promises.abandon()


@pytest.fixture(scope="session")
def costs(missing: dict[str, str | None]) -> Iterator[Promises[Cost]]:
    """By kind and number of nodes: what a quiet cluster costs."""
    promises = Promises[Cost](missing)
    for kind in ("go", "clarion"):
        for nodes in (3, 8):
            run = partial(steady.on_a_segment, kind, nodes, AES_256)
            promises.begin((kind, nodes), kind, run)
    many = partial(steady.on_loopback, "clarion", 50, AES_256)
    promises.begin(("clarion", 50), "clarion", many)
    yield promises
    promises.abandon()
