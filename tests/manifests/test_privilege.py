"""The speaker with exactly what the DaemonSet leaves it: one capability, a read-only root."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import slowness
from netns import Host, missing_right, segment
from speakers import MANIFEST, Speaker

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_right() is not None, reason=missing_right() or ""),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux"),
]

NET_RAW = 1 << 13
CONFINE = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'


@pytest.fixture
def host() -> Iterator[Host]:
    with segment(["node-1"]) as hosts:
        yield hosts["node-1"]


def _command(container: dict[str, Any], host: Host, secret: Path, source: Path) -> list[str]:
    """The container as a command: what the runtime and the kubelet would make of it."""
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    kept = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
    filled = {"spec.nodeName": host.name, "metadata.name": "speaker-x"}
    values = {
        entry["name"]: entry.get("value")
        or filled.get(entry["valueFrom"]["fieldRef"]["fieldPath"], host.ip)
        for entry in container["env"]
    }
    values["METALLB_ML_SECRET_KEY_PATH"] = str(secret)
    return [
        *("unshare", "--mount", "sh", "-c", CONFINE, "sh"),
        *("setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--no-new-privs"),
        *("env", *(f"{name}={value}" for name, value in values.items())),
        *(sys.executable, "-m", "speaker", *container["args"], "--source", str(source)),
    ]


@pytest.fixture(params=["daemonset", "guide_daemonset"])
def confined(request: pytest.FixtureRequest, host: Host, tmp_path: Path) -> Iterator[Speaker]:
    """Our DaemonSet's speaker, then the guide's."""
    secret, source = tmp_path / "secret", tmp_path / "source"
    secret.mkdir()
    source.mkdir()
    key = secret / "secretkey"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    key.chmod(0o400)
    (source / "all.yaml").write_text(MANIFEST.format(name="web", ip="10.77.9.1"))
    template = request.getfixturevalue(request.param)["spec"]["template"]["spec"]
    command = _command(template["containers"][0], host, secret, source)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = host.namespace.start(command, stdout=output.fileno(), stderr=subprocess.STDOUT)
    try:
        yield Speaker(process, log, host)
    finally:
        process.kill()
        process.wait()


def test_it_announces_is_ready_and_stops(confined: Speaker) -> None:
    confined.wait_for("ready", 20)
    confined.wait_for("announce", ip="10.77.9.1")
    status = Path(f"/proc/{confined.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == NET_RAW
    assert fields["NoNewPrivs"] == "1"
    for path in ("/healthz", "/readyz", "/metrics"):
        assert confined.get(path)[0] == 200
    code, seconds = confined.stop()
    assert code == 0
    assert seconds < 2.5 * slowness()
