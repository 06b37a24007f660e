"""A real API server calls our webhooks while their certificates change, and strangers attack."""

import asyncio
import base64
import json
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

import apiserver as api
from controller.webhooks.certificates import (
    CertificateDecision,
    CertificateTiming,
    HeldCertificates,
    RenewalReason,
    Step,
    authorities,
    signer_of,
    usable,
)
from controller.webhooks.contexts import make_context
from controller.webhooks.keeper import CONFIGURATION, FileKeeper, Keeper, KeeperSettings, chance
from controller.webhooks.making import carry_out
from controller.webhooks.metrics import WebhookMetrics
from controller.webhooks.places import LONGEST_BODY
from controller.webhooks.server import WebhookServer
from kube.api.client import ApiClient

PATH = "/validate-metallb-io-v1beta1-ipaddresspool"
SECRET = "/api/v1/namespaces/default/secrets/metallb-webhook-cert"
CALL = "/api/v1/namespaces/default/configmaps?dryRun=All"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
WITHIN = 30.0
TIMING = CertificateTiming(grace=1.0, retire=1.0)
TERMS = ssl.TLSVersion.TLSv1_3, ""


@dataclass(frozen=True)
class Settings(KeeperSettings):
    """The API server calls us by the name of this machine."""

    @property
    def names(self) -> tuple[str, ...]:
        return ("localhost",)


class UnreadableError(Exception):
    """What is no review."""


ANSWERED: list[str] = []
"""The reviews that were answered so far."""


def allow(body: bytes) -> bytes:
    try:
        review = json.loads(body)
        ANSWERED.append(review["request"]["uid"])
        response = {"uid": review["request"]["uid"], "allowed": True}
    except (ValueError, KeyError, TypeError):
        raise UnreadableError("no review") from None
    kinds = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return json.dumps({**kinds, "response": response}).encode()


@asynccontextmanager
async def served() -> AsyncIterator[WebhookServer]:
    errors: list[Exception] = []
    made = WebhookServer({PATH: allow}, UnreadableError, WebhookMetrics([PATH]), errors.append)
    task = asyncio.create_task(made.run("127.0.0.1", 0))
    await until(lambda: made.port != 0, "a port")
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert errors == []


async def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def configure(server: api.ApiServer, port: int, bundle: bytes = b"") -> None:
    config: dict[str, Any] = {"url": f"https://localhost:{port}{PATH}"}
    if bundle:
        config["caBundle"] = base64.b64encode(bundle).decode()
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    hook = {
        "name": "a.metallb.io",
        "clientConfig": config,
        "rules": [{**rule, "resources": ["configmaps"]}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION},
        "webhooks": [hook, {**hook, "name": "b.metallb.io"}],
    }
    server.request("DELETE", f"{CONFIGURATIONS}/{CONFIGURATION}")
    server.must("POST", CONFIGURATIONS, body)


def call(server: api.ApiServer) -> tuple[int, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    return server.request("POST", CALL, body)


class Stream:
    """Calls all the while, some 50 a second."""

    def __init__(self, server: api.ApiServer) -> None:
        self.good, self.bad = 0, list[Any]()
        self._server = server

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(0.02)
                if self._waiting < 8:
                    group.create_task(self._one())

    _waiting = 0

    async def _one(self) -> None:
        self._waiting += 1
        status, body = await asyncio.to_thread(call, self._server)
        self._waiting -= 1
        if status == 201:
            self.good += 1
        else:
            self.bad.append((status, body))


def held(server: api.ApiServer) -> HeldCertificates:
    data = server.get(SECRET)["data"]
    return HeldCertificates(
        *(base64.b64decode(data[n]) for n in ("ca.crt", "ca.key", "tls.crt", "tls.key"))
    )


def patched(**entries: bytes) -> dict[str, Any]:
    names = {"ca": "ca.crt", "ca_key": "ca.key", "leaf": "tls.crt", "leaf_key": "tls.key"}
    return {"data": {names[n]: base64.b64encode(v).decode() for n, v in entries.items()}}


def bundles(server: api.ApiServer) -> list[bytes]:
    hooks = server.get(f"{CONFIGURATIONS}/{CONFIGURATION}")["webhooks"]
    return [base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in hooks]


def test_not_one_call_is_refused_while_leaf_and_ca_change_and_the_secret_breaks(
    server: api.ApiServer,
) -> None:
    asyncio.run(_rotations(server))


async def _rotations(server: api.ApiServer) -> None:
    server.request("DELETE", SECRET)
    client = ApiClient(str(server.kubeconfig("webhooks")))
    await client.open()
    try:
        await _rotate(server, client)
    finally:
        await client.close()


async def _rotate(server: api.ApiServer, client: ApiClient) -> None:
    settings = Settings("default", timing=TIMING, look=0.2)

    unknown: list[HeldCertificates] = []

    def adopt(found: HeldCertificates) -> None:
        # The API server keeps connections: calls alone show a gap only by chance.
        if hooks.context is not None and not believed(server, found):
            unknown.append(found)
        hooks.context = make_context(found, TERMS)

    async with served() as hooks:
        configure(server, hooks.port)
        with structlog.testing.capture_logs() as lines:
            keeper = Keeper(client, settings, lambda: True, adopt, structlog.get_logger())
            keeping = asyncio.create_task(keeper.run())
            await until_answered(server)
            stream = Stream(server)
            streaming = asyncio.create_task(stream.run())
            try:
                await _change_everything(server)
                await _steady(server)
            finally:
                streaming.cancel()
                keeping.cancel()
                await asyncio.gather(streaming, keeping, return_exceptions=True)
        assert stream.bad == []
        assert unknown == []
        print(f"\n{stream.good} calls, none refused")
        assert stream.good > 50
    steps = [line["step"] for line in lines if "step" in line]
    assert steps.count("introduce a CA") == 3, steps
    for key in (held(server).authority_key, held(server).leaf_key):
        assert key.decode().splitlines()[1] not in str(lines)


def believed(server: api.ApiServer, found: HeldCertificates) -> bool:
    """Whether who goes by the configuration takes this certificate."""
    return all(
        usable(replace(found, authorities=each), ("localhost",), time.time())
        for each in bundles(server)
    )


async def _change_everything(server: api.ApiServer) -> None:
    before = held(server)
    # The CA of now has no past, so a short-lived leaf stands for one that ends soon.
    short = CertificateTiming(leaf=1_500.0)
    decision = CertificateDecision(Step.RENEW_LEAF, RenewalReason.LEAF_ENDING, before)
    ending = carry_out(decision, ("localhost",), time.time(), short, chance())
    server.merge(SECRET, patched(leaf=ending.leaf, leaf_key=ending.leaf_key))
    await _until_new(server, ending, same_authority=True)
    for broken in (patched(ca_key=b"x"), patched(ca=b"x", ca_key=b"", leaf=b"x", leaf_key=b"x")):
        before = held(server)
        server.merge(SECRET, broken)
        await _until_new(server, before, same_authority=False)
    before = held(server)
    server.delete(SECRET)
    await _until_new(server, before, same_authority=False)


async def _until_new(
    server: api.ApiServer, before: HeldCertificates, *, same_authority: bool
) -> None:
    def new() -> bool:
        if server.request("GET", SECRET)[0] != 200:
            return False
        now = held(server)
        known = authorities(now)
        return (
            len(known) == 1
            and now.leaf not in (b"x", before.leaf)
            and signer_of(now) == known[0]
            and (known == authorities(before)) == same_authority
            and bundles(server) == [now.authorities] * 2
        )

    end = time.monotonic() + WITHIN
    while not await asyncio.to_thread(new):
        assert time.monotonic() < end, held(server)
        await asyncio.sleep(0.1)


async def _steady(server: api.ApiServer) -> None:
    """Nothing is written where all is well: many looks later the versions are the same."""

    def versions() -> list[str]:
        paths = (SECRET, f"{CONFIGURATIONS}/{CONFIGURATION}")
        return [server.get(path)["metadata"]["resourceVersion"] for path in paths]

    before = await asyncio.to_thread(versions)
    await asyncio.sleep(2.0)
    assert await asyncio.to_thread(versions) == before


def test_files_are_served_and_read_again_with_rotation_disabled_and_nothing_is_written(
    server: api.ApiServer, tmp_path: Path
) -> None:
    asyncio.run(_files(server, tmp_path))


def made() -> HeldCertificates:
    decision = CertificateDecision(Step.RENEW_ALL, RenewalReason.CA_MISSING, HeldCertificates())
    return carry_out(decision, ("localhost",), time.time(), CertificateTiming(), chance())


async def _files(server: api.ApiServer, folder: Path) -> None:
    first = made()
    renewed = CertificateDecision(Step.RENEW_LEAF, RenewalReason.LEAF_ENDING, first)
    second = carry_out(renewed, ("localhost",), time.time(), CertificateTiming(), chance())
    found: list[HeldCertificates] = []

    async with served() as hooks:

        def adopt(each: HeldCertificates) -> None:
            found.append(each)
            hooks.context = make_context(each, TERMS)

        keeper = FileKeeper(folder, adopt, structlog.get_logger())
        keeper.look()
        assert keeper.waiting_for is not None
        configure(server, hooks.port, first.authorities)
        for each in (first, second):
            (folder / "tls.crt").write_bytes(each.leaf)
            keeper.look()
            (folder / "tls.key").write_bytes(each.leaf_key)
            keeper.look()
            assert found[-1].leaf == each.leaf
            await until_answered(server)
        assert len(found) == 2
        assert bundles(server) == [first.authorities] * 2


async def until_answered(server: api.ApiServer) -> None:
    """Wait until a call is let in by us: the API server learns of a configuration by a watch, and
    asks nobody before that."""
    end, before = time.monotonic() + WITHIN, len(ANSWERED)
    while (await asyncio.to_thread(call, server))[0] != 201 or len(ANSWERED) == before:
        assert time.monotonic() < end


def test_a_call_is_answered_all_the_while_under_attack_and_soon(server: api.ApiServer) -> None:
    asyncio.run(_attacked(server))


def many(port: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]


REVIEW = json.dumps({"request": {"uid": "u"}}).encode()


def request(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body


async def _attacked(server: api.ApiServer) -> None:
    pair = made()
    client = ssl.create_default_context(cadata=pair.authorities.decode())
    async with served() as hooks:
        hooks.context = make_context(pair, TERMS)
        configure(server, hooks.port, pair.authorities)
        await until_answered(server)

        async def connect(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            where = "127.0.0.1", hooks.port
            reader, writer = await asyncio.open_connection(
                *where, ssl=client, server_hostname="localhost"
            )
            writer.write(data)
            return reader, writer

        reader, writer = await connect(b"")
        spent = []
        for _ in range(300):
            began = time.perf_counter()
            writer.write(request(REVIEW))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            spent.append(time.perf_counter() - began)
        cuts = statistics.quantiles(spent, n=100)
        print(f"\na call: p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms")
        writer.close()

        for data, wanted in (
            (request(b"", LONGEST_BODY + 1), b"413"),
            (request(b"{}"), b"400"),
            (request(REVIEW).replace(PATH.encode(), b"/x"), b"404"),
            (request(REVIEW).replace(b"POST", b"GET"), b"405"),
        ):
            reader, writer = await connect(data)
            assert (await reader.readline()).split()[1] == wanted
            writer.close()
        reader, writer = await connect(b"POST / HTTP/1.1\r\nX: " + b"x" * 40_000)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        idle = await asyncio.to_thread(many, hooks.port)
        slow = [await connect(request(b"", 1_000_000)) for _ in range(20)]
        slow += [await connect(b"POST /va") for _ in range(20)]
        for _ in range(20):
            status, body = await asyncio.to_thread(call, server)
            assert status == 201, body
        for one in idle:
            one.close()
        for _, writer in slow:
            writer.transport.abort()
