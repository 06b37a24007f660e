"""How often a reflector asks a server that misbehaves: in virtual time, with nothing else in it."""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kube.api.reflector import MAX_REASON, Failure, Reflector, Request, Resource

NODES = Resource("Node", "/api/v1/nodes")
ROUND_TRIP = 0.0002
"""Seconds that a request to a server near by takes."""
MINUTE = 60.0
SENSIBLE = 150
"""Requests in a minute that no server minds: 20 pages that are all but empty, and again."""
FLOOD = 20_000
"""Requests after which there is no more to prove."""


def _node(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def _page(version: str, *names: str, token: str = "") -> bytes:
    items = [_node(name, 1) for name in names]
    metadata = {"resourceVersion": version, "continue": token}
    return json.dumps({"metadata": metadata, "items": items}).encode()


def _event(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode()


Pages = Callable[[], bytes]


def _whole() -> bytes:
    return _page("10", "a", "b")


@dataclass
class Server:
    """Answers lists with `page()`, watches with some lines; then the watch ends."""

    page: Pages = _whole
    lines: list[bytes] = field(default_factory=list)
    lasts: float = 0.0
    asked: list[tuple[float, Request]] = field(default_factory=list)
    troubled: list[bool] = field(default_factory=list)
    """After each request that was answered, and while each watch lasts."""
    now: float = 0.0

    def serve(self, reflector: Reflector, until: float) -> None:
        while True:
            request = reflector.next_request()
            self.now += request.delay + ROUND_TRIP
            if self.now > until or len(self.asked) >= FLOOD:
                return
            self.asked.append((self.now, request))
            if request.watch:
                self._watch(reflector)
            else:
                self._list(reflector)
            self.troubled.append(reflector.trouble is not None)

    def _list(self, reflector: Reflector) -> None:
        items = reflector.begin_page(self.page())
        if items is not None:
            reflector.add(items)
            reflector.end_page()

    def _watch(self, reflector: Reflector) -> None:
        reflector.handle_open(self.now)
        self.troubled.append(reflector.trouble is not None)
        for line in self.lines:
            reflector.event(line)
            if not reflector.watching:
                return
        end = self.now + self.lasts
        due = reflector.deadline()
        if due is not None and due <= end:
            self.now = due
            reflector.handle_timeout(due)
        self.now = end
        reflector.handle_end(self.now)


def _endless(items: int) -> Pages:
    """Pages of so many items, each with another token."""

    def pages() -> Iterator[bytes]:
        for number in range(10**9):
            names = [f"n{number}-{index}" for index in range(items)]
            yield _page("10", *names, token=f"t{number}")

    made = pages()
    return lambda: next(made)


BOOKMARK = _event("BOOKMARK", {"metadata": {"resourceVersion": "11"}})
MODIFIED = _event("MODIFIED", _node("a", 11))
STRANGE = _event("SOMETHING", _node("a", 11))

MISBEHAVING = {
    "a list without a version": lambda: Server(page=lambda: _page("", "a")),
    "the same token for ever": lambda: Server(page=lambda: _page("10", "a", token="x")),
    "a new token for ever": lambda: Server(page=_endless(1)),
    "empty pages for ever": lambda: Server(page=_endless(0)),
    "a watch of nothing": lambda: Server(),
    "a watch of one bookmark": lambda: Server(lines=[BOOKMARK]),
    "a watch of one change": lambda: Server(lines=[MODIFIED]),
    "a watch of one strange event": lambda: Server(lines=[STRANGE]),
    "a watch of half a second": lambda: Server(lines=[MODIFIED], lasts=0.5),
    "a watch that is gone at once": lambda: Server(
        lines=[_event("ERROR", {"kind": "Status", "code": 410})]
    ),
}


@pytest.mark.parametrize("how", MISBEHAVING)
def test_a_server_that_misbehaves_is_asked_seldom(how: str) -> None:
    server, reflector = MISBEHAVING[how](), Reflector(NODES, random.Random(1))
    server.serve(reflector, 10 * MINUTE)
    assert len(server.asked) <= 10 * SENSIBLE, how


@pytest.mark.parametrize("how", MISBEHAVING)
def test_a_server_that_misbehaves_is_trouble_that_stays(how: str) -> None:
    """From the first sign on: what flickers is not seen by who looks once in 15 seconds."""
    server, reflector = MISBEHAVING[how](), Reflector(NODES, random.Random(1))
    server.serve(reflector, 10 * MINUTE)
    assert True in server.troubled, how
    first = server.troubled.index(True)
    assert all(server.troubled[first:]), how
    assert reflector.synced == ("watch" in how)


def test_endless_full_pages_end_at_a_limit() -> None:
    server, reflector = Server(page=_endless(100)), Reflector(NODES, random.Random(1))
    server.serve(reflector, 1.0)
    assert reflector.trouble is not None
    assert "pages" in reflector.trouble
    assert not reflector.objects


def test_a_list_without_a_version_changes_nothing() -> None:
    server, reflector = Server(lasts=300.0), Reflector(NODES, random.Random(1))
    server.serve(reflector, MINUTE)
    before = dict(reflector.objects)
    assert len(before) == 2
    server.page, server.lines = lambda: _page("", "z"), [_event("ERROR", {"code": 410})]
    server.serve(reflector, server.now + MINUTE)
    assert reflector.objects == before
    assert "resourceVersion" in str(reflector.trouble)


def test_between_any_two_lists_is_a_pause() -> None:
    server = Server(page=lambda: _page("", "a"))
    server.serve(Reflector(NODES, random.Random(1)), MINUTE)
    times = [at for at, _ in server.asked]
    assert min(after - before for before, after in itertools.pairwise(times)) >= 0.1


def test_full_pages_follow_each_other_at_once() -> None:
    """5,000 objects are 50 pages: with a pause between any two a speaker would start late."""
    names = [f"n{number}" for number in range(5_000)]
    parts = [names[start : start + 100] for start in range(0, 5_000, 100)]
    pages = [
        _page("10", *part, token="" if part is parts[-1] else f"t{number}")
        for number, part in enumerate(parts)
    ]
    server, reflector = (
        Server(page=iter(pages).__next__, lasts=300.0),
        Reflector(NODES, random.Random(1)),
    )
    server.serve(reflector, 1.0)
    assert len(reflector.objects) == 5_000
    assert reflector.trouble is None
    assert server.asked[50][1].watch
    assert server.asked[50][0] < 51.5 * ROUND_TRIP


def test_a_healthy_server_that_closes_watches_is_never_trouble() -> None:
    server, reflector = Server(lasts=300.0), Reflector(NODES, random.Random(1))
    server.serve(reflector, 24 * 60 * MINUTE)
    assert True not in server.troubled
    assert all(request.delay == 0.0 for _, request in server.asked)
    assert reflector.relists == 0


def test_trouble_of_short_watches_is_over_once_one_has_lasted() -> None:
    server, reflector = Server(lines=[MODIFIED]), Reflector(NODES, random.Random(1))
    server.serve(reflector, MINUTE)
    assert reflector.trouble is not None
    reflector.next_request()
    reflector.handle_open(100.0)
    reflector.event(MODIFIED)
    assert reflector.trouble is not None, "it may end at once again"
    assert reflector.deadline() == 101.0
    reflector.handle_timeout(100.5)
    assert reflector.trouble is not None
    reflector.handle_timeout(101.0)
    assert reflector.trouble is None
    assert reflector.deadline() is None


def test_pages_that_are_too_long_are_asked_for_in_smaller_pieces() -> None:
    """Some large objects side by side must not keep all the others from being seen."""
    names, large = [f"n{number:03}" for number in range(250)], {120, 121, 122, 130}
    reflector = Reflector(NODES, random.Random(1))
    sizes = []
    now = 0.0
    while not reflector.synced:
        request = reflector.next_request()
        now += request.delay
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        sizes.append(limit)
        part = range(start, min(start + limit, len(names)))
        if len(large.intersection(part)) > 1:
            reflector.handle_failure(Failure.TOO_LONG, "too long")
            continue
        token = str(part.stop) if part.stop < len(names) else ""
        items = reflector.begin_page(_page("10", *(names[n] for n in part), token=token))
        assert items is not None
        reflector.add(items)
        reflector.end_page()
    assert len(reflector.objects) == 250
    assert sizes[0] == 100
    assert min(sizes) == 1
    assert now < 30.0
    # The next list begins as this one did.
    reflector.handle_failure(Failure.GONE, "")
    assert reflector.next_request().query["limit"] == "100"


def test_an_event_that_is_too_long_is_listed_instead() -> None:
    """The watch would bring the same line again, for ever."""
    server, reflector = Server(lasts=300.0), Reflector(NODES, random.Random(1))
    server.serve(reflector, MINUTE)
    assert reflector.next_request().watch
    reflector.handle_failure(Failure.TOO_LONG, "too long")
    assert not reflector.next_request().watch


def test_a_reason_is_of_bounded_length() -> None:
    reflector = Reflector(NODES, random.Random(1))
    reflector.handle_failure(Failure.UNAVAILABLE, "x" * 10_000)
    assert len(str(reflector.trouble)) == MAX_REASON
