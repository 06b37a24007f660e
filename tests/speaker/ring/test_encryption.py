"""What is said at the start, and shown, of gossip that is not encrypted."""

import json
from pathlib import Path
from typing import Any

import pytest

from speaker.cli import read_settings, speaker
from speaker.metrics.collector import Figures, make_registry
from speaker.ring.peers import Peers
from speaker.upkeep import Upkeep
from speaker.wire.layer2 import Layer2Stats
from wan_config import NUMBERS

BOTH = {"GossipVerifyIncoming": True, "GossipVerifyOutgoing": True}


class Started:
    """A speaker's gossip up to where it would bind: what it logged, and its metrics."""

    def __init__(self, folder: Path, verify: dict[str, bool] | None, *flags: str) -> None:
        self.lines: list[dict[str, Any]] = []
        if verify is not None:
            (folder / "memberlist").mkdir()
            file = folder / "memberlist" / "config.json"
            file.write_text(json.dumps(NUMBERS | verify))
        arguments = ["--node-name=n", f"--source={folder}", f"--metallb-files={folder}", *flags]
        settings = read_settings(speaker.make_context("speaker", arguments).params)
        log: Any = self
        self.now = 0.0
        self.peers = Peers(settings, lambda: self.now, lambda _: None, log, Upkeep(print, log))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event} | fields)

    def encrypted(self, direction: str) -> float | None:
        figures = Figures(
            node="n",
            layer2=Layer2Stats(),
            announced={},
            serves=lambda ip, service: False,
            owners=dict,
            gossip_encrypted=self.peers.encrypted,
        )
        registry, _ = make_registry(figures)
        return registry.get_sample_value("clarion_gossip_encrypted", {"direction": direction})


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (tmp_path / "secretkey").write_bytes(b"a secret of more than sixteen bytes")
    return f"--ml-secret-key-path={tmp_path}"


GOSSIP = "--ml-bindaddr=192.0.2.1"


@pytest.mark.parametrize(
    ("verify", "off"),
    [
        ({}, ["GossipVerifyIncoming", "GossipVerifyOutgoing"]),
        ({"GossipVerifyIncoming": True}, ["GossipVerifyOutgoing"]),
        ({"GossipVerifyOutgoing": True}, ["GossipVerifyIncoming"]),
    ],
)
def test_a_file_that_turns_encryption_off_is_warned_of(
    tmp_path: Path, secret: str, verify: dict[str, bool], off: list[str]
) -> None:
    """A key that is missing is false: MetalLB's rule, so it stays."""
    started = Started(tmp_path, verify, GOSSIP, secret)
    (line,) = started.lines
    assert (line["event"], line["off"]) == ("gossip", off)
    for direction in ("incoming", "outgoing"):
        expected = f"GossipVerify{direction.title()}" not in off
        assert started.encrypted(direction) == expected
    assert "more than sixteen" not in repr(started.lines)


@pytest.mark.parametrize("verify", [None, BOTH])
def test_nothing_is_said_where_all_is_encrypted(
    tmp_path: Path, secret: str, verify: dict[str, bool] | None
) -> None:
    started = Started(tmp_path, verify, GOSSIP, secret)
    assert started.lines == []
    assert started.encrypted("incoming") == started.encrypted("outgoing") == 1


@pytest.mark.parametrize("verify", [None, {}, BOTH])
def test_without_a_secret_nothing_is_encrypted(
    tmp_path: Path, verify: dict[str, bool] | None
) -> None:
    started = Started(tmp_path, verify, GOSSIP)
    assert ["no secret" in line["message"] for line in started.lines] == [True]
    assert started.encrypted("incoming") == started.encrypted("outgoing") == 0


def test_without_gossip_there_is_nothing_to_encrypt(tmp_path: Path, secret: str) -> None:
    started = Started(tmp_path, {}, secret)
    assert started.lines == []
    assert started.encrypted("incoming") is None


def test_the_age_of_the_key_is_counted_from_its_first_use(tmp_path: Path, secret: str) -> None:
    started = Started(tmp_path, None, GOSSIP, secret)
    started.now = 90.0
    assert started.peers.key_age() == 90.0
    started.peers.note_key_used()
    started.now = 100.0
    assert started.peers.key_age() == 10.0


def test_without_a_key_there_is_no_age(tmp_path: Path, secret: str) -> None:
    assert Started(tmp_path, None, GOSSIP).peers.key_age() is None
    assert Started(tmp_path, None, secret).peers.key_age() is None
