"""Flags, variables and mounted files: what they mean, and one clear line where they are wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gossip.config import LAN, RECLAIM_AFTER, WAN, Config
from kube.durations import parse_duration
from plan.release import RELEASES, Release
from process.settings import SettingsError
from speaker.settings import (
    GossipSecret,
    GossipTuning,
    exclude_pattern,
    gossip_config,
    read_secret,
    split_seed,
)
from wan_config import NUMBERS

NONE = GossipTuning()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("10s", 10.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("0", 0.0), ("1us", 1e-6)],
)
def test_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1x", "-1s", "1 s", "1s "])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_a_secret_is_a_file_or_a_folder_and_is_not_trimmed(tmp_path: Path) -> None:
    (tmp_path / "secretkey").write_bytes(b"abcdefghijklmnopqrstuv")
    expected = "6162636465666768696a6b6c6d6e6f70717273747576e3b0c44298fc1c149afb"
    for path in (tmp_path, tmp_path / "secretkey"):
        key = read_secret(str(path), "").key
        assert key is not None
        assert key.hex() == expected
    (tmp_path / "secretkey").write_bytes(b"abcdefghijklmnopqrstuv\n")
    assert read_secret(str(tmp_path), "").length == 23
    assert read_secret("", "").key is None
    assert read_secret("", "value").length == 5


def test_a_secret_never_shows_itself() -> None:
    assert repr(GossipSecret(b"k" * 32, 32)) == "GossipSecret(set)"
    assert repr(GossipSecret(None)) == "GossipSecret(none)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"/secretkey: No such file"),
        (lambda folder: (folder / "secretkey").touch(), r"/secretkey: the file is empty"),
        (lambda folder: (folder / "secretkey").mkdir(), r"/secretkey: Is a directory"),
        (lambda folder: folder.rmdir(), r": No such file"),
    ],
)
def test_a_secret_path_without_a_key_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    make(folder)
    with pytest.raises(SettingsError, match=f"^--ml-secret-key-path: .*{message}"):
        read_secret(str(folder), "")


def reclaiming(profile: Config) -> Config:
    """A node that lost power may come back with another address, whatever the profile says."""
    return replace(profile, dead_node_reclaim_time=RECLAIM_AFTER)


def test_profiles_and_the_guides_variables(tmp_path: Path) -> None:
    missing = tmp_path / "config.json"
    assert gossip_config(False, NONE, missing) == reclaiming(LAN)
    assert gossip_config(True, NONE, missing) == reclaiming(WAN)
    tuned = gossip_config(False, GossipTuning(gossip_interval=0.1, suspicion_mult=3), missing)
    assert (tuned.gossip_interval, tuned.suspicion_mult) == (0.1, 3)
    assert tuned.probe_interval == LAN.probe_interval


def write_config(tmp_path: Path, **changes: object) -> Path:
    values: dict[str, object] = {
        **NUMBERS,
        "EnableCompression": True,
        "GossipVerifyIncoming": True,
        "GossipVerifyOutgoing": True,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(values | changes))
    return file


def test_metallbs_memberlist_file_replaces_the_profile(tmp_path: Path) -> None:
    assert gossip_config(False, NONE, write_config(tmp_path)) == reclaiming(LAN)
    slow = gossip_config(True, NONE, write_config(tmp_path, ProbeInterval="7s"))
    assert slow.probe_interval == 7.0
    assert slow.tcp_timeout == LAN.tcp_timeout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ProbeInterval": "soon"}, "config.json: ProbeInterval: not a duration"),
        ({"SuspicionMult": "4"}, "config.json: SuspicionMult: must be of type int"),
        ({"EnableCompression": 1}, "config.json: EnableCompression: must be of type bool"),
        ({"GossipNodes": 0}, "config.json: GossipNodes: must be 1 or more"),
        ({"GossipNodes": -1}, "config.json: GossipNodes: must be 1 or more"),
        ({"ProbeInterval": "0"}, "config.json: ProbeInterval: must be 1 ms"),
        ({"GossipInterval": "10ns"}, "config.json: GossipInterval: must be 1 ms"),
        ({"SuspicionMult": 10**400}, "config.json: SuspicionMult: must be 1 or more"),
        ({"RetransmitMult": 0}, "config.json: RetransmitMult: must be 1 or more"),
        ({"AwarenessMaxMultiplier": -8}, "config.json: AwarenessMaxMultiplier: must be 1"),
        ({"UDPBufferSize": 10**12}, "config.json: UDPBufferSize: must be -"),
        ({"IndirectChecks": -(10**12)}, "config.json: IndirectChecks: must be -"),
    ],
)
def test_a_wrong_memberlist_file_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        gossip_config(False, NONE, write_config(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes", [{"IndirectChecks": -5}, {"UDPBufferSize": -5}, {"UDPBufferSize": 10**8}], ids=str
)
def test_what_memberlist_runs_with_is_taken(tmp_path: Path, changes: dict[str, object]) -> None:
    found = gossip_config(False, NONE, write_config(tmp_path, **changes))
    ((key, number),) = changes.items()
    name = {"IndirectChecks": "indirect_checks", "UDPBufferSize": "udp_buffer_size"}[key]
    assert getattr(found, name) == number


def test_excluded_interfaces_are_searched_as_metallb_does(tmp_path: Path) -> None:
    file = tmp_path / "excludel2.yaml"
    assert exclude_pattern(file) is None
    file.write_text("announcedInterfacesToExclude: []")
    assert exclude_pattern(file) is None
    file.write_text('announcedInterfacesToExclude: ["^veth.*", "^lo$"]')
    pattern = exclude_pattern(file)
    assert pattern is not None
    assert [bool(pattern.search(name)) for name in ("veth1", "lo", "eth0", "loop")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "text", ["announcedInterfacesToExclude: ['(']", "- a\n- b", "a: [", "{a: }}"]
)
def test_a_wrong_exclude_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"excludel2\.yaml: announcedInterfaces") as caught:
        exclude_pattern(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 7946)),
        ("10.0.0.1:8000", ("10.0.0.1", 8000)),
        ("fd00::1", ("fd00::1", 7946)),
        ("[fd00::1]", ("fd00::1", 7946)),
        ("[fd00::1]:8000", ("fd00::1", 8000)),
        ("node-1", ("node-1", 7946)),
        ("node-1:8000", ("node-1", 8000)),
    ],
)
def test_seeds(text: str, expected: tuple[str, int]) -> None:
    assert split_seed(text, 7946) == expected


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("v0.14.5", Release.V0_14_5),
        ("v0.14.8", Release.V0_14_5),
        ("v0.14.9", Release.V0_14_9),
        ("v0.14", Release.V0_14_9),
        ("v0.15", Release.V0_15),
        ("v0.16", Release.V0_16),
        ("head", Release.HEAD),
    ],
)
def test_a_release_by_its_name_or_its_patch(name: str, release: Release) -> None:
    assert RELEASES[name] is release
    assert not RELEASES.keys() & {"v0.13", "v0.14.4", "v0.14.10"}


def speaker(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "METALLB" not in name}
    return subprocess.run(
        [sys.executable, "-m", "speaker", *flags],
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "variables", "named"),
    [
        (["--source", "."], {}, "--node-name"),
        (["--node-name=n", "--state=f"], {"KUBECONFIG": "/c"}, "--state: needs --source"),
        (["--node-name=n"], {"KUBECONFIG": "/c", "CLARION_STATE": "f"}, "--state: needs --source"),
        (["--node-name", "n", "--colour=red"], {}, "--colour"),
        (["--node-name", "n", "--source", ".", "--port=x"], {}, "--port"),
        (["--node-name", "n", "--source", ".", "--log-level=loud"], {}, "--log-level"),
        (
            ["--node-name", "n", "--source", ".", "--metallb-release=v0.14.4"],
            {},
            "'v0.14.5', 'v0.1",
        ),
        (["--node-name", "n", "--source", ".", "--ml-bindaddr=here"], {}, "--ml-bindaddr"),
        (["--node-name=n", "--source=.", "--tls-min-version=1.2"], {}, "--tls-min-version"),
        (["--node-name=n", "--source=.", "--tls-cipher-suites=NULL"], {}, "'NULL'"),
        (["--node-name=n", "--source=.", "--metrics-cert-dir=/nowhere"], {}, "/nowhere: tls.crt"),
        (["--node-name", "n", "--source", ".", "--join=a:99999"], {}, "--join"),
        (["--source", "."], {"METALLB_NODE_NAME": "n", "METALLB_ML_BIND_PORT": "0"}, "BIND_PORT"),
        (
            ["--source", "."],
            {"METALLB_NODE_NAME": "n", "MEMBERLIST_TCP_TIMEOUT": "10"},
            "MEMBERLIST_TCP_TIMEOUT",
        ),
        (
            ["--source", "."],
            {"METALLB_NODE_NAME": "n", "CLARION_ML_DELEGATE_VERSION": "5,2,2"},
            "CLARION_ML_DELEGATE_VERSION",
        ),
        (
            ["--source", "."],
            {"METALLB_NODE_NAME": "n", "METALLB_ML_SECRET_KEY_PATH": "/nowhere/key"},
            "/nowhere/key",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_status_2(
    flags: list[str], variables: dict[str, str], named: str
) -> None:
    done = speaker(*flags, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
