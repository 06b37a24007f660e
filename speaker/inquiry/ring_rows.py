"""The members of the ring as this speaker sees them: one row each."""

from collections.abc import Iterator
from typing import Any

from gossip.io import MemberView
from gossip.wire.messages import State
from ownership.letters import mark
from process.local.answer import LocalAnswer, LocalRow
from speaker.inquiry.sight import Sight
from speaker.ring.member_table import host_and_port

MEMBER_COLUMNS = ("name", "address", "state", "incarnation", "health")
RING_COLUMNS = (*MEMBER_COLUMNS, "mark", "flags", "key", "echo", "verdicts", "watches")


class RingRows:
    """Makes rows, ourselves first, then by name."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def members(self, after: str) -> LocalAnswer:
        """Return what gossip alone knows."""
        rows = (LocalRow(self._member(view), view.name) for view in self._views(after))
        return LocalAnswer(rows, MEMBER_COLUMNS)

    def ring(self, after: str) -> LocalAnswer:
        """Return that with all that Clarions know of each other."""
        return LocalAnswer(self._ring(after), RING_COLUMNS)

    # ---- inside

    def _views(self, after: str) -> list[MemberView]:
        views = sorted(self._sight.peers.members(), key=lambda view: (not view.own, view.name))
        places = [view.name for view in views]
        return views[places.index(after) + 1 :] if after in places else views

    def _member(self, view: MemberView) -> tuple[Any, ...]:
        health = self._sight.peers.health() if view.own else None
        state = view.state.name.lower()
        return view.name, host_and_port(view), state, view.incarnation, health

    def _ring(self, after: str) -> Iterator[LocalRow]:
        unproved = self._sight.peers.unproved_names()
        for view in self._views(after):
            its = mark.decode(view.meta)
            flags = () if its is None else its.flags
            row = (
                *self._member(view),
                "clarion" if its is not None else "other",
                [flag.name.lower() for flag in flags if flag.name],
                self._key(view, unproved),
                self._echo(view),
                self._verdicts(view.name),
                list(self._sight.failover.lives.watched_by(view.name)),
            )
            yield LocalRow(row, view.name)

    def _key(self, view: MemberView, unproved: frozenset[str]) -> str:
        """Say whether gossip with the member is sealed, and with a key that it has proved."""
        if not self._sight.peers.keyed:
            return "plain"
        if view.state not in (State.ALIVE, State.SUSPECT):
            return "unknown"
        return "unproved" if view.name in unproved else "proved"

    def _echo(self, view: MemberView) -> str | None:
        """Say whether its machine answers echo requests on links that we share."""
        if view.own:
            return None
        links, now = tuple(self._sight.layer2.usable()), self._sight.clock()
        return self._sight.failover.kernel(view.name, links, now).name.lower()

    def _verdicts(self, name: str) -> list[str]:
        """Name the links on which the member counts as gone; `process` where that is silent."""
        _, bars = self._sight.core.basis
        found = sorted(subject.link for subject in bars.links if subject.node == name)
        return [*found, *(["barred"] if name in bars.nodes else [])]
