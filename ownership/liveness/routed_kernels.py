"""Whose kernel answers in other subnets: `kernels`, with stricter rules. Pure.

A subnet that only routers lead to is a path, and a path has two sides: the nodes that stand there,
and their gateways. Each side is what a link is in `kernels`, by an index of its own.

- A kernel proves itself by answers in a row. A firewall lets nothing through, or everything; one
  answer may have come by another way.
- A node is missed only while somebody else beyond the same routers answers: another node of its
  subnet, if one is known to; else a gateway. So a router that dies takes nobody with it. Nor does a
  firewall that begins to drop echo requests to nodes, which a router goes on to answer itself.
- What was asked before a gateway came back was asked in vain, and tells nothing about the nodes.
"""

from collections.abc import Set as AbstractSet

from link.address import IPAddress
from ownership.liveness.kernels import Kernels
from ownership.liveness.targets import Echoed, Target, TargetKey

STEADY = 5
"""Answers in a row after which a kernel may be missed: they take four seconds."""
SPARE = 1
"""Requests in a row that a gateway may lose before the path counts as cut."""
MOST_LOST = 5
"""After so many the nodes have to prove themselves anew: a router that starts answers for itself
some time before it forwards."""
_NEVER = float("-inf")


def nodes_side(path: int) -> int:
    """Return the index of the side of a path's nodes."""
    return 2 * path


def gateways_side(path: int) -> int:
    """Return the index of the side of its gateways."""
    return 2 * path + 1


def _across(side: int) -> int:
    return side ^ 1


class RoutedKernels(Kernels):
    """Asks beyond routers; whoever speaks of a link of `Kernels` means a side here."""

    def handle_echo(self, ifindex: int, ip: IPAddress, token: bytes, now: float) -> Echoed | None:
        """Take an echo reply; return None where nobody asked for it."""
        asked = {
            key: [at for at, _ in self._targets[key].outstanding]
            for key in self._at.get((ifindex, ip), ())
        }
        found = super().handle_echo(ifindex, ip, token, now)
        if found is not None and self._targets[found.key].gateway:
            self._start_afresh(_across(ifindex), asked[found.key], found.at)
        return found

    def latest(self) -> float:
        """Return when the latest request was sent that anybody answered."""
        return max((target.echoed for target in self._targets.values()), default=_NEVER)

    def armed(self) -> int:
        """Count the nodes that have proved themselves."""
        # A copy, as /metrics asks from another thread.
        found = list(self._targets.values())
        return sum(target.armed and not target.gateway for target in found)

    # ---- inside

    def _proves_itself(self, target: Target, now: float) -> bool:
        target.steady += 1
        enough = target.gateway or target.steady >= STEADY
        return enough and super()._proves_itself(target, now)

    def _vouches(self, key: TargetKey, target: Target, doubted: AbstractSet[int]) -> bool:
        if target.gateway:
            return _across(key.ifindex) in doubted
        return target.armed and key.ifindex in doubted

    def _proof_without(self, key: TargetKey, target: Target) -> float:
        """Return when the path last proved to work, by others than this target."""
        company, gateways = list[float](), list[float]()
        for known, other in self._targets.items():
            if known.ifindex == _across(key.ifindex):
                gateways.append(other.echoed)
            elif known.ifindex == key.ifindex and other.ip != target.ip:
                company += [other.echoed] if other.armed and not other.missing else []
        return max(company or gateways, default=_NEVER)

    def _request(self, key: TargetKey, target: Target, now: float) -> None:
        if target.outstanding:
            target.steady = 0
        super()._request(key, target, now)

    def _disarm(self, key: TargetKey, target: Target, now: float) -> None:
        target.steady = 0
        super()._disarm(key, target, now)

    def _start_afresh(self, side: int, asked: list[float], at: float) -> None:
        """A gateway was asked at these times and has answered what it was asked at `at`: where it
        left several before that unanswered, the way was cut until then."""
        for key, target in self._targets.items():
            since = target.since
            if key.ifindex != side or since is None:
                continue
            lost = sum(since <= each < at for each in asked)
            if lost > SPARE:
                target.since, target.unanswered = at, 0
            if lost > MOST_LOST:
                target.armed, target.steady = False, 0
