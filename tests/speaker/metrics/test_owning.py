"""Who owns what, as /metrics shows it; and how many series that makes at the most."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from link.address import IPAddress
from ownership.announcing.answering import IPStats
from ownership.io import Announce
from plan.service import ServicePlan
from speaker.cli import read_settings
from speaker.cli import speaker as command
from speaker.metrics.agreed import LONGEST, agreed
from speaker.metrics.collector import Figures, make_registry
from speaker.metrics.owning import CAUSES, OTHER, cause_of, owning, wanting
from speaker.settings import Settings
from speaker.wire.layer2 import Layer2Stats

MANY = 5_000
BY_IP = 7
"""Series of one IP that this node owns: announced, leader, owner, since when, and what it was
asked, answered, and told unasked."""
REST = 420
"""All others; most are histograms, and gossip's counters by reason."""


def samples(families: Iterable[Metric]) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in families
    }


def announce(service: str, *ips: str) -> Announce:
    return Announce(service, tuple(map(ip_address, ips)), None, "start")


def test_the_owner_alone_says_that_it_owns_and_since_when() -> None:
    item = announce("shop/web", "192.0.2.1", "2001:db8::1")
    found = samples(owning("node-1", [item], {"shop/web": 1_700_000_000.5}))
    assert found["clarion_owner_info"] == [
        ({"ip": ip, "service": "shop/web", "owner": "node-1"}, 1)
        for ip in ("192.0.2.1", "2001:db8::1")
    ]
    begun = found["clarion_owner_since_timestamp_seconds"]
    assert {value for _, value in begun} == {1_700_000_000.5}
    assert samples(owning("node-2", [], {})) == {name: [] for name in found}


def test_a_shared_ip_is_wanted_once_and_unowned_once() -> None:
    plans = {
        name: ServicePlan(name, (IPv4Address("192.0.2.1"),), wanted=name != "ns/idle")
        for name in ("ns/a", "ns/b", "ns/idle")
    }
    found = samples(wanting(plans, ["ns/a", "ns/b", "ns/gone"]))
    assert found["clarion_wanted_ips"] == [({}, 1)]
    assert found["clarion_unowned_ips"] == [({}, 1)]


@pytest.mark.parametrize(("contact", "unowned"), [(True, 1.0), (False, 0.0)])
def test_who_has_met_nobody_does_not_tell_that_there_is_nobody(
    contact: bool, unowned: float
) -> None:
    plans = {"ns/a": ServicePlan("ns/a", (IPv4Address("192.0.2.1"),), wanted=True)}
    figures = Figures("a", Layer2Stats(), {}, lambda ip, service: False, dict)
    figures.plans, figures.unowned, figures.contact = plans, lambda: ["ns/a"], contact
    registry, _ = make_registry(figures)
    assert registry.get_sample_value("clarion_unowned_ips") == unowned


@pytest.mark.parametrize(
    ("reasons", "cause"),
    [(["member_dead", "start"], "member_dead"), (["bars"], "bars"), (["odd"], OTHER), ([], OTHER)],
)
def test_a_takeover_has_one_of_few_causes(reasons: list[str], cause: str) -> None:
    assert cause_of(reasons) == cause


def test_every_cause_is_there_before_the_first_takeover() -> None:
    """Of a series that begins with its first count no increase is seen."""
    registry, _ = make_registry(Figures("a", Layer2Stats(), {}, lambda ip, service: False, dict))
    for cause in (*CAUSES, OTHER):
        assert registry.get_sample_value("clarion_takeover_seconds_count", {"cause": cause}) == 0.0


def test_series_are_bounded_at_5000_ips_of_one_node() -> None:
    ips: list[IPAddress] = [IPv4Address("10.0.0.0") + number for number in range(MANY)]
    announced = {f"ns/{ip}": Announce(f"ns/{ip}", (ip,), None, "start") for ip in ips}
    asked = {ip: IPStats(requests=1, responses=1, gratuitous=1) for ip in ips}
    figures = Figures(
        node="a",
        layer2=Layer2Stats(ips=asked),
        announced=announced,
        serves=lambda ip, service: True,
        owners=lambda: dict.fromkeys(announced, "a"),
        plans={name: ServicePlan(name, item.ips) for name, item in announced.items()},
        since=dict.fromkeys(announced, 1.0),
    )

    def count(figures: Figures) -> int:
        return sum(len(family.samples) for family in make_registry(figures)[0].collect())

    of_none = count(replace(figures, layer2=Layer2Stats(), announced={}, owners=dict, plans={}))
    assert count(figures) == of_none + BY_IP * MANY
    assert of_none <= REST


def settings(folder: Path, *flags: str) -> Settings:
    usual = "--node-name=n", f"--source={folder}", f"--metallb-files={folder}"
    arguments = [*usual, "--ml-bindaddr=192.0.2.1", *flags]
    return read_settings(command.make_context("speaker", arguments).params)


@pytest.mark.parametrize(
    ("flag", "setting"),
    [
        ("--failover-after=500ms", "failover_after"),
        ("--quorum=majority", "quorum"),
        ("--metallb-release=head", "metallb_release"),
        ("--lb-class=example.org/lb", "lb_class"),
        ("--ignore-exclude-lb", "ignore_exclude_lb"),
        ("--drain-on-cordon", "drain_on_cordon"),
        ("--bgp-fast-failover=off", "bgp_fast_failover"),
        ("--ml-wan-config", "gossip"),
    ],
)
def test_a_setting_that_differs_shows(tmp_path: Path, flag: str, setting: str) -> None:
    usual, other = agreed(settings(tmp_path)), agreed(settings(tmp_path, flag))
    assert {name for name in usual if usual[name] != other[name]} == {setting}


def test_what_is_of_one_node_or_secret_does_not_show(tmp_path: Path) -> None:
    secret = tmp_path / "secretkey"
    secret.write_bytes(b"never shown, whatever happens")
    flags = f"--ml-secret-key-path={secret}", "--host=192.0.2.1", "--ml-bindaddr=192.0.2.7"
    shown = agreed(settings(tmp_path, *flags))
    assert shown == agreed(settings(tmp_path)) | {"gossip_encrypted": "true"}
    assert max(map(len, agreed(settings(tmp_path, "--lb-class=" + "x" * 999)).values())) == LONGEST
