"""What a speaker answers about owners, reasons, members and settings, and how fast."""

import gc
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from gossip.config import LOCAL
from gossip.io import Address, MemberView
from gossip.wire.messages import CURRENT_VSN, State
from kube.address import Range
from kube.config import PoolConfig
from kube.objects.core import Endpoint, EndpointSlice, Node, Service
from kube.objects.metallb import L2Advertisement
from kube.snapshot import Snapshot
from machine import slowness
from ownership.election.election import order
from ownership.letters import mark
from ownership.letters.mark import Flags, Mark
from plan.service import EXCLUDE_LABEL, ServicePlan, Withheld
from process.local.answer import LocalAnswer, LocalRow
from process.local.protocol import LocalQuestion, LocalRefusal, encode_row
from process.local.server import BITE
from speaker.daemon import Daemon
from speaker.inquiry.desk import Desk
from speaker.inquiry.explaining import AT_ONCE
from speaker.inquiry.sight import Dating
from speaker.settings import GossipSecret, Settings

NAMES = ("a", "b", "c")
VIP = IPv4Address("198.51.100.1")
SECRET = b"a secret that nobody may see...."


def settings(tmp_path: Path) -> Settings:
    return Settings(
        node_name="a",
        source=tmp_path,
        namespace="metallb-system",
        log_level="info",
        host="127.0.0.1",
        port=0,
        health_port=0,
        lb_class=None,
        ignore_exclude_lb=False,
        bind_address="",
        bind_port=0,
        labels="",
        join=(),
        secret=GossipSecret(SECRET, 32, b"digest of it"),
        secret_path="/a/path",
        gossip=LOCAL,
        exclude=None,
    )


class Rig:
    """A whole speaker that does not run: its core is fed by hand."""

    def __init__(self, tmp_path: Path, names: tuple[str, ...] = NAMES) -> None:
        self.daemon = Daemon(settings(tmp_path), structlog.get_logger())
        self.core, self.recording = self.daemon.core, self.daemon._recording
        self.members: list[MemberView] = []
        for number, name in enumerate(names):
            self.add(name, number)
        peers: Any = SimpleNamespace(
            members=lambda: tuple(self.members),
            unproved_names=lambda: frozenset({"c"}),
            keyed=True,
            health=lambda: 3,
        )
        self.sight = replace(self.daemon._sight, peers=peers)
        self.desk = Desk(self.sight)
        self.core.set_living(frozenset(names))

    def add(self, name: str, number: int, state: State = State.ALIVE, meta: bytes = b"") -> None:
        address = Address(f"192.0.2.{number % 250 + 1}", 7946)
        meta = meta or mark.encode(Mark(number + 1))
        view = MemberView(name, address, state, 7, meta, CURRENT_VSN, own=name == "a")
        self.members.append(view)

    def plan(self, service: str, ip: IPv4Address, **more: Any) -> None:
        plan = ServicePlan(service, (ip,), str(ip), **({"candidates": None} | more))
        self.core.set_plan(service, plan, "configuration")

    def settle(self) -> None:
        """Elect and take up; what comes of it is kept as the driver does it."""
        now = self.sight.clock()
        self.core.settle(now, lambda: False)
        for event in self.core.events():
            self.recording.note_event(event, now)

    def ask(self, verb: str, about: str = "", after: str = "") -> Any:
        answer = self.desk.answer(LocalQuestion(verb=verb, about=about, after=after))
        if isinstance(answer, LocalRefusal):
            return answer
        rows = [json.loads(encode_row(row.value))["row"] for row in taken(answer)]
        return (
            [dict(zip(answer.columns, row, strict=True)) for row in rows]
            if answer.columns
            else rows
        )


def taken(answer: LocalAnswer) -> list[LocalRow]:
    return [row for row in answer.rows if isinstance(row, LocalRow)]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """A speaker's interpreter freezes what is there for good; ours has all tests' objects."""
    gc.disable()
    yield
    gc.enable()


def owned_by(name: str, names: tuple[str, ...] = NAMES) -> IPv4Address:
    """Return an IP whose owner by the hash is this node."""
    return next(VIP + n for n in range(1_000) if order(names, str(VIP + n))[0] == name)


# ---- owners


def test_an_ip_of_ours_has_its_owner_its_next_and_its_takeover(rig: Rig) -> None:
    ip = owned_by("a")
    rig.plan("ns/a", ip)
    rig.settle()
    [row] = rig.ask("owners")
    assert (row["ip"], row["service"], row["owner"]) == (str(ip), "ns/a", "a")
    assert row["next"] == order(NAMES, str(ip))[1]
    assert row["state"] == "owned"
    assert row["interfaces"] == []
    assert row["since"] == pytest.approx(time.time(), abs=60)
    assert row["takeover"] == {
        "from": None, "reason": "plan_changed", "announced": None, "seconds": None
    }  # fmt: skip


def test_an_ip_of_another_is_elsewhere_and_one_of_nobody_unowned(rig: Rig) -> None:
    theirs = owned_by("b")
    rig.plan("ns/b", theirs, interfaces=frozenset({"eth1", "eth0"}))
    rig.plan("ns/c", VIP + 2_000, candidates=frozenset({"gone"}))
    rig.plan("ns/d", VIP + 2_001, withheld=Withheld.IP_NOT_ALLOWED)
    rig.settle()
    of_b, of_c, of_d = rig.ask("owners")
    assert (of_b["owner"], of_b["state"]) == ("b", "elsewhere")
    assert of_b["interfaces"] == ["eth0", "eth1"]
    assert (of_c["owner"], of_c["state"], of_c["next"]) == (None, "unowned", "")
    assert (of_d["owner"], of_d["why"]) == (None, "ipNotAllowed")


def test_what_is_announced_by_bgp_alone_is_routed(rig: Rig) -> None:
    none = frozenset[str]()
    rig.plan("ns/a", VIP, candidates=none, withheld=Withheld.NO_MATCHING_ADVERTISEMENT)
    rig.settle()
    routing: Any = SimpleNamespace(announced=lambda: {"ns/a": (VIP,)}, explain=lambda _: [])
    desk = Desk(replace(rig.sight, routing=routing))
    answer = desk.answer(LocalQuestion(verb="owners"))
    assert isinstance(answer, LocalAnswer)
    [row] = taken(answer)
    assert dict(zip(answer.columns, row.value, strict=True))["state"] == "routed"


def test_since_follows_the_owner_and_next_who_lives(rig: Rig) -> None:
    ip = owned_by("b")
    rig.plan("ns/b", ip)
    rig.settle()
    rig.core.set_living(frozenset({"a", "c"}))
    rig.settle()
    [row] = rig.ask("owners")
    first, last = order(("a", "c"), str(ip))
    assert (row["owner"], row["next"]) == (first, last)
    assert row["takeover"]["from"] == "b"
    rig.core.set_living(frozenset({first}))
    rig.settle()
    assert rig.ask("owners")[0]["next"] == ""


def test_a_service_that_is_gone_is_forgotten(rig: Rig) -> None:
    ip = owned_by("a")
    rig.plan("ns/a", ip)
    rig.settle()
    rig.recording.tenures.note_arrival(ip, 1.0, 0.1)
    assert rig.ask("owners")[0]["takeover"]["seconds"] == 0.1
    rig.core.set_plan("ns/a", None, "configuration")
    rig.settle()
    assert rig.ask("owners") == []
    assert rig.recording.tenures.of("ns/a") is None
    assert rig.recording.tenures.arrival(ip) is None


def test_an_answer_goes_on_behind_any_row(rig: Rig) -> None:
    for number in range(20):
        ips = VIP + number, ip_address(f"fd00::{number + 1:x}")
        plan = ServicePlan(f"ns/s{number}", ips, str(ips[0]), None)
        rig.core.set_plan(plan.service, plan, "configuration")
    rig.settle()
    answer = rig.desk.answer(LocalQuestion(verb="owners"))
    assert isinstance(answer, LocalAnswer)
    rows = taken(answer)
    assert len(rows) == 40
    whole = [row.value for row in rows]
    for number, row in enumerate(rows, 1):
        rest = rig.desk.answer(LocalQuestion(verb="owners", after=row.place))
        assert isinstance(rest, LocalAnswer)
        assert [row.value for row in taken(rest)] == whole[number:]


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("members", [3, 20])
def test_five_thousand_ips_are_answered_within_300_ms_and_no_row_takes_long(
    tmp_path: Path, members: int
) -> None:
    names = ("a", *(f"node-{number}" for number in range(1, members)))
    rig = Rig(tmp_path, names)
    for number in range(5_000):
        rig.plan(f"namespace/service-{number}", IPv4Address("10.0.0.0") + number)
    rig.settle()
    began, size = time.thread_time(), 0
    answer = rig.desk.answer(LocalQuestion(verb="owners"))
    assert isinstance(answer, LocalAnswer)
    longest, at = 0.0, began
    for row in answer.rows:
        size += len(encode_row(row.value)) if isinstance(row, LocalRow) else 0
        now = time.thread_time()
        longest, at = max(longest, now - at), now
    assert at - began <= 0.3 * slowness()
    assert longest <= (0.005 - BITE) * slowness()
    assert size < 1024 * 1024


def test_in_a_large_ring_who_is_next_is_found_over_several_answers(tmp_path: Path) -> None:
    names = ("a", *(f"node-{number}" for number in range(1, 500)))
    rig = Rig(tmp_path, names)
    for number in range(700):
        rig.plan(f"namespace/service-{number}", IPv4Address("10.0.0.0") + number)
    rig.settle()
    known = [sum(row["next"] is not None for row in rig.ask("owners")) for _ in range(4)]
    assert known == [300, 600, 700, 700]


def test_a_moment_is_told_alike_each_time_and_follows_a_date_that_is_set() -> None:
    now = [100.0, 5_000.0]
    dating = Dating(lambda: now[0], lambda: now[1])
    assert dating.date(90.0) == 4_990.0
    now[:] = 200.0, 5_100.004
    assert dating.date(90.0) == 4_990.0
    now[:] = 200.0, 9_100.0
    assert dating.date(90.0) == 8_990.0


# ---- explain


def test_each_node_is_in_or_out_for_a_reason_that_is_named(rig: Rig) -> None:
    ip = owned_by("b")
    members = rig.members
    rig.add("d", 3, meta=mark.encode(Mark(4, Flags.LEAVING)))
    rig.add("e", 4, State.DEAD)
    rig.core.set_living(frozenset({"a", "b", "c", "d"}))
    nodes = {name: Node(name) for name in "abcdefgh"}
    nodes["f"] = Node("f", {EXCLUDE_LABEL: ""})
    nodes["g"] = Node("g", network_unavailable=True)
    service = Service(
        "ns", "b", "LoadBalancer", external_traffic_policy="Local", ingress=(str(ip),)
    )
    pool = Range(4, int(ip), int(ip))
    config = PoolConfig(((pool, "pool"),), {"pool": (L2Advertisement("ns", "all"),)})
    slices = EndpointSlice("ns", "b-1", "b", tuple(Endpoint(name, True) for name in "abcdefg"))
    rig.daemon._configuration.snapshot = Snapshot(
        {"ns/b": service}, nodes, {"ns/b": (slices,)}, config=config
    )
    rig.plan("ns/b", ip, candidates=frozenset("abcde"))
    rig.settle()
    found = rig.ask("explain", str(ip))
    head, rows = found[0], {row["node"]: row for row in found if row["kind"] == "node"}
    expected = order(tuple("abcd"), str(ip))
    assert [row["node"] for row in found if row.get("rank")] == expected
    assert (head["owner"], head["hashed"], head["next"]) == (expected[0], str(ip), expected[1])
    reasons = {name: (row["in"], row["rule"]) for name, row in rows.items()}
    assert reasons == {
        "a": (True, "admitted"),
        "b": (True, "admitted"),
        "c": (True, "admitted"),
        "d": (False, "barred"),
        "e": (False, "notAlive"),
        "f": (False, "excluded"),
        "g": (False, "networkUnavailable"),
        "h": (False, "noLocalEndpoints"),
    }
    assert EXCLUDE_LABEL in rows["f"]["detail"]
    assert rows["d"]["bars"] == ["leaving"]
    assert rows["e"]["detail"] == "dead"
    assert len(members) == 5


def test_it_is_asked_by_ip_by_name_and_by_a_bare_name_that_is_one_services_alone(rig: Rig) -> None:
    rig.plan("ns/web", VIP)
    rig.plan("ns/shop", VIP)
    rig.plan("other/shop", VIP + 1)
    rig.settle()
    names = {row["service"] for row in rig.ask("explain", str(VIP))}
    assert names == {"ns/web", "ns/shop"}
    assert {row["service"] for row in rig.ask("explain", "web")} == {"ns/web"}
    for unknown in ("shop", "ns/none", "", "198.51.100.99", "/", "web/", "::ffff:1.2.3.4"):
        assert rig.ask("explain", unknown) is LocalRefusal.NOT_FOUND


def test_what_this_node_sends_is_told_link_by_link(rig: Rig) -> None:
    ip = owned_by("a")
    rig.plan("ns/a", ip)
    rig.settle()
    rig.daemon._layer2.stats.of(ip).requests = 5
    [row] = [row for row in rig.ask("explain", "ns/a") if row["kind"] == "ip"]
    assert (row["state"], row["requests"], row["links"]) == ("owned", 5, [])


@pytest.mark.usefixtures("uncollected")
def test_a_thousand_nodes_are_explained_within_100_ms_and_no_row_takes_long(
    tmp_path: Path,
) -> None:
    names = ("a", *(f"node-{number}" for number in range(1, 1_000)))
    rig = Rig(tmp_path, names)
    rig.plan("ns/a", VIP)
    rig.settle()
    rig.ask("owners")
    began = at = time.thread_time()
    answer = rig.desk.answer(LocalQuestion(verb="explain", about="ns/a"))
    assert isinstance(answer, LocalAnswer)
    longest, rests = 0.0, 0
    for row in answer.rows:
        rests += row is None
        if isinstance(row, LocalRow):
            encode_row(row.value)
        now = time.thread_time()
        longest, at = max(longest, now - at), now
    assert at - began <= 0.1 * slowness()
    assert longest <= 0.005 * slowness()
    assert rests > 1_000 // AT_ONCE


def test_an_explanation_goes_on_behind_any_row(rig: Rig) -> None:
    rig.plan("ns/a", VIP)
    rig.settle()
    whole = rig.ask("explain", "ns/a")
    assert rig.ask("explain", "ns/a", after="2") == whole[2:]
    for odd in ("x", "-1", "9" * 19, "²"):
        assert rig.ask("explain", "ns/a", after=odd) is LocalRefusal.MALFORMED


# ---- the ring, and the settings


def test_members_are_told_as_gossip_knows_them(rig: Rig) -> None:
    first, *_ = rows = rig.ask("members")
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert first == {
        "name": "a", "address": "192.0.2.1:7946", "state": "alive", "incarnation": 7, "health": 3
    }  # fmt: skip
    assert rig.ask("members", after="a") == rows[1:]


def test_the_ring_shows_marks_flags_keys_and_who_watches_whom(rig: Rig) -> None:
    rig.add("metallb", 9, meta=b"x")
    rig.add("leaver", 10, State.LEFT, mark.encode(Mark(11, Flags.LEAVING | Flags.NO_LINK)))
    rows = {row["name"]: row for row in rig.ask("ring")}
    assert (rows["b"]["mark"], rows["metallb"]["mark"]) == ("clarion", "other")
    assert rows["leaver"]["flags"] == ["no_link", "leaving"]
    keys = {name: row["key"] for name, row in rows.items()}
    assert keys == {
        "a": "proved", "b": "proved", "c": "unproved", "metallb": "proved", "leaver": "unknown"
    }  # fmt: skip
    assert rows["a"]["echo"] is None
    assert rows["b"]["echo"] == "unknown"
    assert rows["b"]["watches"] == []


def test_settings_are_told_without_any_secret(rig: Rig) -> None:
    [found] = rig.ask("settings")
    assert found["settings"]["secret"] is True
    assert found["settings"]["release"] == "v0.16"
    assert found["settings"]["gossip"]["probe_interval"] == LOCAL.probe_interval
    assert "node_name" in found["own"]
    text = json.dumps(found)
    for hidden in (SECRET.decode(), SECRET.hex(), "digest of it", "/a/path"):
        assert hidden not in text


def test_what_is_no_verb_is_refused_and_only_the_log_is_followed(rig: Rig) -> None:
    assert rig.ask("drain") is LocalRefusal.UNKNOWN_VERB
    asked = LocalQuestion(verb="owners", follow=True)
    assert rig.desk.answer(asked) is LocalRefusal.MALFORMED


def test_nothing_is_changed_by_asking(rig: Rig) -> None:
    rig.plan("ns/a", VIP)
    rig.settle()
    hashes = cast(Any, rig.core)._election.hashes
    for verb in ("members", "ring", "owners", "explain", "log", "settings"):
        rig.ask(verb, "ns/a" if verb == "explain" else "")
    assert cast(Any, rig.core)._election.hashes == hashes
    assert not rig.core.unsettled
    assert rig.core.events() == []
