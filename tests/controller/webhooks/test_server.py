"""The server on loopback: a certificate that changes, faults, and who does not behave."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache

import pytest
from prometheus_client import CollectorRegistry

from controller.webhooks import places
from controller.webhooks.certificates import (
    CertificateDecision,
    CertificateTiming,
    HeldCertificates,
    RenewalReason,
    Step,
)
from controller.webhooks.contexts import make_context
from controller.webhooks.keeper import chance
from controller.webhooks.making import carry_out
from controller.webhooks.metrics import WebhookMetrics
from controller.webhooks.server import WebhookServer

WITHIN = 20.0
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@cache
def pairs() -> tuple[HeldCertificates, HeldCertificates]:
    """Two certificates of one CA."""
    first = CertificateDecision(Step.RENEW_ALL, RenewalReason.CA_MISSING, HeldCertificates())
    made = carry_out(first, ("localhost",), time.time(), CertificateTiming(), chance())
    second = CertificateDecision(Step.RENEW_LEAF, RenewalReason.LEAF_ENDING, made)
    return made, carry_out(second, ("localhost",), time.time(), CertificateTiming(), chance())


def context(held: HeldCertificates) -> ssl.SSLContext:
    return make_context(held, (ssl.TLSVersion.TLSv1_3, ""))


def answer(body: bytes) -> bytes:
    if body == b"bad":
        raise UnicodeError("no review\nat all")
    if body == b"bug":
        raise ZeroDivisionError("secret")
    return body.upper()


class Served:
    """A server and a client's view of it."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.registry, metrics = CollectorRegistry(), WebhookMetrics(["/a"])
        self.registry.register(metrics)
        self.server = WebhookServer({"/a": answer}, UnicodeError, metrics, self.errors.append)
        self.server.context = context(pairs()[0])

    async def connect(self, data: bytes = b"") -> Stream:
        trusted = ssl.create_default_context(cadata=pairs()[0].authorities.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=trusted, server_hostname="localhost"
        )
        writer.write(data)
        return reader, writer

    def refused(self, reason: places.Refused) -> float:
        name = "clarion_webhook_refused_connections_total"
        return self.registry.get_sample_value(name, {"reason": reason}) or 0.0


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    made = Served()
    task = asyncio.create_task(made.server.run("127.0.0.1", 0))
    await until(lambda: made.server.port != 0)
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110 - what is asked is a figure
            await asyncio.sleep(0.01)


def post(body: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def ask(stream: Stream, body: bytes) -> tuple[int, bytes]:
    reader, writer = stream
    writer.write(post(body))
    async with asyncio.timeout(WITHIN):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


async def ended(stream: Stream) -> bytes:
    """All that comes until the other side closes."""
    async with asyncio.timeout(WITHIN):
        found = b""
        with suppress(ConnectionError, ssl.SSLError):
            found = await stream[0].read()
    stream[1].transport.abort()
    return found


def shown(stream: Stream) -> bytes:
    found = stream[1].get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


def test_a_new_certificate_is_for_new_connections_and_those_that_are_open_go_on() -> None:
    async def run() -> None:
        async with served() as made:
            old = await made.connect()
            assert await ask(old, b"a") == (200, b"A")
            made.server.context = context(pairs()[1])
            new = await made.connect()
            assert await ask(new, b"b") == (200, b"B")
            assert await ask(old, b"c") == (200, b"C")
            leaves = [ssl.PEM_cert_to_DER_cert(each.leaf.decode()) for each in pairs()]
            assert [shown(old), shown(new)] == leaves
            old[1].transport.abort()
            new[1].transport.abort()

    asyncio.run(run())


def test_what_cannot_be_read_and_what_fails_here_are_told_apart() -> None:
    async def run() -> None:
        async with served() as made:
            assert await ask(await made.connect(), b"bad") == (400, b"no review at all")
            assert await ask(await made.connect(), b"bug") == (500, b"see the log")
            assert [type(each) for each in made.errors] == [ZeroDivisionError]

    asyncio.run(run())


def test_a_body_without_a_length_is_refused() -> None:
    async def run() -> None:
        async with served() as made:
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await ended(await made.connect(head))).startswith(b"HTTP/1.1 411 ")

    asyncio.run(run())


def test_a_second_request_before_the_answer_ends_the_connection() -> None:
    async def run() -> None:
        async with served() as made:
            found = await ended(await made.connect(post(b"a") * 50))
            assert found.count(b"HTTP/1.1 200 ") <= 1

    asyncio.run(run())


def test_who_is_slow_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_REQUEST", 0.3)

    async def run() -> None:
        async with served() as made:
            for data in (b"POST /a", post(b"abc")[:-1]):
                assert await ended(await made.connect(data)) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", made.server.port)
            assert await ended((reader, writer)) == b""
            await until(lambda: made.refused(places.Refused.TOO_SLOW) == 3)

    asyncio.run(run())


def test_no_tls_and_no_certificate_are_counted() -> None:
    async def run() -> None:
        async with served() as made:
            stream = await asyncio.open_connection("127.0.0.1", made.server.port)
            stream[1].write(b"GET / HTTP/1.1\r\n\r\n")
            await ended(stream)
            await until(lambda: made.refused(places.Refused.TLS) == 1)
            made.server.context = None
            # The one that was accepted before this may still come to the old one.
            await ended(await asyncio.open_connection("127.0.0.1", made.server.port))
            await until(lambda: made.refused(places.Refused.NO_CERTIFICATE) == 1)

    asyncio.run(run())
