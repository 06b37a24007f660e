"""How the lab talks to its instruments: processes of their own, so that nothing else delays them.

One JSON object a line each way: `{"ask": "window", "start": s, "end": s}`. An instrument says
`{"ready": true}` first. All moments are CLOCK_MONOTONIC, which every process shares.
"""

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from netnslab.errors import LabError

if TYPE_CHECKING:  # the instruments need no netlink, and its import takes a while
    from netnslab.machines.topology import Host

ANSWER_WITHIN = 30.0
AHEAD = -5
SO_TIMESTAMPNS = 35
Handler = Callable[[dict[str, Any]], Any]


class Instrument:
    """The lab's side: starts `python -m netnslab.instruments.NAME` in a namespace and asks it."""

    def __init__(self, name: str, host: "Host", settings: dict[str, Any]) -> None:
        """Return when the instrument is at work. Raises LabError."""
        self.name = name
        command = [sys.executable, "-m", f"netnslab.instruments.{name}", json.dumps(settings)]
        theirs, self._stdin = os.pipe()
        self._stdout, ours = os.pipe()
        self._process = host.namespace.start(command, stdin=theirs, stdout=ours)
        os.close(theirs)
        os.close(ours)
        self._rest = b""
        self._closed = False
        self._line(time.monotonic() + ANSWER_WITHIN)

    def ask(self, what: str, **arguments: Any) -> Any:
        """One question, one answer. Raises LabError where the instrument has died or hangs."""
        question = json.dumps({"ask": what, **arguments}).encode() + b"\n"
        try:
            os.write(self._stdin, question)
        except OSError:
            raise LabError(f"the instrument {self.name} has died") from None
        return json.loads(self._line(time.monotonic() + ANSWER_WITHIN))

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            ready, _, _ = select.select(
                [self._stdout], [], [], max(0.0, deadline - time.monotonic())
            )
            data = os.read(self._stdout, 1 << 16) if ready else b""
            if not data:
                raise LabError(f"the instrument {self.name} has died or does not answer")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        """End the process, if it is still there."""
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._process.wait()
        os.close(self._stdin)
        os.close(self._stdout)


class Console:
    """The instrument's side: reads questions from stdin, writes answers to stdout."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers = handlers
        self._rest = b""
        os.set_blocking(0, False)

    def report_ready(self) -> None:
        """Tell the lab that measuring has begun."""
        self._say({"ready": True})

    def handle(self) -> None:
        """Answer what has been asked; exit when the lab has gone."""
        data = os.read(0, 1 << 16)
        if not data:
            sys.exit(0)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            question = json.loads(line)
            self._say(self._handlers[question.pop("ask")](question))

    @staticmethod
    def _say(message: Any) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def settings() -> dict[str, Any]:
    """What the lab gave this instrument on its command line.

    Where allowed, the instrument goes before others: a stopwatch must not wait for a processor,
    nor a backend, which stands for kernels.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, AHEAD)
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def family_of(ip: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def packet_socket(link: str, protocol: int) -> socket.socket:
    """A raw socket on one link that stamps what it receives. Needs CAP_NET_RAW."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    raw.bind((link, protocol))
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    raw.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return raw


def arrivals(raw: socket.socket) -> Iterable[tuple[float, bytes]]:
    """Everything that waits on the socket, with the moment the kernel received it.

    The kernel stamps in CLOCK_REALTIME; the instrument may have slept since, the stamp has not.
    """
    behind = time.monotonic() - time.time()
    while True:
        try:
            frame, ancillary, _, _ = raw.recvmsg(2048, 64)
        except BlockingIOError:
            return
        except OSError:
            continue  # a link that went down is reported once, then the socket works on
        stamp = next((data for _, kind, data in ancillary if kind == SO_TIMESTAMPNS), b"")
        seconds = int.from_bytes(stamp[:8], sys.byteorder)
        nanoseconds = int.from_bytes(stamp[8:16], sys.byteorder)
        yield seconds + nanoseconds / 1e9 + behind, frame
