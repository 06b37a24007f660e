"""The reflector by itself: pages, events, ends and failures, without a server and without time."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.api.backoff import LONGEST_DELAY
from kube.api.reflector import SHORT_WATCH, Failure, Reflector, Resource, classify
from kube.objects.core import Node
from kube.objects.reading import View, decode
from kube.problem import FAULT

NODES = Resource("Node", "/api/v1/nodes")


def _node(name: str, version: int, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "status": {"images": [{"names": ["big"] * 50}]}}


def _page(*items: dict[str, Any], version: int = 1, token: str = "") -> bytes:
    metadata = {"resourceVersion": str(version), "continue": token}
    return json.dumps({"kind": "NodeList", "metadata": metadata, "items": list(items)}).encode()


def _event(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode()


def _take(reflector: Reflector, page: bytes) -> set[tuple[str, str]]:
    items = reflector.begin_page(page)
    assert items is not None
    reflector.add(items)
    return reflector.end_page()


def _names(keys: set[tuple[str, str]]) -> set[str]:
    return {name for _, name in keys}


@pytest.fixture
def nodes() -> Reflector:
    """A reflector that has listed nodes a and b at version 10 and watches."""
    reflector = Reflector(NODES, random.Random(1))
    _take(reflector, _page(_node("a", 3), _node("b", 4), version=10))
    reflector.next_request()
    reflector.handle_open(0.0)
    return reflector


def test_pages_are_asked_for_one_after_the_other_and_count_when_all_are_there() -> None:
    reflector = Reflector(NODES, random.Random(1))
    first = reflector.next_request()
    assert (first.delay, first.watch, first.query["limit"]) == (0.0, False, "100")
    assert _take(reflector, _page(_node("a", 3), version=10, token="more")) == set()
    assert not reflector.synced
    assert reflector.objects == {}
    assert reflector.next_request().query["continue"] == "more"
    assert _names(_take(reflector, _page(_node("b", 4), version=10))) == {"a", "b"}
    assert reflector.synced
    watch = reflector.next_request()
    assert watch.watch
    assert watch.query["resourceVersion"] == "10"
    assert watch.query["allowWatchBookmarks"] == "true"


def test_an_empty_list_is_a_list() -> None:
    reflector = Reflector(NODES, random.Random(1))
    page = {"metadata": {"resourceVersion": "7"}, "items": None}
    assert _take(reflector, json.dumps(page).encode()) == set()
    assert reflector.synced


def test_events_change_what_they_name(nodes: Reflector) -> None:
    assert _names(nodes.event(_event("ADDED", _node("c", 11)))) == {"c"}
    assert _names(nodes.event(_event("MODIFIED", _node("a", 12, rack="1")))) == {"a"}
    assert nodes.objects["", "a"] == Node("a", {"rack": "1"})
    assert _names(nodes.event(_event("DELETED", _node("b", 13)))) == {"b"}
    assert ("", "b") not in nodes.objects
    assert nodes.next_request().query["resourceVersion"] == "13"


def test_what_changes_nothing_that_we_read_is_no_change(nodes: Reflector) -> None:
    assert nodes.event(_event("MODIFIED", _node("a", 11))) == set()
    assert nodes.event(_event("ADDED", _node("a", 11))) == set()
    assert nodes.event(_event("DELETED", _node("zz", 12))) == set()


def test_a_bookmark_only_moves_the_version(nodes: Reflector) -> None:
    assert nodes.event(_event("BOOKMARK", {"metadata": {"resourceVersion": "99"}})) == set()
    assert nodes.next_request().query["resourceVersion"] == "99"


def test_an_object_that_makes_us_fail_is_named_and_costs_itself_only(
    nodes: Reflector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(kind: str, raw: Any) -> Any:
        if b"poison" in bytes(raw):
            raise ZeroDivisionError("of ours")
        return decode(kind, raw)

    monkeypatch.setattr("kube.api.reflector.decode", failing)
    assert _names(nodes.event(_event("MODIFIED", _node("a", 11, rack="poison")))) == {"a"}
    assert _names(nodes.event(_event("MODIFIED", _node("b", 12, rack="good")))) == {"b"}
    # The last good state stays in force, and the problem says whose it is.
    assert nodes.objects == {("", "a"): Node("a"), ("", "b"): Node("b", {"rack": "good"})}
    (problem,) = nodes.problems["", "a"]
    assert problem.object == "Node a"
    assert problem.message.startswith(FAULT)
    assert nodes.watching
    page = _page(_node("a", 13, rack="poison"), _node("b", 12, rack="good"), version=20)
    nodes.handle_failure(Failure.GONE, "")
    assert _take(nodes, page) == set()
    assert nodes.objects["", "a"] == Node("a")


@pytest.mark.parametrize("how", ["event", "status"])
def test_gone_lists_again_and_yields_the_difference(nodes: Reflector, how: str) -> None:
    if how == "event":
        nodes.event(_event("ERROR", {"kind": "Status", "code": 410}))
    else:
        nodes.handle_failure(classify(410), "gone")
    assert not nodes.watching
    again = nodes.next_request()
    assert not again.watch
    assert 0 < again.delay <= 0.1
    page = _page(_node("b", 4), _node("c", 20), _node("a", 21, rack="2"), version=30)
    assert _names(_take(nodes, page)) == {"a", "c"}
    _take_again = _page(_node("c", 20), version=40)
    nodes.handle_failure(Failure.GONE, "")
    assert _names(_take(nodes, _take_again)) == {"a", "b"}
    assert set(nodes.objects) == {("", "c")}


def test_a_relist_that_breaks_off_leaves_everything_as_it_was(nodes: Reflector) -> None:
    nodes.handle_failure(Failure.GONE, "")
    before = dict(nodes.objects)
    _take(nodes, _page(_node("z", 50), version=60, token="more"))
    nodes.handle_failure(classify(410), "the token is too old")
    assert nodes.objects == before
    assert "continue" not in nodes.next_request().query


def test_back_off_doubles_to_a_limit_and_ends_with_a_watch_that_lasts(nodes: Reflector) -> None:
    delays = []
    for _ in range(12):
        nodes.handle_failure(Failure.UNAVAILABLE, "refused")
        delays.append(nodes.next_request().delay)
    assert delays[0] <= 0.1
    assert all(0.5 * 0.1 * 2**n <= delay <= 0.1 * 2**n for n, delay in enumerate(delays[:6]))
    assert LONGEST_DELAY / 2 <= delays[-1] <= LONGEST_DELAY
    nodes.handle_open(0.0)
    nodes.event(_event("MODIFIED", _node("a", 11, rack="3")))
    nodes.handle_failure(Failure.UNAVAILABLE, "refused")
    assert nodes.next_request().delay >= LONGEST_DELAY / 2
    nodes.handle_open(0.0)
    nodes.handle_timeout(SHORT_WATCH)
    nodes.handle_failure(Failure.UNAVAILABLE, "refused")
    assert nodes.next_request().delay <= 0.1


def test_a_server_that_accepts_and_hangs_up_is_not_hammered(nodes: Reflector) -> None:
    waited = 0.0
    for _ in range(10):
        waited += nodes.next_request().delay
        nodes.handle_open(waited)
        nodes.handle_end(waited)
    assert waited > 10.0


def test_a_watch_that_ends_in_time_goes_on_at_once(nodes: Reflector) -> None:
    nodes.handle_end(300.0)
    request = nodes.next_request()
    assert (request.delay, request.watch) == (0.0, True)
    assert nodes.trouble is None


def test_who_may_list_but_not_watch_polls_ever_slower() -> None:
    reflector = Reflector(NODES, random.Random(1))
    waited = 0.0
    for _ in range(12):
        request = reflector.next_request()
        waited += request.delay
        if request.watch:
            reflector.handle_failure(classify(403), "forbidden")
        else:
            _take(reflector, _page(_node("a", 3), version=10))
    assert waited > 1.0
    assert reflector.synced
    assert reflector.trouble == "forbidden"


def test_the_server_s_own_wait_is_respected_up_to_a_limit(nodes: Reflector) -> None:
    nodes.handle_failure(classify(429), "busy", retry_after=3.0)
    assert nodes.next_request().delay == 3.0
    nodes.handle_failure(classify(429), "busy", retry_after=86_400.0)
    assert nodes.next_request().delay == LONGEST_DELAY


def test_an_object_that_cannot_be_read_keeps_its_last_good_state(nodes: Reflector) -> None:
    broken = {"metadata": {"name": "a", "resourceVersion": "11", "labels": {"rack": 5}}}
    assert _names(nodes.event(_event("MODIFIED", broken))) == {"a"}
    assert nodes.objects["", "a"] == Node("a")
    (problem,) = nodes.problems["", "a"]
    assert (problem.object, problem.field) == ("Node a", "metadata.labels")
    assert _names(nodes.event(_event("MODIFIED", _node("a", 12)))) == {"a"}
    assert nodes.problems == {}


def test_pruned_objects_are_not_kept() -> None:
    def keep(view: View) -> View | None:
        return view if isinstance(view, Node) and view.labels else None

    reflector = Reflector(NODES, random.Random(1), keep)
    assert _names(_take(reflector, _page(_node("a", 1), _node("b", 2, x="1"), version=3))) == {"b"}
    assert reflector.event(_event("ADDED", _node("c", 4))) == set()
    assert _names(reflector.event(_event("MODIFIED", _node("b", 5)))) == {"b"}
    assert reflector.objects == {}


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "object", "metadata", "items", "name", "labels", "code"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_hostile_bytes_never_raise(line: bytes) -> None:
    reflector = Reflector(NODES, random.Random(1))
    items = reflector.begin_page(line)
    if items is not None:
        reflector.add(items)
        reflector.end_page()
    reflector.event(line)
    assert reflector.next_request().delay <= LONGEST_DELAY


VERSIONS = st.integers(0, 3)
STATES = st.dictionaries(st.sampled_from("abcde"), VERSIONS)


@given(st.lists(STATES, min_size=1, max_size=8), st.data())
def test_whatever_the_way_the_objects_follow_the_server(
    states: list[dict[str, int]], data: st.DataObject
) -> None:
    """By lists or by events in any mixture: the changes reported, applied, give the objects."""
    reflector = Reflector(NODES, random.Random(1))
    mirror: dict[tuple[str, str], View] = {}
    before: dict[str, int] = {}
    for step, state in enumerate(states):
        if step == 0 or data.draw(st.booleans()):
            reflector.handle_failure(Failure.GONE, "")
            listed = [_node(name, 1, v=str(v)) for name, v in state.items()]
            changed = _take(reflector, _page(*listed, version=step + 1))
            reflector.next_request()
            reflector.handle_open(0.0)
        else:
            changed = set()
            for name in state.keys() | before.keys():
                if name not in state:
                    changed |= reflector.event(_event("DELETED", _node(name, step + 1)))
                elif state[name] != before.get(name):
                    found = _node(name, step + 1, v=str(state[name]))
                    changed |= reflector.event(_event("MODIFIED", found))
        for key in changed:
            if key in reflector.objects:
                assert mirror.get(key) != reflector.objects[key], "a change that is none"
                mirror[key] = reflector.objects[key]
            else:
                del mirror[key]
        before = state
        assert (
            mirror
            == reflector.objects
            == {("", name): Node(name, {"v": str(v)}) for name, v in state.items()}
        )
