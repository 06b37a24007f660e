"""kube-proxy, what is reached, what is to be alike, and the objects as they stand together."""

import pytest

from clarion.doctor.agreement import ClockFacts, SpeakerFacts, judge_clocks, judge_speakers
from clarion.doctor.finding import DoctorCheck, Gravity
from clarion.doctor.proxy import ProxyFacts, judge_proxy, read_proxy
from clarion.doctor.reach import PeerReach, ProbeAnswer, judge_reach
from clarion.doctor.told import told

KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
ipvs: {strictARP: %s, scheduler: ""}
mode: "%s"
"""


@pytest.mark.parametrize(
    ("mode", "strict", "wrong"),
    [("ipvs", "false", True), ("ipvs", "true", False), ("iptables", "false", False),
     ("nftables", "false", False), ("", "false", False)],
)  # fmt: skip
def test_ipvs_without_strict_arp(mode: str, strict: str, wrong: bool) -> None:
    proxy = read_proxy(KUBEADM % (strict, mode))
    assert proxy == ProxyFacts(mode, strict == "true")
    assert bool(list(judge_proxy(proxy))) is wrong


@pytest.mark.parametrize(
    "text", ["", "a: [", "kind: Other", "- 1", "\x00", "kind: KubeProxyConfiguration\nipvs: []"]
)
def test_what_is_no_configuration_is_none_or_the_default(text: str) -> None:
    assert read_proxy(text) in (None, ProxyFacts("", False))


def reach(**found: ProbeAnswer | int | str) -> list[DoctorCheck]:
    peer = PeerReach("node-2", "192.0.2.2", **found)  # type: ignore[arg-type]
    return [each.check for each in judge_reach("node-1", (peer,))]


YES, NO = ProbeAnswer.ANSWERED, ProbeAnswer.SILENT


@pytest.mark.parametrize(
    ("echo", "udp", "udp_full", "tcp", "wrong"),
    [
        (YES, YES, YES, YES, []),
        (None, None, None, None, []),
        (NO, YES, YES, YES, [DoctorCheck.ECHO]),
        (YES, NO, NO, YES, [DoctorCheck.GOSSIP_UDP]),
        (YES, YES, NO, YES, [DoctorCheck.GOSSIP_MTU]),
        (YES, YES, YES, NO, [DoctorCheck.GOSSIP_TCP]),
        (YES, NO, NO, NO, [DoctorCheck.GOSSIP_TCP, DoctorCheck.GOSSIP_UDP]),
        # Another key: a stream is read and refused, a datagram is dropped without a word.
        (YES, NO, NO, ProbeAnswer.UNREAD, [DoctorCheck.GOSSIP_TCP]),
        (YES, ProbeAnswer.UNREAD, NO, YES, [DoctorCheck.GOSSIP_TCP]),
        (YES, ProbeAnswer.CLOSED, ProbeAnswer.CLOSED, ProbeAnswer.CLOSED, [DoctorCheck.GOSSIP_TCP]),
    ],
)
def test_each_way_in_which_a_peer_is_not_reached(
    echo: ProbeAnswer,
    udp: ProbeAnswer,
    udp_full: ProbeAnswer,
    tcp: ProbeAnswer,
    wrong: list[DoctorCheck],
) -> None:
    assert reach(echo=echo, udp=udp, udp_full=udp_full, tcp=tcp) == wrong


def test_what_opens_a_port_is_of_the_peers_family() -> None:
    four = PeerReach("n", "192.0.2.2", tcp=NO, echo=NO)
    six = PeerReach("n", "2001:db8::2", tcp=NO, echo=NO)
    mends = [each.mend for each in judge_reach("me", (four, six))]
    assert mends == [
        "iptables -I INPUT -p icmp --icmp-type echo-request -j ACCEPT   # on n",
        "iptables -I INPUT -p tcp --dport 7946 -j ACCEPT   # on n",
        "ip6tables -I INPUT -p icmpv6 --icmpv6-type echo-request -j ACCEPT   # on n",
        "ip6tables -I INPUT -p tcp --dport 7946 -j ACCEPT   # on n",
    ]


@pytest.mark.parametrize(
    ("skew", "wrong"),
    [(0.0, None), (1.9, None), (-1.9, None), (5.0, Gravity.WARNING), (-5.0, Gravity.WARNING),
     (3601.0, Gravity.ERROR), (-7200.0, Gravity.ERROR)],
)  # fmt: skip
def test_how_far_a_clock_may_be_off(skew: float, wrong: Gravity | None) -> None:
    found = list(judge_clocks("node-1", ClockFacts(nodes={"node-2": skew})))
    assert [each.severity for each in found] == [wrong] * (wrong is not None)
    if wrong:
        assert ("ahead of" if skew > 0 else "behind") in found[0].seen


def test_the_own_clock_is_believed_before_the_own_heartbeat() -> None:
    assert list(judge_clocks("node-1", ClockFacts(0.1, {"node-1": 30.0}))) == []


def test_speakers_that_differ_from_most() -> None:
    same = {"failover_after": "0.35s", "quorum": "off"}
    speakers = (
        SpeakerFacts("a", "1.0", same),
        SpeakerFacts("b", "1.0", same),
        SpeakerFacts("c", "1.1", {**same, "quorum": "majority"}),
        SpeakerFacts("metallb"),
    )
    found = list(judge_speakers(speakers))
    assert [(each.check, each.where) for each in found] == [
        (DoctorCheck.VERSIONS, "c"),
        (DoctorCheck.SETTINGS, "c"),
    ]
    assert found[1].seen == "quorum is 'majority', and 'off' on 2 of 3 nodes"
    assert list(judge_speakers(speakers[:2])) == []
    assert list(judge_speakers(())) == []


def test_a_page_of_metrics_tells_version_and_settings() -> None:
    page = """\
# HELP clarion_build_info The version.
clarion_build_info{version="0.1.0"} 1.0
clarion_setting_info{setting="quorum",value="off"} 1.0
clarion_setting_info{setting="lb_class",value="a\\"b\x1b[2J"} 1.0
clarion_members{state="alive"} 3.0
"""
    assert told("a", page) == SpeakerFacts("a", "0.1.0", {"quorum": "off", "lb_class": 'a"b?[2J'})


@pytest.mark.parametrize(
    "page", ["", "clarion_build_info{", 'clarion_build_info{version="x', "clarion_build_info{} y"]
)
def test_a_broken_page_tells_nothing(page: str) -> None:
    assert told("a", page) == SpeakerFacts("a")


def test_a_page_without_end_costs_two_hundred_lines() -> None:
    page = "".join(f'clarion_setting_info{{setting="s{n}",value=""}} 1\n' for n in range(9999))
    assert len(told("a", page).settings) == 200
