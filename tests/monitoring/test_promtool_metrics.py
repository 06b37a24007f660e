"""`promtool check metrics` says nothing of our pages but what MetalLB's names force."""

import re
import shutil
import subprocess
from collections import Counter
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bgp.door.engine_states import EngineState
from bgp.state import BfdCounts, MessageCounts
from controller import metrics as controllers
from controller.allocation.allocator import Counters
from controller.webhooks.metrics import WebhookMetrics
from kube.api.lease import LeaseFailure, LeaseFigures
from ownership.announcing.answering import IPStats
from ownership.io import Announce, FailoverStats, LetterRefusal, RoutedState
from speaker.bgp.metrics import BgpCollector
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats

IP = IPv4Address("192.0.2.1")
NEIGHBOR: Any = ("", "192.0.2.254")
FORCED = {
    'non-counter metrics should not have "_total" suffix': {
        "metallb_allocator_addresses_total",
        "metallb_allocator_addresses_in_use_total",
        "metallb_allocator_ipv4_addresses_total",
        "metallb_allocator_ipv4_addresses_in_use_total",
        "metallb_allocator_ipv6_addresses_total",
        "metallb_allocator_ipv6_addresses_in_use_total",
        "metallb_bgp_announced_prefixes_total",
    },
}
"""What promtool says, and of which names of MetalLB."""


def speakers_page() -> bytes:
    """Every family has a series, as promtool looks at no other."""
    counts = cast(Any, Counter({"error": 1}))
    figures = Figures(
        node="a",
        layer2=Layer2Stats(
            ips={IP: IPStats(requests=1, responses=1, gratuitous=1)}, dropped=Counter()
        ),
        announced={"ns/a": Announce("ns/a", (IP,), None, "start")},
        serves=lambda ip, service: True,
        owners=dict,
        failover=lambda: FailoverStats(
            {"reached": 1},
            refused={LetterRefusal.MALFORMED: 1},
            routed={RoutedState.ANSWERS: 1},
        ),
        members=lambda: {"alive": 1},
        refusals=lambda: {"decrypt": 1},
        gossip_encrypted=lambda: {"incoming": True},
        secrets_refused=lambda: {"short": 1},
        moves=counts,
        since={"ns/a": 1.0},
        key_age=lambda: 1.0,
        certificate=lambda: 1.0,
        settings={"quorum": "off"},
        api_failed_reads=lambda: {"gone": 1},
        api_relists=lambda: {"Node": 1},
        netlink_resyncs=lambda: {"links": 1},
        http_refused=lambda: {"gone": 1},
    )
    figures.layer2.links.filters = {("eth0", "ipv4"): "exact"}
    registry = make_registry(figures)[0]
    registry.register(BgpCollector(cast(Any, routing())))
    return generate_latest(registry)


def routing() -> SimpleNamespace:
    state = SimpleNamespace(established=True, sent={}, messages=MessageCounts(), up=True)
    sessions = SimpleNamespace(
        peers={NEIGHBOR: SimpleNamespace(bfd="fast")},
        states={NEIGHBOR: state},
        bfd={NEIGHBOR: state},
        counters={NEIGHBOR: BfdCounts()},
    )
    typist = SimpleNamespace(typed_lines=1, refused_lines=1, comparisons=1, refused_prefixes=1)
    return SimpleNamespace(
        engine_state=EngineState.READY,
        wanted=True,
        sessions=sessions,
        typist=typist,
        fast_failover=SimpleNamespace(unable=None, med=100, steps=1),
    )


def controllers_page() -> bytes:
    figures = controllers.Figures(
        leads=lambda: True,
        pools=lambda: {"small": Counters({4: 1, 6: 0}, {4: 1, 6: 0}, {4: 2, 6: 0})},
        lease=lambda: LeaseFigures({"holding": True}, failures=dict.fromkeys(LeaseFailure, 1)),
        certificates=lambda: {"webhooks": 1.0},
        api_relists=lambda: {"Service": 1},
        api_failed_reads=lambda: {"gone": 1},
        http_refused=lambda: {"gone": 1},
    )
    registry: CollectorRegistry = controllers.make_registry(figures)
    registry.register(WebhookMetrics(["/validate"]))
    return generate_latest(registry)


PAGES = {"speaker": speakers_page(), "controller": controllers_page()}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: install the package prometheus"
)
@pytest.mark.parametrize(
    "page", [speakers_page(), controllers_page()], ids=["speaker", "controller"]
)
def test_promtool_says_nothing_but_of_metallbs_names(page: bytes) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode().splitlines()
    unforced = [line for line in said if not _is_forced(line)]
    assert unforced == []


def _is_forced(line: str) -> bool:
    name, _, what = line.partition(" ")
    return name in FORCED.get(what, set())


def test_every_family_of_the_pages_has_a_series() -> None:
    for page in PAGES.values():
        text = page.decode()
        for name in re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE):
            assert re.search(rf"^{name}(_bucket|_count|_created)?[{{ ]", text, re.MULTILINE), name
