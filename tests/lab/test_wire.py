"""The instruments' own neighbour messages against scapy, and a scenario with real speakers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netnslab.instruments import arp, wire

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

ROOT = Path(__file__).resolve().parents[2]
MAC, PEER = "02:00:00:00:00:03", "02:00:00:00:00:0b"
IP4 = "10.77.1.1"
OWN, VIP = "2001:db8:77::3", "2001:db8:77::1:2"


def test_the_question_is_the_one_that_scapy_builds() -> None:
    group = "ff02::1:ff01:2"
    frame = (
        Ether(src=MAC, dst="33:33:ff:01:00:02")
        / IPv6(src=OWN, dst=group, hlim=255)
        / ICMPv6ND_NS(tgt=VIP)
        / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
    )
    assert wire.question(bytes.fromhex(MAC.replace(":", "")), OWN, VIP) == bytes(frame)


def test_an_answer_tells_whom_it_answers_and_what_the_asked_one_says() -> None:
    own, peer = (bytes.fromhex(mac.replace(":", "")) for mac in (MAC, PEER))
    for asker, ip, kind in (("10.77.0.4", "10.77.1.1", "reply"), (OWN, VIP, "advertisement")):
        question = wire.question(own, asker, ip)
        answer = wire.reply(question, ip, peer)
        assert answer is not None
        assert wire.read(answer) == wire.Said(PEER, ip, kind, True, MAC)
        assert wire.reply(question, asker, peer) is wire.reply(answer, ip, own) is None
    assert wire.reply(b"", OWN, own) is None


def test_an_announcement_is_the_one_that_scapy_builds() -> None:
    own = bytes.fromhex(MAC.replace(":", ""))
    told = Ether(src=MAC, dst="33:33:00:00:00:01") / IPv6(src=VIP, dst="ff02::1", hlim=255)
    advertised = told / ICMPv6ND_NA(tgt=VIP, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    assert wire.announcements(own, VIP) == [bytes(advertised)]
    everybody, nobody = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
    forms = [
        Ether(src=MAC, dst=everybody) / ARP(op=op, hwsrc=MAC, psrc=IP4, hwdst=to, pdst=IP4)
        for op, to in ((1, nobody), (2, everybody))
    ]
    assert wire.announcements(own, IP4) == [bytes(form) for form in forms]


def test_an_advertisement_is_the_one_that_scapy_builds() -> None:
    own, peer = (bytes.fromhex(mac.replace(":", "")) for mac in (MAC, PEER))
    frame = (
        Ether(src=PEER, dst=MAC)
        / IPv6(src=VIP, dst=OWN, hlim=255)
        / ICMPv6ND_NA(tgt=VIP, R=0, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=PEER)
    )
    assert wire.reply(wire.question(own, OWN, VIP), VIP, peer) == bytes(frame)


@pytest.mark.parametrize("solicited", [True, False])
def test_an_advertisement_names_the_mac_of_its_option(solicited: bool) -> None:
    frame = (
        Ether(src=MAC, dst=MAC)
        / IPv6(src="fe80::b", dst=OWN, hlim=255)
        / ICMPv6ND_NA(tgt=VIP, S=int(solicited), O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=PEER)
    )
    kind = "advertisement" if solicited else "unsolicited advertisement"
    to = MAC if solicited else ""
    assert wire.read(bytes(frame)) == wire.Said(PEER, VIP, kind, solicited, to)


def test_arp_and_others() -> None:
    own = bytes.fromhex(MAC.replace(":", ""))
    question = wire.read(arp.question(own, "10.77.0.3", "10.77.1.1"))
    assert question == wire.Said(MAC, "10.77.0.3", "request", answer=False)
    assert wire.read(wire.question(own, OWN, VIP)) == wire.Said(MAC, OWN, "solicitation", False)
    assert wire.read(b"") is wire.read(bytes(60)) is None
    for length in range(78):
        assert wire.read(wire.question(own, OWN, VIP)[:length]) is None


@pytest.mark.root
@pytest.mark.lab
def test_a_scenario_for_ipv6_sees_the_silence_and_its_end(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [
        sys.executable,
        "-m",
        "netnslab",
        "run",
        "power-off",
        "--family",
        "6",
        "--json",
        str(file),
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'netns-lab'}:{ROOT}"}
    subprocess.run(command, env=environment, capture_output=True, timeout=110, check=False)
    result = json.loads(file.read_text())
    assert result["family"] == 6
    assert result["runs"]
    for row in result["runs"]:
        assert ":" in row["ip"]
        assert row["silent_ms"] > 0
        assert row["owner_after"] == row["expected"] != row["owner_before"]
