"""/metrics with TLS: what the flags mean, a renewed certificate, and handshakes that do not end.

Real handshakes on loopback, with the real server and pages.
"""

import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from apiserver import certificates
from http_clients import WITHIN, ask, connect, rest
from process import health, http_server
from process.health import Health, HttpServer
from process.http_request import HttpRefusal
from process.settings import SettingsError
from process.tls import POLL, Certificates, Tls, expiry, load, read_tls
from speakers import wait_until

GCM_128, GCM_256 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
REQUEST = b"GET /healthz HTTP/1.1\r\n\r\n"


def renew(folder: Path) -> bytes:
    """Put a new pair into the folder as a kubelet does, and return the certificate."""
    made = folder / "made"
    made.mkdir(exist_ok=True)
    certificates(made, "127.0.0.1")
    shutil.move(made / "server.crt", folder / "tls.crt")
    shutil.move(made / "server.key", folder / "tls.key")
    return ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certificates"
    made.mkdir()
    renew(made)
    return made


class Served:
    """A server with TLS on loopback."""

    def __init__(self, folder: Path, version: str = "", suites: str = "") -> None:
        tls = read_tls(str(folder), version, suites)
        assert tls is not None
        self.now = 0.0
        self.certificates = Certificates(tls, structlog.get_logger(), lambda: self.now)
        self.health = Health()
        self.health.not_ready = None
        self.errors: list[BaseException] = []
        self.server = HttpServer(
            *("127.0.0.1", 0, CollectorRegistry(), self.health, self.errors.append),
            self.certificates.context,
        )
        self.port = self.server.port

    def ask(self, suites: str = "", newest: ssl.TLSVersion | None = None) -> tuple[bytes, bytes]:
        """Return the answer and the certificate; raise ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if newest is not None:
            context.maximum_version = newest
        if suites:
            context.set_ciphers(suites)
        plain = connect(self.port)
        with context.wrap_socket(plain) as connection:
            certificate = connection.getpeercert(binary_form=True)
            assert certificate is not None
            connection.sendall(REQUEST)
            return rest(connection), certificate

    def refused(self, reason: HttpRefusal) -> int:
        return self.health.refused.counts()[reason]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Served]]:
    monkeypatch.setattr(health, "LONGEST_SILENCE", float("inf"))
    servers: list[Served] = []
    yield servers
    for served in servers:
        served.server.close()
        assert served.errors == []


def test_pages_are_served_with_tls_and_not_without(folder: Path, made: list[Served]) -> None:
    made.append(served := Served(folder))
    assert served.ask()[0].endswith(b"ok\n")
    assert ask(served.port, "/healthz") == b""
    assert served.refused(HttpRefusal.TLS) == 1


def test_the_least_version_is_kept_and_is_metallbs_by_default(
    folder: Path, made: list[Served]
) -> None:
    made.append(newest := Served(folder))
    with pytest.raises(ssl.SSLError):
        newest.ask(newest=ssl.TLSVersion.TLSv1_2)
    made.append(older := Served(folder, "VersionTLS12"))
    assert older.ask(newest=ssl.TLSVersion.TLSv1_2)[0].endswith(b"ok\n")
    assert older.ask()[0].endswith(b"ok\n")


def test_only_the_suites_asked_for_are_spoken(folder: Path, made: list[Served]) -> None:
    made.append(served := Served(folder, "VersionTLS12", f"{GCM_128}, TLS_AES_128_GCM_SHA256"))
    assert served.ask("ECDHE-ECDSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        served.ask(GCM_256, ssl.TLSVersion.TLSv1_2)
    made.append(served := Served(folder, "VersionTLS12", "TLS_AES_128_GCM_SHA256"))
    with pytest.raises(ssl.SSLError):
        served.ask(newest=ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize(
    ("version", "suites", "named"),
    [
        ("TLS13", "", "--tls-min-version"),
        ("VersionTLS12", "TLS_RSA_WITH_RC4_128_SHA", "'TLS_RSA_WITH_RC4_128_SHA'"),
        ("VersionTLS12", f"{GCM_128},", "--tls-cipher-suites: no suite ''"),
        ("", GCM_128, "--tls-cipher-suites: TLS 1.3 has no choice"),
        ("VersionTLS13", GCM_128, "--tls-cipher-suites: TLS 1.3 has no choice"),
    ],
)
def test_a_flag_that_cannot_be_kept_is_refused_with_and_without_a_folder(
    folder: Path, version: str, suites: str, named: str
) -> None:
    for place in ("", str(folder)):
        with pytest.raises(SettingsError, match=named):
            read_tls(place, version, suites)


def test_every_suite_that_has_a_name_is_there(folder: Path) -> None:
    from process.tls import _SUITES

    for suite in filter(None, _SUITES.values()):
        context = load(Tls(folder, ssl.TLSVersion.TLSv1_2, suite))
        assert suite in {each["name"] for each in context.get_ciphers()}


def test_a_folder_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "tls.key").write_text("no key")
    with pytest.raises(SettingsError, match=r"tls.crt, tls.key: no certificate"):
        read_tls(str(folder), "", "")
    renew(folder)
    first = (folder / "tls.crt").read_text()
    renew(folder)
    (folder / "tls.crt").write_text(first)
    with pytest.raises(SettingsError, match=r"tls.crt, tls.key: KEY_VALUES_MISMATCH"):
        read_tls(str(folder), "", "")
    (folder / "tls.key").unlink()
    with pytest.raises(SettingsError, match=r"tls.key: No such file"):
        read_tls(str(folder), "", "")


def test_a_renewed_certificate_is_used_and_half_of_one_is_not(
    folder: Path, made: list[Served]
) -> None:
    made.append(served := Served(folder))
    first = served.ask()[1]
    with structlog.testing.capture_logs() as lines:
        (folder / "tls.crt").write_text("half")
        for _ in range(3):
            served.now += POLL
            assert served.ask()[1] == first
        second = renew(folder)
        assert served.ask()[1] == first, "looked at more often than said"
        served.now += POLL
        assert served.ask()[1] == second != first
    assert [line.get("state", "error") for line in lines] == ["error", "read"]
    assert "PRIVATE" not in str(lines)


def test_handshakes_that_do_not_end_hold_no_thread_and_are_closed_in_time(
    folder: Path, made: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    made.append(served := Served(folder))
    before = threading.active_count()
    # The first bytes of a ClientHello, and none at all.
    idle = [connect(served.port, b"\x16\x03\x01\x02\x00\x01" * (n % 2)) for n in range(40)]
    assert served.ask()[0].endswith(b"ok\n")
    assert threading.active_count() == before
    for connection in idle:
        connection.close()
    monkeypatch.setattr(http_server, "LONGEST_REQUEST", 0.05)
    assert rest(connect(served.port, b"\x16\x03\x01")) == b""
    wait_until(lambda: served.refused(HttpRefusal.TOO_SLOW) >= 1, "one that is refused", WITHIN)


def test_what_is_no_tls_is_counted_by_what_it_is(folder: Path, made: list[Served]) -> None:
    made.append(served := Served(folder))
    connect(served.port).close()
    wait_until(lambda: served.refused(HttpRefusal.GONE) == 1, "one that has gone", WITHIN)
    rest(connect(served.port, b"\x00" * 100))
    wait_until(lambda: served.refused(HttpRefusal.TLS) == 1, "one that speaks no TLS", WITHIN)


def test_when_a_certificate_ends_follows_the_one_in_use(folder: Path) -> None:
    now = 0.0
    kept = Certificates(Tls(folder), structlog.get_logger(), lambda: now)
    first = kept.expiry
    assert first == expiry((folder / "tls.crt").read_bytes())
    (folder / "tls.crt").write_text("no certificate")
    now = 2 * POLL
    kept.context()
    assert kept.expiry == first
    assert expiry(b"no certificate") is None
