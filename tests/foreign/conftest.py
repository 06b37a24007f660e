"""Clusters of real processes on one segment, shared by the tests of a module."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

import gopeer
import netns
from foreign_peers import ClarionPeer, GoPeer, Options, Peer, SerfPeer

KINDS: dict[str, Callable[[netns.Host, str, Options], Peer]] = {
    "go": GoPeer,
    "serf": SerfPeer,
    "clarion": ClarionPeer,
}
PLAIN = Options()

Start = Callable[..., Peer]


def _why_no_go() -> str | None:
    try:
        gopeer.build()
    except gopeer.BuildError as error:
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
