"""`speaker --memberlist-debug`: asks the running speaker on this node for its member table.

It listens on an abstract UNIX socket named after the node, so that no file system is needed. Only
root and the speaker's own user get an answer. Nothing that is sent to it is read.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import click

from gossip.io import MemberView

_CREDENTIALS = struct.Struct("3i")
LONGEST_ANSWER = 4 * 1024 * 1024
TIMEOUT = 5.0


def address(node: str) -> str:
    """Return the abstract address (it begins with a NUL byte)."""
    return f"\0clarion/memberlist-debug/{node}"


def table(members: tuple[MemberView, ...], health: int) -> list[dict[str, Any]]:
    """Return one row for each member, ourselves first. Health is known of ourselves only."""
    return [
        {
            "name": member.name,
            "address": f"[{ip}]:{port}" if ":" in (ip := member.address.ip) else f"{ip}:{port}",
            "state": member.state.name.lower(),
            "incarnation": member.incarnation,
            "health": health if member.own else None,
        }
        for member in sorted(members, key=lambda member: (not member.own, member.name))
        for port in [member.address.port]
    ]


class DebugServer:
    """Answers each connection with the table as JSON, and closes it."""

    def __init__(self, node: str, rows: Callable[[], list[dict[str, Any]]]) -> None:
        self._node = node
        self._rows = rows

    async def start(self) -> None:
        """Listen; OSError where another speaker of this node does."""
        self._server = await asyncio.start_unix_server(self._answer, address(self._node))

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            peer = writer.get_extra_info("socket")
            found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(found)[1] in (0, os.geteuid()):
                writer.write(json.dumps(self._rows()).encode())
                await asyncio.wait_for(writer.drain(), TIMEOUT)
        writer.close()


def ask(node: str) -> list[dict[str, Any]]:
    """Return the table of the running speaker; raise OSError or ValueError where there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(address(node))
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            if len(answer) > LONGEST_ANSWER:
                raise ValueError("the answer is too long")
    rows: list[dict[str, Any]] = json.loads(answer)
    return rows


def show(node: str) -> int:
    """Print the table; return the exit status."""
    try:
        rows = ask(node)
    except (OSError, ValueError):
        click.echo(f"speaker: no speaker answers on node {node}", err=True)
        return 1
    columns = ("name", "address", "state", "incarnation", "health")
    lines = [[name.upper() for name in columns]]
    lines += [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
    return 0
