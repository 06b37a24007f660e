"""What fuzzing has found, each input by name, so that none comes back."""

import random

import pytest

from gossip.wire import compress
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import CURRENT_VSN, NodeState, PushPull, State
from gossip.wire.packet import WireConfig
from gossip.wire.stream import StreamCodec
from gossip.wire.streambody import MAX_NODES
from kube.api.reflector import Reflector, Resource
from kube.document import ManifestError
from kube.durations import parse_duration
from kube.files.manifest import read
from kube.objects.core import EndpointSlice
from kube.objects.metallb import IPAddressPool
from kube.objects.reading import View, decode
from kube.selector import Requirement
from kube.snapshot import Key, Reading, assemble, build
from machine import cost
from plan.planner import Planner
from plan.release import Options

SERVICES = Resource("Service", "/api/v1/services")
TENFOLD = 30
"""Times that ten times as much may cost: 10 and some for caches; in quadratic time it costs 100."""


def test_an_object_that_is_not_utf8_is_a_problem_of_that_object() -> None:
    with pytest.raises(ManifestError):
        decode("Service", b'{"\xff": 1}')


def test_an_event_with_an_object_that_is_not_utf8_ends_no_watch() -> None:
    """The null sends the object the slow way, which reads what the view leaves out."""
    reflector = Reflector(SERVICES, random.Random(1))
    event = (
        b'{"type":"ADDED","object":{"metadata":{"name":"web","namespace":"shop"},'
        b'"spec":{"externalTrafficPolicy":null},"status":{"ing\x8e":1}}}'
    )
    assert reflector.event(event) == {("shop", "web")}
    assert reflector.trouble is None
    assert "UTF-8" in reflector.problems["shop", "web"][0].message.upper()


@pytest.mark.parametrize("body", [b'{"metadata":{"resourceVersion":"\xff"}}', b"\xff"])
def test_a_page_that_is_not_utf8_is_malformed(body: bytes) -> None:
    reflector = Reflector(SERVICES, random.Random(1))
    assert reflector.begin_page(body) is None
    assert reflector.trouble


def rows(count: int) -> bytes:
    """A push/pull of `count` rows of one byte each, compressed."""
    header = b"\x82\xa5Nodes\xce" + count.to_bytes(4, "big") + b"\xa4Join\xc2"
    return compress.wrap(b"\x06" + header + b"\xc0" * count)


def test_a_few_hundred_bytes_of_empty_rows_cost_no_more_than_a_table_of_as_many_nodes() -> None:
    codec = StreamCodec(WireConfig(), None)
    assert len(rows(MAX_NODES)) < 300
    node = NodeState(bytes(4), 1, None, "node-1", 7946, State.ALIVE, CURRENT_VSN)
    table = PushPull(False, (node,) * MAX_NODES)
    honest = codec.seal(table, dialer=True, nonce=lambda: bytes(12))
    empty = cost(lambda: codec.open(rows(MAX_NODES), accepting=True))
    assert empty < 2 * cost(lambda: codec.open(honest, accepting=True))
    with pytest.raises(WireError) as refused:
        codec.open(rows(65_536), accepting=True)
    assert refused.value.reason is Refusal.BAD_BODY


def test_a_selector_of_many_values_is_judged_in_linear_time() -> None:
    """40,000 values took 23 s, when each was looked for among all before it."""
    values = tuple(f"v{number}" for number in range(40_000))

    def judge(count: int) -> None:
        some = values[:count]
        assert Requirement("rack", "In", some).complaint() is None
        assert Requirement("rack", "In", (*some, "v7")).complaint() is not None

    assert cost(lambda: judge(40_000)) < TENFOLD * cost(lambda: judge(4_000))


def test_the_many_slices_of_one_service_are_gathered_in_linear_time() -> None:
    """40,000 took 8 s, when each new one copied all before it."""

    def views(count: int) -> Reading:
        made = (EndpointSlice("shop", f"s{number}", "web") for number in range(count))
        return Reading({("EndpointSlice", "shop", found.name): found for found in made})

    def gather(reading: Reading) -> None:
        snapshot, _ = assemble([reading], "metallb-system")
        assert len(snapshot.slices["shop/web"]) == len(reading.views)

    many, few = views(40_000), views(4_000)
    assert cost(lambda: gather(many)) < TENFOLD * cost(lambda: gather(few))


def test_a_kind_with_a_tab_in_it_breaks_no_line_of_the_log() -> None:
    _, problems = build(read(b'kind: "IP\\tPool"\napiVersion: v1\n', "f.yaml"), "metallb-system")
    assert [str(problem) for problem in problems] == ["debug: kinds not read: 'IP\\tPool'"]


def test_a_service_with_a_tab_in_its_name_breaks_no_line_of_the_log() -> None:
    """No API server lets such a name in; what stands between it and us may."""
    found, _ = decode(
        "Service",
        b'{"metadata":{"name":"a\\tb\\n","namespace":"shop"},"spec":{"type":"LoadBalancer"},'
        b'"status":{"loadBalancer":{"ingress":[{"ip":"x"}]}}}',
    )
    pool = IPAddressPool("m", "first", ("192.0.2.0/28",))
    views: dict[Key, View] = {("Service", "shop", "a"): found, ("IPAddressPool", "m", "f"): pool}
    snapshot, _ = assemble([Reading(views)], "m")
    planner = Planner(Options("n1"))
    planner.take(snapshot, None)
    planner.advance()
    (problem,) = planner.problems()
    assert str(problem) == "error: status.loadBalancer.ingress: 'x' is not an IP address"


@pytest.mark.parametrize("text", ["9" * 400 + "s", "9223372037s", "2562048h"])
def test_a_duration_that_go_cannot_hold_is_refused_and_never_infinite(text: str) -> None:
    with pytest.raises(ValueError, match="292 years"):
        parse_duration(text)
