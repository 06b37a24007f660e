"""The asking side: one raw socket that sends questions and times answers."""

import contextlib
import fcntl
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from dualstack import Machine
from process import time_slice

_ARP = 0x0806
_LOST_AFTER = 0.2
_SIOCGSTAMPNS = 0x8907
WINDOW = 32
Frame = bytes


def question(machine: Machine, ip: str) -> Frame:
    """Return a broadcast ARP request of the machine for `ip`."""
    own = bytes.fromhex(machine.mac.replace(":", ""))
    sender, target = IPv4Address(machine.ip).packed, IPv4Address(ip).packed
    head = b"\xff" * 6 + own + bytes.fromhex("08060001080006040001")
    return (head + own + sender + bytes(6) + target).ljust(60, b"\0")


class Latency(NamedTuple):
    """Seconds from a question to its answer: to its arrival on the asker's link as the kernel
    stamped it, and until the asker, which waits for a processor like all others, had read it."""

    wire: float
    read: float


class Asker:
    """Asks for one IP from the machine `client`."""

    def __init__(self, client: Machine, ip: str) -> None:
        self._raw = client.raw(_ARP)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._frame = question(client, ip)
        self._answer = b"\0\2", IPv4Address(ip).packed
        # The asker stands for another machine: it must not wait until the answering process on its
        # own processor is done. Only its thread, as what it forks is no asker.
        self._prompt = ThreadPoolExecutor(1, initializer=time_slice.shorten)
        # The first look turns stamping on.
        with contextlib.suppress(OSError):
            self._arrival()

    def latencies(self, count: int, pause: float) -> tuple[list[Latency], int]:
        """Return what each of `count` answers took, and how many never came."""
        return self._prompt.submit(self._latencies, count, pause).result()

    def _latencies(self, count: int, pause: float) -> tuple[list[Latency], int]:
        found, lost = [], 0
        for _ in range(count):
            self._flush()
            sent, began = time.time(), time.perf_counter()
            self._raw.send(self._frame)
            if self._wait(began + _LOST_AFTER):
                read = time.perf_counter() - began
                found.append(Latency(self._arrival() - sent, read))
            else:
                lost += 1
            time.sleep(pause)
        return found, lost

    def _arrival(self) -> float:
        """When the kernel received the frame that was read last."""
        seconds, nanoseconds = struct.unpack("qq", fcntl.ioctl(self._raw, _SIOCGSTAMPNS, bytes(16)))
        return float(seconds + nanoseconds / 1e9)

    def throughput(self, seconds: float) -> int:
        """Return how many answers come with a window of open questions."""
        self._flush()
        answers = open_ = 0
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            while open_ < WINDOW:
                self._raw.send(self._frame)
                open_ += 1
            if self._wait(min(end, now + 0.05)):
                answers += 1
                open_ -= 1
            else:
                open_ = 0
        return answers

    def _wait(self, until: float) -> bool:
        while (left := until - time.perf_counter()) > 0:
            self._raw.settimeout(left)
            try:
                frame = self._raw.recv(128)
            except TimeoutError:
                return False
            if (frame[20:22], frame[28:32]) == self._answer:
                return True
        return False

    def _flush(self) -> None:
        self._raw.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._raw.recv(128)

    def close(self) -> None:
        """End the thread and close the socket."""
        self._prompt.shutdown()
        self._raw.close()


def storm(machine: Machine, rate: int, seconds: float) -> int:
    """Fork a sender of broadcast questions for IPs that no service has; return its pid."""
    raw = machine.raw(_ARP)
    pid = os.fork()
    if pid:
        raw.close()
        return pid
    frames = [question(machine, f"10.99.{n >> 8}.{n & 255}") for n in range(1_000)]
    began, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        due = int(passed * rate)
        while sent < due:
            with contextlib.suppress(OSError):
                raw.send(frames[sent % 1_000])
            sent += 1
        time.sleep(0.0005)
    os._exit(0)


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in all its threads that still run."""
    # To the nanosecond, where /proc/PID/stat counts ticks of 10 ms.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
