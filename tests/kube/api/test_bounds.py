"""What a server can make the client hold, and how long it can make it wait: a real one on loopback.

It is a broken one, or a proxy that took its place: who may answer for the API server at all has
shown a certificate.
"""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.api import client as client_module
from kube.api.client import ApiClient, ApiError, TooLongError, _Lines

HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
MIB = 1024 * 1024

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


def _ask(folder: Path, serve: Serve, ask: Callable[[ApiClient], Awaitable[Any]]) -> Any:
    """Return what `ask` returns, of a server that does `serve` after a request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(writer)
        except OSError:
            pass
        finally:
            writer.close()

    async def whole() -> Any:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        document = {
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(yaml.safe_dump(document))
        client = ApiClient(str(folder / "kubeconfig"))
        await client.open()
        try:
            async with asyncio.timeout(60.0):
                return await ask(client)
        finally:
            await client.close()
            listening.close()

    return asyncio.run(whole())


async def _get(client: ApiClient) -> bytearray:
    return await client.get("/api/v1/services")


async def _first_lines(client: ApiClient) -> list[bytes]:
    async for lines in client.watch("/api/v1/services", {}, 30.0):
        if lines:
            return lines
    return []


def _pieces(count: int, status: bytes = b"200 OK", pause: float = 0.0) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % status)
        for _ in range(count):
            writer.write(b" " * 1024)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)

    return serve


def _silent(status: bytes) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % status)
        await writer.drain()
        await asyncio.sleep(3600.0)

    return serve


@pytest.mark.parametrize("ask", [_get, _first_lines], ids=["list", "watch"])
def test_a_response_that_is_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[ApiClient], Awaitable[Any]]
) -> None:
    monkeypatch.setattr(client_module, "MAX_BODY", MIB)
    monkeypatch.setattr(client_module, "MAX_LINE", MIB)
    with pytest.raises(TooLongError, match="longer than 1048576 bytes"):
        _ask(tmp_path, _pieces(3 * 1024), ask)


def test_a_list_of_5000_services_in_one_piece_is_none_of_those(tmp_path: Path) -> None:
    """As of a server that takes no notice of `limit`; 4 KiB each, with all that others wrote."""
    assert len(_ask(tmp_path, _pieces(4 * 5_000), _get)) == 20_480_000


def test_a_response_is_not_held_twice(tmp_path: Path) -> None:

    async def ask(client: ApiClient) -> tuple[int, int]:
        tracemalloc.start()
        try:
            length = len(await client.get("/api/v1/services"))
            return length, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    length, most = _ask(tmp_path, _pieces(16 * 1024), ask)
    assert length == 16 * MIB
    assert most < 1.6 * length


def test_a_line_in_tiny_pieces_costs_what_it_is_long() -> None:
    lines, length = _Lines(), 256 * 1024
    tracemalloc.start()
    try:
        for number in range(length // 2):
            assert lines.feed(b"%02d" % (number % 100)) == []
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3 * length
    (line,) = lines.feed(b"\n")
    assert len(line) == length


@pytest.mark.parametrize("status", [b"200 OK", b"500 Oh"], ids=["answer", "error"])
def test_a_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    monkeypatch.setattr(client_module, "BODY_TIMEOUT", 0.1)
    with pytest.raises(ApiError):
        _ask(tmp_path, _silent(status), _get)


def test_a_body_that_drips_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WHOLE_TIMEOUT", 0.3)
    with pytest.raises(ApiError, match="no answer in time"):
        _ask(tmp_path, _pieces(10_000, pause=0.02), _get)


def test_an_error_of_any_length_is_a_short_line(tmp_path: Path) -> None:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD % b"500 Oh" + b'{"message": "' + b"a\\n" * 20_000 + b'"}')
        await writer.drain()

    with pytest.raises(ApiError) as caught:
        _ask(tmp_path, serve, _get)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)
