"""What a whole speaker makes of the flags about TLS."""

import ssl
import urllib.request
from pathlib import Path

import pytest

from apiserver import certificates
from http_clients import WITHIN
from netns import Host, missing_right
from speakers import speaker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certificates"
    made.mkdir()
    certificates(made, "127.0.0.1")
    for suffix in ("crt", "key"):
        (made / f"server.{suffix}").rename(made / f"tls.{suffix}")
    return made


@pytest.mark.root
@pytest.mark.skipif(missing_right() is not None, reason=str(missing_right()))
def test_a_speaker_serves_metrics_with_tls_and_the_probes_port_without(
    hosts: dict[str, Host], source: Path, log: Path, folder: Path
) -> None:
    host = hosts["node-1"]
    flags = (f"--metrics-cert-dir={folder}", "--health-probe-port=17472")

    def get(url: str) -> bytes:
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        context.check_hostname = False
        with urllib.request.urlopen(url, timeout=WITHIN, context=context) as reply:
            body: bytes = reply.read()
            return body

    with speaker(host, source, *flags, log=log) as running:
        running.wait_for("ready")
        metrics = host.namespace.run(get, f"https://{host.ip}:7472/metrics")
        assert b'clarion_http_refused_total{reason="tls"} 0.0' in metrics
        assert host.namespace.run(get, "http://127.0.0.1:17472/healthz") == b"ok\n"
        assert running.events("flags") == []


@pytest.mark.root
@pytest.mark.skipif(missing_right() is not None, reason=str(missing_right()))
def test_flags_of_tls_without_effect_are_a_warning_at_the_start(
    hosts: dict[str, Host], source: Path, log: Path
) -> None:
    flags = ("--tls-min-version=VersionTLS12", "--tls-curve-preferences=29", "--enable-pprof")
    with speaker(hosts["node-1"], source, *flags, log=log) as running:
        running.wait_for("ready")
        harmless, unsafe = running.events("flags")
        assert (harmless["level"], harmless["without_effect"]) == ("info", ["--enable-pprof"])
        assert unsafe["level"] == "warning"
        assert unsafe["without_effect"] == ["--tls-curve-preferences", "--tls-min-version"]
        assert "plain HTTP" in unsafe["message"]
