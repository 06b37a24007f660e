"""Where the API server is and how to prove who we are and who it is; read again as files change.

A cluster's CA and a client's certificate are replaced while we run: a kubelet moves a link to a new
folder, `kubeadm certs renew` writes in place. What cannot be read, as half a file, changes nothing.
"""

import os
import ssl
from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

MAX_REASON = 200
"""Characters of a reason: it goes to a log."""
LOOK_INTERVAL = 5.0
"""Seconds between two looks at the files: some `stat` calls, before a request."""
AFTER_TLS_ERROR = 60.0
"""Seconds from one reading to the next after TLS errors, where no file seems to have changed.

`stat` does not show everything, but a server that is not ours stays so: reading the same files for
each request that fails would cost a millisecond each.
"""


class ConfigError(Exception):
    """There is no way to an API server; the text is one line that says why."""


class Credentials:
    """The configuration that counts, and the TLS context made of it."""

    def __init__(
        self,
        kubeconfig: str,
        clock: Callable[[], float],
        log: Log | None,
        context: str | None = None,
    ) -> None:
        """`log`, if any, is told of a file that cannot be used, and of what is read again.

        `context` is one of the kubeconfig; None: its current one.
        """
        self.configuration: Any = None
        self.tls: ssl.SSLContext | bool = True
        self._kubeconfig, self._clock, self._log = kubeconfig, clock, log
        self._context = context
        self._seen: tuple[object, ...] = ()
        self._looked = self._read_at = 0.0
        self._failing = False

    async def open(self) -> None:
        """Read for the first time. Raises `ConfigError`."""
        self._looked = self._read_at = self._clock()
        self.configuration = await _load(self._kubeconfig, self._context)
        self._seen = self._identities()
        self.tls = _tls(self.configuration)

    async def follow(self) -> None:
        """Before a request: read again what has changed, looking every some seconds."""
        if self._clock() - self._looked >= LOOK_INTERVAL:
            await self._look()

    async def handle_tls_error(self) -> None:
        """The server did not like ours, or we not its: look at once, read once a minute."""
        if not await self._look() and self._clock() - self._read_at >= AFTER_TLS_ERROR:
            await self._read()

    async def handle_unauthorized(self) -> None:
        """Read the token again: the library itself looks only once a minute."""
        if not await self._look():
            await self._read(tell=False)

    async def _look(self) -> bool:
        """Read again if a file has changed; tell if one has."""
        self._looked = self._clock()
        if self._identities() == self._seen:
            return False
        await self._read()
        return True

    async def _read(self, *, tell: bool = True) -> None:
        """Read everything again; where something cannot be used, all stays as it is."""
        self._read_at = self._clock()
        # Before the reading: what changes meanwhile is a change.
        self._seen = self._identities()
        try:
            configuration = await _load(self._kubeconfig, self._context)
            files = self._identities(configuration)
            tls = _tls(configuration)
        except ConfigError as error:
            self._tell_failing(error)
            return
        self.configuration, self.tls = configuration, tls
        self._seen = (*self._seen[:1], *files[1:])
        if tell or self._failing:
            self._tell_read()

    def _identities(self, configuration: Any = None) -> tuple[object, ...]:
        """Return what changes when a file does: the kubeconfig's first, then what it names."""
        found = configuration or self.configuration
        names = (self._kubeconfig, found.ssl_ca_cert, found.cert_file, found.key_file)
        return tuple(_identity(name) for name in names)

    def _tell_failing(self, error: ConfigError) -> None:
        if not self._failing and self._log is not None:
            self._log.warning("credentials", state="failing", error=str(error))
        self._failing = True

    def _tell_read(self) -> None:
        if self._log is not None:
            self._log.info("credentials", state="ok" if self._failing else "read again")
        self._failing = False


def library() -> tuple[Any, Any, Any]:
    """Import what reads configurations; only where it is needed, as it costs 10 MiB."""
    try:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import load_incluster_config, load_kube_config
    except ImportError:
        raise ConfigError("the package `kubernetes` is not installed") from None
    return Configuration, load_kube_config, load_incluster_config


def plain(error: BaseException) -> str:
    """Return an error as one line of bounded length."""
    return line(str(error) or type(error).__name__)


def line(text: str) -> str:
    """Make one line of bounded length of a text that somebody else wrote."""
    return " ".join(text.split())[:MAX_REASON]


async def _load(kubeconfig: str, context: str | None) -> Any:
    """Read the kubeconfig file, or what a pod finds mounted."""
    make, from_file, from_pod = library()
    configuration: Any = make()
    try:
        if kubeconfig:
            await from_file(
                kubeconfig,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            from_pod(configuration)
    except Exception as error:
        raise ConfigError(f"{kubeconfig or 'in-cluster configuration'}: {plain(error)}") from None
    return configuration


def _tls(configuration: Any) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https:"):
        return True
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"TLS: {plain(error)}") from None
    # Clusters that were set up years ago have certificates that the strict flag refuses.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _identity(name: str | None) -> object:
    """Return what changes when the file does; for a link it is that of the file it leads to."""
    if not name:
        return None
    try:
        found = os.stat(name)
    except OSError:
        return None
    return name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
