"""TLS for /metrics, by MetalLB's flags: a folder with a certificate, a version, cipher suites.

The folder is a mounted Secret that is renewed from time to time: new connections begin with what is
in it now, and with what was there before where that cannot be read.
"""

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from structlog.typing import FilteringBoundLogger as Log

from process.settings import SettingsError

POLL = 2.0
"""Seconds between two looks at the files, where connections come at all."""
CERTIFICATE, KEY = "tls.crt", "tls.key"

_VERSIONS = {
    "VersionTLS10": ssl.TLSVersion.TLSv1,
    "VersionTLS11": ssl.TLSVersion.TLSv1_1,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}
"""Go's names, as Kubernetes' flags take them; MetalLB's default is the last."""
_SUITES = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Go's names to OpenSSL's. Those of TLS 1.3 are known and cannot be chosen, in Go neither. RC4 and
3DES, which Go still names, are not in OpenSSL any more."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What the flags say, checked."""

    folder: Path
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    suites: str = ""
    """In OpenSSL's words; empty for its own choice."""


def read_terms(version: str, suites: str) -> tuple[ssl.TLSVersion, str]:
    """Return the least version, and suites in OpenSSL's words; raise SettingsError naming a flag.

    No suites: OpenSSL's own choice.
    """
    minimum = _VERSIONS.get(version or "VersionTLS13")
    if minimum is None:
        raise SettingsError(f"--tls-min-version: must be one of {', '.join(_VERSIONS)}")
    names = [name.strip() for name in suites.split(",")] if suites else []
    for name in names:
        if name not in _SUITES:
            raise SettingsError(f"--tls-cipher-suites: no suite {name[:60]!r}")
    if names and minimum is ssl.TLSVersion.TLSv1_3:
        # As MetalLB: they would be without effect.
        raise SettingsError("--tls-cipher-suites: TLS 1.3 has no choice: see --tls-min-version")
    chosen = [_SUITES[name] for name in names if _SUITES[name]]
    if names and not chosen:
        minimum = ssl.TLSVersion.TLSv1_3
    return minimum, ":".join(chosen)


def read_tls(folder: str, version: str, suites: str) -> Tls | None:
    """Return what the three flags say, None without a folder; raise SettingsError naming one."""
    terms = read_terms(version, suites)
    if not folder:
        return None
    tls = Tls(Path(folder), *terms)
    load(tls)
    return tls


def load(tls: Tls) -> ssl.SSLContext:
    """Read the certificate and its key; raise SettingsError naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = tls.minimum
    # One answer a connection: nothing to negotiate again, or to come back for.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    if tls.suites:
        context.set_ciphers(tls.suites)
    for name in (CERTIFICATE, KEY):
        try:
            (tls.folder / name).read_bytes()
        except OSError as error:
            raise _problem(tls, name, error.strerror or str(error)) from None
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(tls.folder / CERTIFICATE, tls.folder / KEY, password=str)
    except OSError as error:
        reason = getattr(error, "reason", None) or "no certificate with its key"
        raise _problem(tls, f"{CERTIFICATE}, {KEY}", reason) from None
    return context


def expiry(certificates: bytes) -> float | None:
    """Return when the first of these PEM certificates ends, in seconds since 1970; None where it
    cannot be read."""
    # Here, as it costs memory that a process without TLS needs not.
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificates).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def _problem(tls: Tls, name: str, reason: str) -> SettingsError:
    return SettingsError(f"--metrics-cert-dir: {tls.folder}: {name}: {reason}")


class Certificates:
    """Gives the context of new connections, from any thread."""

    def __init__(self, tls: Tls, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._tls = tls
        self._log = log
        self._clock = clock
        self._lock = Lock()
        self._seen = self._stamp()
        self._context = load(tls)
        self._next_look = clock() + POLL
        self._complained = ""
        self.expiry = self._read_expiry()
        """When the certificate in use ends, in seconds since 1970; None where nobody can tell."""

    def context(self) -> ssl.SSLContext:
        """Return what is in the folder now, or was there when it could last be read."""
        with self._lock:
            now = self._clock()
            if now >= self._next_look:
                self._next_look = now + POLL
                self._look()
            return self._context

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            self._context = load(self._tls)
        except SettingsError as error:
            # Half of a pair may be there already: look again, and say it once.
            if str(error) != self._complained:
                self._complained = str(error)
                self._log.warning("tls", error=str(error), message="what was read before stays")
            return
        self._seen, self._complained = stamp, ""
        self.expiry = self._read_expiry()
        self._log.info("tls", state="read", folder=str(self._tls.folder))

    def _read_expiry(self) -> float | None:
        try:
            return expiry((self._tls.folder / CERTIFICATE).read_bytes())
        except OSError:
            return None

    def _stamp(self) -> tuple[tuple[int, int, int], ...] | None:
        """Tell one state of the files from another; None where one is missing."""
        try:
            found = [os.stat(self._tls.folder / name) for name in (CERTIFICATE, KEY)]
        except OSError:
            return None
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
