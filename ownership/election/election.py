"""Which node owns each service: MetalLB's hash, recomputed only where the answer can change.

The owner is the live candidate with the lowest sha256 of `node#ip`. So a death concerns only the
services that the dead node owned, and a join costs a service one digest, that of the node that
joined. What remains to be hashed waits in a queue, so that the caller can take it in bites and
keep its loop turning.

A living node may be `barred`: then the next in the order of the hash owns in its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from ownership.io import Move
from ownership.liveness.barred import Barred
from plan.service import ServicePlan, Withheld

MAX_HASHES = 2_500
"""Hashes in one bite: about 3 ms of a loop that may stand still for 5."""

HASHES_A_SERVICE = 5
"""What the bookkeeping for one service costs."""

PLAN_CHANGED = "plan_changed"
"""Reasons of moves are in snake case, as they become labels of a metric."""


def digest(node: str, ip: str) -> bytes:
    """Return a node's rank for an IP: the lower, the better."""
    return sha256(_bytes(f"{node}#{ip}")).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def order(nodes: Iterable[str], ip_text: str, scores: Mapping[str, int] | None = None) -> list[str]:
    """Sort the nodes, the owner first: by score, highest first, then by digest.

    No release up to v0.16 knows scores.
    """
    points = scores or {}
    return sorted(set(nodes), key=lambda node: (-points.get(node, 0), digest(node, ip_text)))


@dataclass(frozen=True, slots=True)
class Electors:
    """Some nodes, with the beginnings of what is hashed for each: made once for many services."""

    names: tuple[str, ...]
    beginnings: tuple[bytes, ...]

    @classmethod
    def of(cls, nodes: Iterable[str]) -> "Electors":
        """Make them of the nodes' names."""
        names = tuple(nodes)
        return cls(names, tuple(map(_bytes, names)))

    def digests(self, ip: str) -> list[bytes]:
        """Return the `digest` of each: three times as fast."""
        end = _bytes(f"#{ip}")
        return [sha256(beginning + end).digest() for beginning in self.beginnings]

    def first(self, count: int, ip: str, scores: Mapping[str, int]) -> list[str]:
        """Return the first ones of the `order`, at most `count`."""
        if scores:
            return order(self.names, ip, scores)[:count]
        digests = self.digests(ip)
        if count > _FEW:
            return [name for _, name in sorted(zip(digests, self.names, strict=True))[:count]]
        found = []
        for _ in range(min(count, len(digests))):
            best = digests.index(min(digests))
            found.append(self.names[best])
            digests[best] = _LAST
        return found


@dataclass(slots=True)
class _Standing:
    """The last result for one service.

    As long as `owner` lives and the plan stays, it beats every candidate in `seen`, those who
    died since and came back too. Only members outside `seen` can beat it. `looked_at` are the
    nodes whose life or bars the result depends on: the owner, and those passed over before.
    """

    owner: str | None = None
    rank: bytes = b""
    looked_at: tuple[str, ...] = ()
    seen: frozenset[str] | None = None
    """The members that were counted; None: none yet, or the plan has changed since."""


class Election:
    """The owners of all services, kept up to date step by step."""

    def __init__(self) -> None:
        self.hashes = 0
        """Digests computed so far."""
        self._plans: dict[str, ServicePlan] = {}
        self._members: frozenset[str] = frozenset()
        self._standings: dict[str, _Standing] = {}
        self._owners: dict[str, str | None] = {}
        self._bars = Barred()
        self._concerns: dict[str, dict[str, None]] = {}
        """By node, the services whose results depend on it, in an order that no hash decides."""
        self._queue: dict[str, str] = {}
        self._moves: list[Move] = []
        # Sets that many services share are computed once for each set of members.
        self._living: dict[frozenset[str] | None, frozenset[str]] = {}
        self._joined: dict[frozenset[str], frozenset[str]] = {}
        self._electors: dict[frozenset[str], Electors] = {}

    @property
    def pending(self) -> bool:
        """Whether `advance` has more to do or to tell."""
        return bool(self._queue or self._moves)

    def owner(self, service: str) -> str | None:
        """Name the owner; None if unknown, withheld, or nobody alive may own it.

        While work is pending this is the result before it, so it may name a dead node.
        """
        return self._owners.get(service)

    def owners(self) -> Mapping[str, str | None]:
        """Return a live, read-only view of all owners by service."""
        return MappingProxyType(self._owners)

    def elsewhere(self, service: str) -> str | None:
        """Name who owns a service that our plan withholds from this node alone: others may."""
        plan = self._plans.get(service)
        if plan is None or plan.withheld not in _NOT_HERE:
            return None
        ranking = sorted(
            self._alive(plan.candidates),
            key=lambda node: _rank(node, plan.hash_ip, plan.scores),
        )
        return self._bars.first(ranking, None)[0]

    def next_in_line(self, service: str) -> str | None:
        """Name who would own the service if its owner went now; None: nobody, or it has none."""
        plan, owner = self._plans.get(service), self._owners.get(service)
        if plan is None or owner is None:
            return None

        def rank(node: str) -> bytes:
            return _rank(node, plan.hash_ip, plan.scores)

        rest = self._alive(plan.candidates) - {owner}
        best = min(rest, key=rank, default=None)
        if best is None or not self._bars.bar(best, plan.interfaces):
            return best
        return self._bars.first(sorted(rest, key=rank), plan.interfaces)[0]

    @property
    def basis(self) -> tuple[frozenset[str], Barred]:
        """Who lives and who is barred: other objects as soon as either differs."""
        return self._members, self._bars

    def unowned(self) -> list[str]:
        """Name the services that some node ought to announce, and that no living one may own.

        Not those that wait for a quorum: others may have one. Safe to ask from another thread.
        """
        members, bars = self._members, self._bars
        found = dict[tuple[frozenset[str] | None, frozenset[str] | None], bool]()
        names = []
        for service, plan in list(self._plans.items()):
            if not plan.wanted or plan.withheld is Withheld.QUORUM:
                continue
            key = plan.candidates, plan.interfaces
            if key not in found:
                living = members if plan.candidates is None else plan.candidates & members
                found[key] = all(bars.bar(node, plan.interfaces) for node in living)
            if found[key]:
                names.append(service)
        return names

    def set_plans(self, plans: Mapping[str, ServicePlan]) -> None:
        """Take all plans at once: a service that is not among them is gone."""
        for service in self._plans.keys() - plans.keys():
            self.set_plan(service, None)
        for service, plan in plans.items():
            self.set_plan(service, plan)

    def set_plan(self, service: str, plan: ServicePlan | None) -> None:
        """Take one plan; the service is queued only if its electorate changed. None: it is gone.

        What is no longer to be announced is decided here: it needs no hash and must not wait.
        """
        known = self._plans.get(service)
        if plan is None:
            if known is not None:
                self._forget(service)
            return
        self._plans[service] = plan
        if known is None:
            self._standings[service] = _Standing()
            self._owners[service] = None
        elif _electorate(known) == _electorate(plan) and not self._barred_by_link(known, plan):
            return
        self._standings[service].seen = None
        if plan.withheld is not None:
            self._queue.pop(service, None)
            self._award(service, None, b"", plan.withheld.name.lower())
        else:
            self._queue[service] = PLAN_CHANGED

    def _barred_by_link(self, known: ServicePlan, plan: ServicePlan) -> bool:
        return bool(self._bars.links) and known.interfaces != plan.interfaces

    def _forget(self, service: str) -> None:
        self._queue.pop(service, None)
        self._award(service, None, b"", Withheld.SERVICE_DELETED.name.lower())
        del self._plans[service], self._standings[service], self._owners[service]

    def set_members(self, members: frozenset[str], reason: str) -> None:
        """Take the nodes that are alive (suspects count). `reason` goes into the moves it causes.

        Services of the dead go to the head of the queue: they are without an owner.
        """
        left, joined = self._members - members, members - self._members
        if not left and not joined:
            return
        self._members = members
        self._living.clear()
        self._joined.clear()
        self._electors.clear()
        self._first(self._concerned(left, reason))
        if joined:
            for service, plan in self._plans.items():
                if plan.withheld is None:
                    self._queue.setdefault(service, reason)

    def set_bars(self, bars: Barred, reason: str) -> None:
        """Take what bars living nodes; only services that a changed bar concerns are queued."""
        before, self._bars = self._bars, bars
        if bars is before:
            return
        changed = before.named ^ bars.named
        if before.clarion != bars.clarion:
            changed |= bars.named
        changed |= {subject.node for subject in before.links ^ bars.links}
        self._first(self._concerned(changed, reason))

    def _concerned(self, nodes: frozenset[str], reason: str) -> dict[str, str]:
        return {
            service: reason for node in sorted(nodes) for service in self._concerns.get(node, ())
        }

    def _first(self, urgent: dict[str, str]) -> None:
        """Put these at the head of the queue: they may be without an owner."""
        rest = {service: why for service, why in self._queue.items() if service not in urgent}
        self._queue = urgent | rest

    def advance(self, limit: int = MAX_HASHES) -> list[Move]:
        """Do at most `limit` hashes and give the moves found since the last call.

        Each service counts as `HASHES_A_SERVICE` more. One service alone that costs more than
        `limit` is done whole when it comes first.
        """
        budget = limit
        while self._queue:
            service = next(iter(self._queue))
            challengers, whole = self._challengers(service)
            if len(challengers) + HASHES_A_SERVICE > budget and budget < limit:
                break
            self._vote(service, challengers, whole, self._queue.pop(service))
            budget -= len(challengers) + HASHES_A_SERVICE
        moves, self._moves = self._moves, []
        return moves

    def _challengers(self, service: str) -> tuple[frozenset[str], bool]:
        """Return the nodes to hash, and whether they are all candidates or only the new ones."""
        plan, standing = self._plans[service], self._standings[service]
        if standing.seen is None or standing.owner not in self._members:
            return self._alive(plan.candidates), True
        joined = self._joined.get(standing.seen)
        if joined is None:
            joined = self._joined[standing.seen] = self._members - standing.seen
        return (joined if plan.candidates is None else joined & plan.candidates), False

    def _alive(self, candidates: frozenset[str] | None) -> frozenset[str]:
        if candidates is None:
            return self._members
        alive = self._living.get(candidates)
        if alive is None:
            alive = self._living[candidates] = candidates & self._members
        return alive

    def _vote(self, service: str, challengers: frozenset[str], whole: bool, reason: str) -> None:
        plan, standing = self._plans[service], self._standings[service]
        found: list[tuple[bytes, str | None]] = [] if whole else [(standing.rank, standing.owner)]
        if challengers:
            found.append(self._lowest(challengers, plan))
        self.hashes += len(challengers)
        standing.seen = self._members
        # No two nodes have the same rank.
        rank, owner = min(found, default=(b"", None), key=lambda entry: entry[0])
        self._award(service, owner, rank, reason)

    def _lowest(self, nodes: frozenset[str], plan: ServicePlan) -> tuple[bytes, str]:
        """Return the best rank and whose it is: where nobody has points, three times as fast."""
        if plan.scores:
            return min((_rank(node, plan.hash_ip, plan.scores), node) for node in nodes)
        electors = self._electors.get(nodes)
        if electors is None:
            electors = self._electors[nodes] = Electors.of(nodes)
        digests = electors.digests(plan.hash_ip)
        lowest = min(digests)
        return _NO_POINTS + lowest, electors.names[digests.index(lowest)]

    def _award(self, service: str, winner: str | None, rank: bytes, reason: str) -> None:
        standing = self._standings[service]
        standing.owner, standing.rank = winner, rank
        owner, looked_at = self._eligible(service, winner)
        self._depend(service, standing, looked_at)
        before = self._owners[service]
        if before != owner:
            self._owners[service] = owner
            self._moves.append(Move(service, before, owner, reason))

    def _eligible(self, service: str, winner: str | None) -> tuple[str | None, tuple[str, ...]]:
        """Pass over barred nodes; return the owner and everybody that this depends on."""
        plan, bars = self._plans[service], self._bars
        if winner is None or not bars.bar(winner, plan.interfaces):
            return winner, (winner,) if winner is not None else ()
        candidates = self._alive(plan.candidates)
        self.hashes += len(candidates)
        ranking = sorted(candidates, key=lambda node: _rank(node, plan.hash_ip, plan.scores))
        return bars.first(ranking, plan.interfaces)

    def _depend(self, service: str, standing: _Standing, looked_at: tuple[str, ...]) -> None:
        for node in standing.looked_at:
            services = self._concerns[node]
            services.pop(service, None)
            if not services:
                del self._concerns[node]
        for node in looked_at:
            self._concerns.setdefault(node, {})[service] = None
        standing.looked_at = looked_at


def _rank(node: str, ip: str, scores: Mapping[str, int]) -> bytes:
    """Return what nodes are compared by, lowest first: highest score, then lowest digest."""
    score = min(scores.get(node, 0), _MAX_SCORE)
    return (_MAX_SCORE - score).to_bytes(4, "big") + digest(node, ip)


_FEW = 3
"""Up to so many it is faster to look for the lowest again than to sort."""
_LAST = b"\xff" * 33
"""Comes after every digest."""
_MAX_SCORE = 0xFFFFFFFF
_NO_POINTS = _MAX_SCORE.to_bytes(4, "big")
_NOT_HERE = (Withheld.NO_MATCHING_ADVERTISEMENT, Withheld.NOT_OWNER)


def _electorate(plan: ServicePlan) -> tuple[str, frozenset[str] | None, Mapping[str, int], bool]:
    """Return what the election depends on."""
    return plan.hash_ip, plan.candidates, plan.scores, plan.withheld is None
