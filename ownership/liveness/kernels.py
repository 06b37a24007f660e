"""Who is alive on the wire: echo requests to other nodes' kernels, on every announcing link. Pure.

A kernel answers in microseconds, whatever state its speaker is in; so a node that leaves a run of
requests unanswered is cut off or dead. What is watched all the time is asked every `interval`. A
request that stays unanswered for `retry` puts its target in doubt: it is asked every `retry` then,
and the link's gateways with it, since our own link may be what failed. A target is *missing* when
all requests of `patience` seconds went unanswered while somebody else answered on that link. Where
nobody else ever did, a frame of anybody has to do.

A kernel may also stop answering because a firewall drops echo requests or a limit is reached. So
whoever is in doubt is asked by letter, too. One that answers letters at that very address, twice
without an echo in between, is *filtered*, not missing: it is not missed at all for a while, longer
each time. That it speaks is not enough: one that hears nobody speaks as well.

Frames that come in prove that our own link receives; only answers prove that it sends, and that
echo requests are let through.

Times are those of sending: an answer read late still proves that its sender lived when we asked,
and a process that stood still asked nobody, so that time does not count.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from link.address import IPAddress
from ownership.io import EchoRequest
from ownership.liveness.targets import Echoed, KernelState, LinkReturned, Target, TargetKey, Timing

if TYPE_CHECKING:
    from random import Random

FEWEST_REQUESTS = 5
"""How many requests must have gone unanswered, however long it took."""
TOKEN = 8
"""Random bytes in each request: nobody off the path can answer."""
FEWEST_IN_VAIN = 2
"""Requests after which a kernel that never answered any is taken for one that does not."""
SLOWEST = 60.0
"""Seconds between requests to such a kernel, after ever longer pauses."""
LONG_DOUBT = 6
"""So many times `patience` after its first unanswered request a node is asked without hurry."""
DISARMED, LONGEST_DISARMED = 10.0, 600.0
"""Seconds for which a filtered kernel is not missed, at first and at most."""
MOST_CHECKS = 64
"""How many targets that are not watched may be asked in one turn: some 3 ms."""
_NEVER = float("inf")


class Kernels:
    """Asks, counts what is not answered, and knows whether our own links work."""

    def __init__(self, timing: Timing, rng: "Random", now: float) -> None:
        self._timing = timing
        self._rng = rng
        self._targets: dict[TargetKey, Target] = {}
        self._at: dict[tuple[int, IPAddress], list[TargetKey]] = {}
        """Who is at an address: a gateway may be a node."""
        self._watched: frozenset[str] = frozenset()
        self._mourned: frozenset[str] = frozenset()
        self._lonely = False
        self._filtered: list[TargetKey] = []
        self._doubted: set[str] = set()
        self._reached: dict[int, float] = {}
        """By link, when the latest request was sent that anybody answered there."""
        self._proof: dict[int, float] = {}
        self._requests: list[EchoRequest] = []
        self._returned: list[LinkReturned] = []
        self._awake = float("-inf")
        self._due = now + rng.random() * timing.interval

    # ---- what to watch

    def set_targets(
        self,
        nodes: Mapping[TargetKey, IPAddress],
        gateways: Mapping[TargetKey, IPAddress],
        now: float,
    ) -> None:
        """Take all nodes and gateways that our links reach."""
        wanted = {**gateways, **nodes}
        for key in self._targets.keys() - wanted.keys():
            del self._targets[key]
        for key, ip in wanted.items():
            known = self._targets.get(key)
            if known is None or known.ip != ip:
                # Who may bear witness is asked once, to know whether it would.
                gateway = key not in nodes
                self._targets[key] = Target(ip, gateway=gateway, check=gateway)
        self._at = {}
        for key, ip in wanted.items():
            self._at.setdefault((key.ifindex, ip), []).append(key)
        links = {key.ifindex for key in wanted}
        for ifindex in links - self._proof.keys():
            self._proof[ifindex] = self._reached[ifindex] = now
        for ifindex in self._proof.keys() - links:
            del self._proof[ifindex], self._reached[ifindex]

    def watch(
        self,
        names: frozenset[str],
        mourned: frozenset[str] = frozenset(),
        *,
        lonely: bool = False,
    ) -> None:
        """Ask these nodes all the time, and now and then the `mourned`, whom gossip holds dead.

        A `lonely` node has nobody else, so it asks the gateways all the time: if they fall silent,
        it is cut off itself.
        """
        self._watched, self._mourned, self._lonely = names, mourned, lonely
        for key, target in self._targets.items():
            if target.since is not None and not target.gateway and not self._wanted(key, target):
                # It is not asked any more, so it owes us nothing.
                _forget_run(target)

    def check(self, name: str, now: float) -> None:
        """Ask a node now, as somebody else misses it."""
        for key, target in self._targets.items():
            if key.who == name and not target.check:
                target.check = True
                self._due = min(self._due, now)

    def check_all(self, now: float) -> None:
        """Ask every node once: where one is gone others may be."""
        for target in self._targets.values():
            target.check = target.check or not target.gateway
        self._due = min(self._due, now)

    def recheck(self, name: str) -> None:
        """Forget that a node was ever missing: a new life of it has begun."""
        for key, target in self._targets.items():
            if key.who == name:
                target.missing = target.spoke_unanswered = False
                _forget_run(target)

    # ---- what is seen

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> Echoed | None:
        """Take an echo reply; return None where nobody asked for it."""
        for key in self._at.get((ifindex, ip), ()):
            target = self._targets[key]
            since = self._owing_since(target)
            at = _take(target, token, self._awake)
            if at is not None:
                # Not by other signs of life: a firewall may drop echo requests alone. Nor soon
                # after it was found to: one that answers ten a second does so now and then.
                target.armed = target.armed or self._proves_itself(target, now)
                target.echoed, target.spoke_unanswered = max(target.echoed, at), False
                self._reached[ifindex] = max(at, self._reached[ifindex])
                anew = target.missing
                self._note_life(key, target, at, now, since)
                return Echoed(key, at, anew)
        return None

    def handle_frames(self, ifindex: int, now: float) -> None:
        """Note that a frame from somebody else came in by the link."""
        if ifindex in self._proof:
            self._prove(ifindex, now, now)

    def handle_answer(self, name: str, ip: IPAddress, now: float) -> list[TargetKey]:
        """Note an answer by letter that a node sent from this address; return the targets it is."""
        spoken = [
            key for key, target in self._targets.items() if key.who == name and target.ip == ip
        ]
        for key in spoken:
            target = self._targets[key]
            if target.spoke_unanswered and self._doubted_for_long(target, now):
                self._disarm(key, target, now)
            elif target.missing or self._doubted_for_long(target, now):
                target.spoke_unanswered = True
            since = self._owing_since(target)
            # What it left unanswered before is of no account any more.
            _forget_run(target)
            self._note_life(key, target, now, now, since)
        return spoken

    # ---- what follows

    def missing(self) -> frozenset[TargetKey]:
        """Return the nodes that we miss now, by link."""
        # A copy, as /metrics asks from another thread.
        found = list(self._targets.items())
        return frozenset(key for key, target in found if target.missing and not target.gateway)

    def filtered_kernels(self) -> list[TargetKey]:
        """Drain those that were found to answer no echo request though they live."""
        filtered, self._filtered = self._filtered, []
        return filtered

    def doubts(self) -> list[str]:
        """Drain the nodes to ask by letter whether they hear us."""
        doubted, self._doubted = sorted(self._doubted), set()
        return doubted

    def reaches(self, ifindex: int, now: float) -> bool:
        """Tell whether anybody has answered a request of ours on the link just now: so what we send
        there arrives."""
        return now - self.reached_at(ifindex) <= self._timing.patience

    def reached_at(self, ifindex: int) -> float:
        """Return when the latest request was sent that anybody answered on the link."""
        return self._reached.get(ifindex, float("-inf"))

    def note_cut(self, ifindex: int, gap: float) -> None:
        """Take from others that we were not heard on the link for so long, and are again."""
        self._note_return(ifindex, gap)

    def probe(self, now: float) -> None:
        """Ask everybody once, gateways too: somebody has to be heard."""
        for target in self._targets.values():
            target.check = True
        self._due = min(self._due, now)

    def expects(self, ifindex: int) -> bool:
        """Tell whether anybody on the link ever answered, and so may be heard."""
        return any(key.ifindex == ifindex and item.armed for key, item in self._targets.items())

    def answering(self, ifindex: int) -> tuple[int, int]:
        """Return how many nodes, and how many others, have answered echo requests on the link."""
        armed = [
            item for key, item in self._targets.items() if key.ifindex == ifindex and item.armed
        ]
        others = sum(item.gateway for item in armed)
        return len(armed) - others, others

    def heard_since(self, ifindex: int, at: float) -> bool:
        """Tell whether anybody was heard on the link after `at`."""
        return self._proof.get(ifindex, float("-inf")) > at

    def hears(self, ifindex: int, now: float) -> bool:
        """Tell whether somebody was heard on the link lately, or nobody owes us an answer there."""
        lately = now - self._proof.get(ifindex, now) <= self._timing.isolated
        return lately or self._asking_since(ifindex) == _NEVER

    def kernel(self, name: str, ifindex: int, now: float) -> KernelState:
        """Tell what the node's kernel does on the link, as far as we know."""
        target = self._targets.get(TargetKey(name, ifindex))
        if target is None:
            return KernelState.UNKNOWN
        if target.missing:
            return KernelState.SILENT
        if now - target.heard <= self._timing.patience:
            return KernelState.ANSWERS
        in_vain = not target.armed and target.unanswered >= FEWEST_IN_VAIN
        return KernelState.SILENT if in_vain else KernelState.UNKNOWN

    def requests(self) -> list[EchoRequest]:
        """Drain the requests to send."""
        requests, self._requests = self._requests, []
        return requests

    def link_returns(self) -> list[LinkReturned]:
        """Drain the links that came back."""
        returned, self._returned = self._returned, []
        return returned

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next; infinite where there is no target."""
        return self._due if self._targets else float("inf")

    def handle_timeout(self, now: float) -> None:
        """Ask whom it is time to ask, and judge who has been silent for too long."""
        if now < self._due:
            return
        late = now - self._due
        if late > self._timing.retry:
            self._forgive(late, now)
        self._judge(now)
        self._ask(now)
        self._due = self._next(now)

    # ---- inside

    def _note_life(
        self, key: TargetKey, target: Target, at: float, now: float, since: float
    ) -> None:
        target.heard = max(target.heard, at)
        target.check = False
        target.missing = False
        self._prove(key.ifindex, at, now, since)
        if not self._owing():
            # Nobody is left to be asked again soon.
            self._due = max(self._due, self._next(now))

    def _note_return(self, ifindex: int, gap: float) -> None:
        """One answer may end both silences: that of the others, and that about what we sent."""
        if all(returned.ifindex != ifindex for returned in self._returned):
            self._returned.append(LinkReturned(ifindex, gap))

    def _prove(self, ifindex: int, at: float, now: float, since: float = _NEVER) -> None:
        """Somebody was heard on the link at `at`, who owed us an answer from `since` on. After a
        gap everybody starts afresh."""
        before = self._proof[ifindex]
        if at <= before:
            return
        self._proof[ifindex] = at
        gap, interval = at - before, 1.5 * self._timing.interval
        if gap <= interval:
            return
        since = min(since, self._asking_since(ifindex))
        if since >= at:
            return
        if since > before + interval:
            # Before that we asked nobody, so that nobody had to be heard.
            gap = at - since
        # Requests that we sent while nobody could hear them tell nothing about the others.
        for key, target in self._targets.items():
            if key.ifindex == ifindex and target.since is not None and target.since < at:
                target.since, target.unanswered = at, 0
        if gap > self._timing.isolated:
            self._note_return(ifindex, gap)

    def _owing(self) -> bool:
        """Tell whether anybody owes us an answer."""
        # First what is mostly false: there may be a thousand targets.
        return any(
            target.since is not None and self._owes(target) for target in self._targets.values()
        )

    def _owes(self, target: Target) -> bool:
        return target.owes and (self._lonely or not target.gateway)

    def _owing_since(self, target: Target) -> float:
        return target.since if target.since is not None and self._owes(target) else _NEVER

    def _asking_since(self, ifindex: int) -> float:
        """Return since when somebody on the link owes us an answer who ever gave one.

        Whom we miss does not count: it took proof of our link to miss them.
        """
        return min(
            (
                target.since
                for key, target in self._targets.items()
                if target.since is not None and key.ifindex == ifindex and self._owes(target)
            ),
            default=_NEVER,
        )

    def _forgive(self, late: float, now: float) -> None:
        """We stood still: the time counts for nobody's silence, nor for our own isolation."""
        self._awake = now
        self._proof = {ifindex: min(now, at + late) for ifindex, at in self._proof.items()}
        for target in self._targets.values():
            if target.since is not None:
                target.since += late

    def _proves_itself(self, target: Target, now: float) -> bool:
        """Tell whether one that has just answered may be missed from now on."""
        return now >= target.disarmed_until

    def _vouches(self, key: TargetKey, target: Target, doubted: AbstractSet[int]) -> bool:
        """Tell whether it is asked as somebody on these links is in doubt, not for its own sake."""
        return target.gateway and key.ifindex in doubted

    def _judge(self, now: float) -> None:
        for key, target in self._targets.items():
            if target.since is None or not target.owes:
                continue
            silent = now - target.since >= self._timing.patience
            proved = self._proof_without(key, target) > target.since
            if silent and target.unanswered >= FEWEST_REQUESTS and proved:
                # A gateway is nobody's to miss: it only bears witness no more.
                target.check, target.missing = False, not target.gateway
                target.armed = not target.gateway
            elif not target.gateway and self._doubted_for_long(target, now):
                self._doubted.add(key.who)

    def _proof_without(self, key: TargetKey, target: Target) -> float:
        """Return when the link last proved to work, by others than this target."""
        others = any(
            other.armed and known.ifindex == key.ifindex and other.ip != target.ip
            for known, other in self._targets.items()
        )
        return self._reached[key.ifindex] if others else self._proof[key.ifindex]

    def _doubted_for_long(self, target: Target, now: float) -> bool:
        """Tell whether a letter is worth while: half of the time is over."""
        if target.since is None or target.unanswered < FEWEST_REQUESTS - 1:
            return False
        return now - target.since >= self._timing.patience / 2

    def _disarm(self, key: TargetKey, target: Target, now: float) -> None:
        """It lives, but answers no echo requests any more."""
        lasts = min(DISARMED * 2**target.filtered, LONGEST_DISARMED)
        target.armed, target.disarmed_until = False, now + lasts
        target.filtered = min(target.filtered + 1, 16)
        target.spoke_unanswered = False
        self._filtered.append(key)

    def _ask(self, now: float) -> None:
        timing, targets = self._timing, self._targets.items()
        doubted = {key.ifindex for key, target in targets if self._doubtful(target, now)}
        # Whoever is due soon is asked now, so that all are asked together: each time of its own
        # would be a timer of its own.
        early = 0.0 if doubted else timing.interval / 2
        checks = 0
        for key, target in targets:
            if target.gateway:
                wanted = self._vouches(key, target, doubted) or self._lonely or target.check
                every = timing.interval if self._lonely else timing.interval / 2
                every = timing.retry if target.check else every
            else:
                wanted = self._wanted(key, target) or self._vouches(key, target, doubted)
                every = self._pace(key, target, now) - early if wanted else 0.0
            if not wanted or now - target.asked < every * 0.999:
                continue
            if target.check and key.who not in self._watched:
                checks += 1
                if checks > MOST_CHECKS:
                    continue
            self._request(key, target, now)

    def _wanted(self, key: TargetKey, target: Target) -> bool:
        if key.who in self._watched or key.who in self._mourned or target.check:
            return True
        return target.missing or not target.armed

    def _pace(self, key: TargetKey, target: Target, now: float) -> float:
        timing = self._timing
        if not target.armed:
            # Everybody asks it: with a thousand nodes that is a million requests a round.
            pauses = 2.0 ** min(max(0, target.unanswered - FEWEST_REQUESTS), 10)
            return min(10 * timing.interval * pauses, SLOWEST)
        if target.check and target.missing:
            return timing.retry
        if key.who in self._mourned and key.who not in self._watched and not target.check:
            return timing.mourning
        return timing.retry if self._doubtful(target, now) else timing.interval

    def _doubtful(self, target: Target, now: float) -> bool:
        if not self._owes(target) or target.since is None:
            return False
        timing, silent = self._timing, now - target.since
        return timing.retry * 0.999 <= silent < LONG_DOUBT * timing.patience

    def _request(self, key: TargetKey, target: Target, now: float) -> None:
        token = self._rng.getrandbits(8 * TOKEN).to_bytes(TOKEN, "big")
        target.outstanding.append((now, token))
        target.asked = now
        if target.missing or target.gateway:
            # Asked once, out of turn.
            target.check = False
        if target.since is None:
            target.since, target.unanswered = now, 0
        target.unanswered += 1
        self._requests.append(EchoRequest(key.ifindex, target.ip, token))

    def _next(self, now: float) -> float:
        """Call again in time for the next retry of anybody, else for the next round."""
        timing = self._timing
        targets = self._targets.values()
        if any(target.since is not None and self._hurried(target, now) for target in targets):
            return now + timing.retry
        # From when they were asked: the retries above are no part of the interval.
        rounds = [
            target.asked + self._pace(key, target, now)
            for key, target in self._targets.items()
            if not target.gateway and self._wanted(key, target)
        ]
        return max(now + timing.retry, min([*rounds, now + timing.interval]))

    def _hurried(self, target: Target, now: float) -> bool:
        """Tell whether its next request, or the verdict on it, may be due soon."""
        if not self._owes(target) or target.since is None:
            return False
        return now - target.since < LONG_DOUBT * self._timing.patience


def _take(target: Target, token: bytes, awake: float) -> float | None:
    """Find the request that a reply belongs to; forget it and those before it.

    A run of unanswered requests that then remains counts from `awake`, the end of our last stall.
    """
    at = next((at for at, sent in target.outstanding if sent == token), None)
    if at is None:
        return None
    while target.outstanding and target.outstanding[0][0] <= at:
        target.outstanding.popleft()
    target.since = max(target.outstanding[0][0], awake) if target.outstanding else None
    target.unanswered = len(target.outstanding)
    return at


def _forget_run(target: Target) -> None:
    target.outstanding.clear()
    target.since, target.unanswered = None, 0
