"""Keeps the certificate: all replicas follow the Secret, and who leads writes what is to change.

Each write carries the version that it was decided on, and nothing is written where all is well. The
CAs of the Secret go into the configurations as they are there; `certificates` knows the order.
"""

import asyncio
import base64
import binascii
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.typing import FilteringBoundLogger as Log

from controller.webhooks.certificates import (
    CertificateTiming,
    HeldCertificates,
    Step,
    decide,
    servable,
    usable,
)
from controller.webhooks.making import Source, carry_out
from kube.api.client import ApiClient
from kube.api.reflector import Key, Reflector, Resource
from kube.api.watch import Watcher
from kube.api.writes import KeyedQueue, unless
from kube.objects.webhook import Conversion, Secret, WebhookConfiguration
from process.logs import Sparing
from process.tls import expiry

LOOK = 5.0
"""Seconds between two looks at what time alone changes, and at files."""
CONFIGURATION = "metallb-webhook-configuration"
CONVERTED = "bgppeers.metallb.io"
_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SECRET, _WEBHOOKS, _CONVERSION = "secret", "webhooks", "conversion"
_CONFLICT, _NOT_FOUND = 409, 404
_ENTRIES = ("ca.crt", "ca.key", "tls.crt", "tls.key")
"""As MetalLB's controller names them, in the order of `HeldCertificates`."""

OnCertificate = Callable[[HeldCertificates], None]
"""Raises ValueError where the certificate cannot be served after all, as one with a weak key."""


def chance() -> Source:
    """Return keys and serial numbers that nobody can guess."""
    return Source(
        lambda: rsa.generate_private_key(65_537, 2_048),
        lambda: ec.generate_private_key(ec.SECP256R1()),
        x509.random_serial_number,
    )


@dataclass(frozen=True, slots=True)
class KeeperSettings:
    """What is kept, and where."""

    namespace: str
    service: str = "metallb-webhook-service"
    secret: str = "metallb-webhook-cert"  # noqa: S105 - the name of an object
    timing: CertificateTiming = field(default_factory=CertificateTiming)
    look: float = LOOK

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which API servers call us."""
        first = f"{self.service}.{self.namespace}.svc"
        return first, f"{first}.cluster.local"


class Keeper:
    """Follows the Secret and the configurations, and writes them where `leads` says so."""

    def __init__(
        self,
        client: ApiClient,
        settings: KeeperSettings,
        leads: Callable[[], bool],
        on_certificate: OnCertificate,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`on_certificate` gets each that is to be served from now on."""
        self._client, self._settings, self._leads = client, settings, leads
        self._on_certificate, self._log, self._clock, self._wall = on_certificate, log, clock, wall
        self._served: HeldCertificates | None = None
        self._placed: tuple[str, float] | None = None
        self._sparing = Sparing(clock)
        rng = random.Random()  # noqa: S311 - back-off only
        self._collection = f"/api/v1/namespaces/{settings.namespace}/secrets"
        self._secrets, self._configurations, self._definitions = (
            Reflector(Resource(kind, path, (("fieldSelector", f"metadata.name={name}"),)), rng)
            for kind, path, name in (
                ("Secret", self._collection, settings.secret),
                ("ValidatingWebhookConfiguration", _CONFIGURATIONS, CONFIGURATION),
                ("CustomResourceDefinition", _DEFINITIONS, CONVERTED),
            )
        )
        self._queue: KeyedQueue | None = None

    async def run(self) -> None:
        """Keep it until cancelled."""
        self._queue = KeyedQueue(self._write, self._failed)
        try:
            async with asyncio.TaskGroup() as group:
                for each in (self._secrets, self._configurations, self._definitions):
                    watcher = Watcher(self._client, each, self._clock, self._changed, self._log)
                    group.create_task(watcher.run())
                while True:
                    self.look()
                    await asyncio.sleep(self._settings.look)
        finally:
            self._queue.close()

    def look(self) -> None:
        """Look at everything: time has passed, or another leads now."""
        self._serve()
        if self._leads() and self._queue is not None:
            for key in (_SECRET, _WEBHOOKS, _CONVERSION):
                self._queue.add(key)

    @property
    def expiry(self) -> float | None:
        """When what is served ends, in seconds since 1970; None while there is nothing."""
        return None if self._served is None else expiry(self._served.leaf)

    @property
    def waiting_for(self) -> str | None:
        """Why there is nothing to serve yet; None where there is."""
        return None if self._served is not None else f"Secret {self._settings.secret}"

    # ---- what comes in

    def _changed(self, _reflector: Reflector, _keys: set[Key]) -> None:
        self.look()

    def _serve(self) -> None:
        """Serve what the Secret holds; what cannot be served leaves what is served as it is."""
        found = self._held()
        if found == self._served or not servable(found):
            return
        try:
            self._on_certificate(found)
        except ValueError as error:
            self._failed(_SECRET, error)
        else:
            self._served = found

    def _secret(self) -> Secret | None:
        found = next(iter(self._secrets.objects.values()), None)
        return found if isinstance(found, Secret) else None

    def _held(self) -> HeldCertificates:
        secret = self._secret()
        return (
            HeldCertificates(*(_decoded(secret.data, name) for name in _ENTRIES))
            if secret
            else HeldCertificates()
        )

    def _placed_for(self) -> float:
        """Return for how many seconds all configurations have had the CAs of the Secret."""
        synced = self._configurations.synced and self._definitions.synced
        bundle, now = self._bundle(), self._clock()
        if not synced or not bundle or self._webhooks_patch() or self._conversion_patch():
            self._placed = None
            return 0.0
        # Others than before begin anew, even if nobody looked while they were not placed.
        if self._placed is None or self._placed[0] != bundle:
            self._placed = bundle, now
        return now - self._placed[1]

    # ---- what goes out

    async def _write(self, key: str) -> bool:
        """Do what is to be done with one object; tell if anything was written."""
        if not self._leads() or not self._secrets.synced:
            return False
        if key == _SECRET:
            return await self._write_secret()
        if key == _WEBHOOKS:
            path, patch = f"{_CONFIGURATIONS}/{CONFIGURATION}", self._webhooks_patch()
        else:
            path, patch = f"{_DEFINITIONS}/{CONVERTED}", self._conversion_patch()
        if patch is None:
            return False
        await unless(_NOT_FOUND, unless_conflict(self._client.merge(path, patch)))
        self._log.info("webhook_ca", state="written", object=path.rpartition("/")[2])
        return True

    async def _write_secret(self) -> bool:
        secret, held, settings = self._secret(), self._held(), self._settings
        now = self._wall()
        decision = decide(
            held, self._served, settings.names, now, self._placed_for(), settings.timing
        )
        if decision.step is Step.KEEP:
            return False
        # A new CA's key takes a tenth of a second.
        made = await asyncio.to_thread(
            carry_out, decision, settings.names, now, settings.timing, chance()
        )
        if not self._leads():
            return False
        entries = (made.authorities, made.authority_key, made.leaf, made.leaf_key)
        encoded = (base64.b64encode(each).decode() for each in entries)
        body: dict[str, Any] = {"data": dict(zip(_ENTRIES, encoded, strict=True))}
        if secret is None:
            body |= {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
            body["metadata"] = {"name": settings.secret}
            await unless_conflict(self._client.post(self._collection, body))
        else:
            body["metadata"] = {"resourceVersion": secret.resource_version}
            path = f"{self._collection}/{settings.secret}"
            await unless_conflict(self._client.merge(path, body))
        self._log.info("webhook_certificate", step=decision.step.value, reason=decision.reason)
        return True

    def _bundle(self) -> str:
        """Return the CAs to believe in, in base64; empty where there is nothing to go by."""
        found = self._held()
        if not usable(found, self._settings.names, self._wall()):
            return ""
        return base64.b64encode(found.authorities).decode()

    def _webhooks_patch(self) -> dict[str, Any] | None:
        found = next(iter(self._configurations.objects.values()), None)
        bundle = self._bundle()
        if not isinstance(found, WebhookConfiguration) or not bundle:
            return None
        wanted = [_with_bundle(each, bundle) for each in found.webhooks]
        if wanted == list(found.webhooks):
            return None
        # All of the list, as it was in this very version.
        return {"metadata": {"resourceVersion": found.resource_version}, "webhooks": wanted}

    def _conversion_patch(self) -> dict[str, Any] | None:
        found = next(iter(self._definitions.objects.values()), None)
        bundle = self._bundle()
        if not isinstance(found, Conversion) or not found.by_webhook or not bundle:
            return None
        if found.ca_bundle == bundle:
            return None
        config = {"clientConfig": {"caBundle": bundle}}
        return {
            "metadata": {"resourceVersion": found.resource_version},
            "spec": {"conversion": {"webhook": config}},
        }

    def _failed(self, key: str, error: Exception) -> None:
        left_out = self._sparing.ask((key, str(error)))
        if left_out is not None:
            self._log.warning("webhook_certificate", key=key, error=str(error), more=left_out)


async def unless_conflict(request: Any) -> bytes:
    """Do the request; who was faster will show in the watch, and all is decided anew."""
    await unless(_CONFLICT, request)
    return b""


def _with_bundle(webhook: Mapping[str, Any], bundle: str) -> dict[str, Any]:
    config = webhook.get("clientConfig") or {}
    return {**webhook, "clientConfig": {**config, "caBundle": bundle}}


def _decoded(data: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(data.get(name, ""))
    except binascii.Error:
        return b""


class FileKeeper:
    """`--disable-cert-rotation`: somebody else puts the certificate into a folder."""

    def __init__(
        self, folder: Path, on_certificate: OnCertificate, log: Log, look: float = LOOK
    ) -> None:
        self._folder, self._on_certificate, self._log, self._look = (
            *(folder, on_certificate, log, look),
        )
        self._seen: object = None
        self._served: HeldCertificates | None = None
        self._complained = False

    async def run(self) -> None:
        """Read what changes until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self._look)

    @property
    def expiry(self) -> float | None:
        """When what is served ends, in seconds since 1970; None while there is nothing."""
        return None if self._served is None else expiry(self._served.leaf)

    @property
    def waiting_for(self) -> str | None:
        """Why there is nothing to serve yet; None where there is."""
        return None if self._served is not None else f"{self._folder}: tls.crt, tls.key"

    def look(self) -> None:
        """Read the files if they have changed; what cannot be served changes nothing."""
        files = [self._folder / name for name in ("tls.crt", "tls.key")]
        try:
            stamp = [(s.st_ino, s.st_mtime_ns, s.st_size) for s in map(os.stat, files)]
            if stamp == self._seen:
                return
            leaf, key = (each.read_bytes() for each in files)
        except OSError as error:
            self._complain(error.strerror or "cannot be read")
            return
        found = HeldCertificates(leaf=leaf, leaf_key=key)
        if not servable(found):
            self._complain("no certificate with its key")
            return
        try:
            self._on_certificate(found)
        except ValueError as error:
            self._complain(str(error))
            return
        self._seen, self._served, self._complained = stamp, found, False
        self._log.info("webhook_certificate", state="read", folder=str(self._folder))

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._log.warning("webhook_certificate", folder=str(self._folder), error=reason)
        self._complained = True
