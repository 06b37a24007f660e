"""What becomes of ServiceL2Status objects and Events: the rules alone."""

import random
from ipaddress import IPv4Address

import pytest

from kube.api.events import (
    MAX_MESSAGE,
    MAX_REMEMBERED,
    REPEAT,
    Event,
    EventRecorder,
    Involved,
    configuration_object,
    engine_trouble,
    invalid_configuration,
    node_assigned,
    node_subject,
)
from kube.objects.metallb import L2Status
from kube.problem import Problem, Severity
from ownership.io import Announce
from speaker.cluster.status import (
    LEFT_OVER,
    Action,
    Create,
    Delete,
    Write,
    object_name,
    reconcile,
    status_of,
    where,
)

WEB = "shop/web"
MINE, THEIRS = object_name("a", WEB), object_name("b", WEB)


def _found(name: str, node: str, *interfaces: str, written: bool = True) -> L2Status:
    status = (node, WEB) if written else ("", "/")
    return L2Status("metallb-system", name, node, WEB, "1", status, interfaces)


@pytest.mark.parametrize(
    ("interfaces", "objects", "actions"),
    [
        # Not announced here: our own objects go, those of others are theirs.
        (None, [], []),
        (None, [_found(MINE, "a")], [Delete(MINE)]),
        (None, [_found("l2-x", "a"), _found(THEIRS, "b")], [Delete("l2-x")]),
        # Announced here: exactly one, ours, with the right status.
        ((), [], [Create(MINE), Write(MINE)]),
        ((), [_found(MINE, "a")], []),
        ((), [_found(MINE, "a", written=False)], [Write(MINE)]),
        (("eth0",), [_found(MINE, "a")], [Write(MINE)]),
        (("eth0", "eth1"), [_found(MINE, "a", "eth0", "eth1")], []),
        ((), [_found(MINE, "a", "eth0")], [Write(MINE)]),
        # The owner clears away what the last one left.
        ((), [_found(THEIRS, "b")], [Delete(THEIRS, LEFT_OVER), Create(MINE), Write(MINE)]),
        ((), [_found(MINE, "a"), _found(THEIRS, "b")], [Delete(THEIRS, LEFT_OVER)]),
        # One under a name that MetalLB chose is as good; a second one is not.
        ((), [_found("l2-x7k2p", "a")], []),
        ((), [_found("l2-x7k2p", "a"), _found(MINE, "a")], [Delete("l2-x7k2p")]),
    ],
)
def test_the_owner_keeps_one_object(
    interfaces: tuple[str, ...] | None, objects: list[L2Status], actions: list[Action]
) -> None:
    assert reconcile("a", WEB, interfaces, objects) == actions


def test_an_object_whose_status_is_another_service_s_for_good_is_replaced() -> None:
    wrong = L2Status("metallb-system", MINE, "a", WEB, "1", ("a", "shop/other"))
    second = object_name("a", WEB, 1)
    assert reconcile("a", WEB, (), [wrong]) == [Delete(MINE), Create(second), Write(second)]


def test_what_is_being_deleted_is_gone_and_its_name_is_not_used() -> None:
    doomed, second = {MINE}, object_name("a", WEB, 1)
    assert reconcile("a", WEB, None, [_found(MINE, "a")], doomed) == []
    anew = reconcile("a", WEB, (), [_found(MINE, "a")], doomed)
    assert anew == [Create(second), Write(second)]
    both = [_found(MINE, "a"), _found(second, "a")]
    assert reconcile("a", WEB, (), both, doomed) == []
    # The deletion failed: one is enough.
    assert reconcile("a", WEB, (), both) == [Delete(second)]


def test_whatever_the_start_two_rounds_give_exactly_one_object() -> None:
    rng = random.Random(7)
    for _ in range(300):
        names = rng.sample([MINE, THEIRS, "l2-1", "l2-2", "l2-3"], rng.randrange(6))
        store = {
            name: _found(
                name, "b" if name == THEIRS else rng.choice("ab"), written=rng.random() < 0.5
            )
            for name in names
        }
        for _ in range(2):
            for action in reconcile("a", WEB, ("eth0",), store.values()):
                match action:
                    case Delete(name):
                        del store[name]
                    case Create(name):
                        assert name not in store
                        store[name] = _found(name, "a", written=False)
                    case Write(name):
                        assert store[name].node == "a"
                        store[name] = _found(name, "a", "eth0")
        (left,) = store.values()
        assert (left.node, left.status, left.interfaces) == ("a", ("a", WEB), ("eth0",))
        assert reconcile("a", WEB, ("eth0",), store.values()) == []


def test_all_interfaces_are_no_field() -> None:
    assert status_of("a", WEB, ()) == {
        "status": {
            "node": "a",
            "serviceName": "web",
            "serviceNamespace": "shop",
            "interfaces": None,
        }
    }
    assert status_of("a", WEB, ("eth0",))["status"]["interfaces"] == [{"name": "eth0"}]


SUBJECT = Involved("v1", "Service", "shop", "web", "uid-1")


def test_the_text_of_node_assigned_is_metallb_s() -> None:
    event = node_assigned(SUBJECT, "a")
    assert (event.type, event.reason) == ("Normal", "nodeAssigned")
    assert event.message == 'announcing from node "a" with protocol "layer2"'
    event = node_assigned(SUBJECT, "a", "bgp")
    assert event.message == 'announcing from node "a" with protocol "bgp"'


def test_an_engine_that_is_not_there_is_told_of_the_pod_or_of_the_node() -> None:
    pod = Involved("v1", "Pod", "metallb-system", "speaker-x", "uid-2")
    event = engine_trouble(pod, "no engine: " + "x" * 2000)
    assert (event.type, event.reason) == ("Warning", "bgpEngine")
    assert len(event.message) == MAX_MESSAGE
    _, body, _ = EventRecorder("a").record(event, 0.0, "t0")
    assert body["metadata"]["namespace"] == body["involvedObject"]["namespace"] == "metallb-system"
    # A Node has no namespace; whoever describes it looks for events of this uid, in any.
    _, body, _ = EventRecorder("a").record(engine_trouble(node_subject("a"), "gone"), 0.0, "t0")
    assert body["metadata"]["namespace"] == "default"
    assert body["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "a"}


def test_an_event_again_is_counted_up_for_an_hour() -> None:
    recorder, event = EventRecorder("a"), node_assigned(SUBJECT, "a")
    name, body, new = recorder.record(event, 0.0, "t0")
    assert new
    assert body["involvedObject"]["uid"] == "uid-1"
    assert (body["count"], body["firstTimestamp"]) == (1, "t0")
    again = recorder.record(event, 10.0, "t1")
    assert again == (name, {"count": 2, "lastTimestamp": "t1"}, False)
    late_name, _, new = recorder.record(event, REPEAT, "t2")
    assert new
    assert late_name != name


def test_an_event_that_was_lost_is_new_again() -> None:
    recorder, event = EventRecorder("a"), node_assigned(SUBJECT, "a")
    recorder.record(event, 0.0, "t0")
    recorder.forget(event)
    assert recorder.record(event, 1.0, "t1")[2]


def test_all_speakers_name_a_fault_of_the_configuration_alike() -> None:
    pool = Involved("metallb.io/v1beta1", "IPAddressPool", "metallb-system", "pool")
    event = invalid_configuration(pool, "spec.addresses[0]: is reversed")
    names = {EventRecorder(node).record(event, 0.0, f"t{node}")[0] for node in "abc"}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("title", "version"),
    [
        ("L2Advertisement m/x", "metallb.io/v1beta1"),
        ("BGPPeer m/x", "metallb.io/v1beta2"),
        ("BGPAdvertisement m/x", "metallb.io/v1beta1"),
        ("BFDProfile m/x", "metallb.io/v1beta1"),
        ("Community m/x", "metallb.io/v1beta1"),
        ("Secret m/x", "v1"),
        ("Service m/x", None),
        ("BGP configuration", None),
        ("", None),
    ],
)
def test_a_fault_of_the_configuration_is_told_of_its_object(
    title: str, version: str | None
) -> None:
    found = configuration_object(Problem(Severity.ERROR, "", 0, title, "spec.x", "is wrong"))
    kind = title.partition(" ")[0]
    assert found == (Involved(version, kind, "m", "x") if version is not None else None)


def test_the_memory_of_events_is_bounded() -> None:
    recorder = EventRecorder("a")
    first = Event(SUBJECT, "Normal", "r", "first")
    recorder.record(first, 0.0, "t")
    for number in range(MAX_REMEMBERED):
        recorder.record(Event(SUBJECT, "Normal", "r", str(number)), 0.0, "t")
    assert recorder.record(first, 0.0, "u")[2]


IP, SECOND = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")


@pytest.mark.parametrize(
    ("interfaces", "served", "answer"),
    [
        (None, {IP, SECOND}, ()),
        (None, {SECOND}, ()),
        # All its takeovers wait for a word of the old owner.
        (None, set(), None),
        (frozenset({"eth1", "eth0"}), {IP}, ("eth0", "eth1")),
        (frozenset({"eth1", "gone"}), {IP}, ("eth1",)),
        (frozenset({"gone"}), set(), None),
    ],
)
def test_a_service_is_where_it_is_answered_for(
    interfaces: frozenset[str] | None, served: set[IPv4Address], answer: tuple[str, ...] | None
) -> None:
    item = Announce(WEB, (IP, SECOND), interfaces, "configuration")
    names = frozenset({"eth0", "eth1"})
    assert where(item, lambda ip, service: service == WEB and ip in served, names) == answer
    assert where(None, lambda ip, service: True, names) is None
