"""What is allowed and most likely not as it was meant: who is told of it, and in which words."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from kube.api.verdict import advice_of, state_status, verdict_of
from kube.objects.metallb import ConfigurationState
from kube.objects.reading import decode
from kube.peering import Session
from kube.problem import Problem, Severity
from speaker.bgp.fast_failover import Unable
from speaker.bgp.routing import unguarded
from speaker.cluster.cluster import _advises

SESSION = Session("tor", 64512, 64501, address=IPv4Address("192.0.2.1"))


@pytest.mark.parametrize(
    ("hold", "lasts"),
    [(None, "for the hold time, 180 s"), (90, "for the hold time, 90 s"), (0, "for ever")],
)
def test_a_peer_that_nothing_guards_says_what_it_costs(hold: int | None, lasts: str) -> None:
    found = unguarded(replace(SESSION, hold=hold), "m", Unable.SWITCHED_OFF)
    assert str(found).startswith("warning: BGPPeer m/tor: spec.bfdProfile: without a bfdProfile")
    assert "(it is switched off)" in str(found)
    assert lasts in str(found)


def test_advice_is_a_condition_that_changes_no_result() -> None:
    plain = state_status("x", verdict_of([]), "2026-01-01T00:00:00Z")
    assert [each["type"] for each in plain["status"]["conditions"]] == ["x"]
    for errors, result in (([], "Valid"), (["wrong"], "Invalid")):
        advice = advice_of(["one", "two"])
        body = state_status("x", verdict_of(errors), "2026-01-01T00:00:00Z", advice)
        assert body["status"]["result"] == result
        told = body["status"]["conditions"][1]
        assert (told["status"], told["reason"], told["message"]) == ("True", "Warnings", "one\ntwo")
        assert told.keys() == body["status"]["conditions"][0].keys()
    assert len(advice_of(["x" * 1_000] * 100)) == 30_000


def test_the_condition_is_read_back() -> None:
    raw = b"""{"metadata": {"name": "speaker-a", "namespace": "m"}, "status": {"result": "Valid",
        "conditions": [{"type": "configReconcilerValid", "message": ""},
        {"type": "configReconcilerAdvice", "message": "one"}]}}"""
    view, _ = decode("ConfigurationState", raw)
    assert isinstance(view, ConfigurationState)
    assert (view.result, view.summary, view.advice) == ("Valid", "", "one")


@pytest.mark.parametrize(
    ("title", "severity", "told"),
    [
        ("BGPPeer m/tor", Severity.WARNING, True),
        ("Service default/web", Severity.WARNING, True),
        ("ConfigMap m/bgpextras", Severity.WARNING, True),
        ("BGPPeer m/tor", Severity.ERROR, False),
        ("EndpointSlice default/web-x", Severity.WARNING, False),
        ("", Severity.DEBUG, False),
    ],
)
def test_of_what_is_advised(title: str, severity: Severity, told: bool) -> None:
    assert _advises(Problem(severity, "", 0, title, "", "text")) is told
