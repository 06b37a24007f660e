"""The routes of all services together: which prefix each peer of this node hears of, and how.

Several services may want the same prefix, and several advertisements. It stays as long as one of
them wants it; a peer gets the union of the communities that are meant for it. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from types import MappingProxyType

from plan.bgp import BgpPlan, Wish
from plan.offers import GRACEFUL_SHUTDOWN, IPNetwork, Offer, Offers, Routes

_Want = tuple[frozenset[Wish], bool]
"""What a service wants of a prefix, and whether it drains."""


class RouteTable:
    """Keeps the routes up to date; a change costs what its own prefixes cost.

    `set` and `set_peers` take what is wanted, `changes` gives what differs since it was asked
    last. Nobody hears of anything before the peers are known.
    """

    def __init__(self, peers: Collection[str] = ()) -> None:
        """`peers` are the names of the BGPPeers with which this node has sessions."""
        self._peers = tuple(sorted(peers))
        self._med = 0
        self._plans: dict[str, BgpPlan] = {}
        self._wants: dict[IPNetwork, Counter[_Want]] = {}
        """By prefix, how many services want the same: so many are alike that only kinds count."""
        self._services: dict[IPNetwork, set[str]] = {}
        self._routes: dict[IPNetwork, Offers] = {}
        # Prefixes in the order in which they came; the values mean nothing.
        self._touched: dict[IPNetwork, None] = {}

    def set(self, service: str, plan: BgpPlan | None) -> None:
        """Put a service's plan in the place of the one before; None: it is gone."""
        before = self._plans.pop(service, None)
        if plan is not None and plan.wishes:
            self._plans[service] = plan
        if before is not None:
            self._drop(service, before)
        if plan is not None:
            self._add(service, plan)

    def set_peers(self, peers: Collection[str]) -> None:
        """Tell with which peers this node has sessions now."""
        ordered = tuple(sorted(peers))
        if ordered != self._peers:
            self._peers = ordered
            self._touched.update(dict.fromkeys(self._wants))

    def set_med(self, med: int) -> None:
        """Tell the MULTI_EXIT_DISC of all routes (RFC 4271, 5.1.4): routers prefer the lowest."""
        if med != self._med:
            self._med = med
            self._touched.update(dict.fromkeys(self._wants))

    @property
    def pending(self) -> bool:
        """Whether `changes` has more to look at."""
        return bool(self._touched)

    def changes(self, limit: int | None = None) -> dict[IPNetwork, Offers | None]:
        """Return the prefixes whose offers differ since the last call (None: gone).

        Look at no more than `limit` at a time, where there is one.
        """
        found: dict[IPNetwork, Offers | None] = {}
        for prefix in tuple(islice(self._touched, limit)):
            del self._touched[prefix]
            before, after = self._routes.get(prefix), self._offers(prefix)
            if after == before:
                continue
            found[prefix] = after
            if after is None:
                del self._routes[prefix]
            else:
                self._routes[prefix] = after
        return found

    @property
    def routes(self) -> Routes:
        """A live, read-only view of all routes, as `changes` has told them."""
        return MappingProxyType(self._routes)

    def peers_of(self, service: str) -> tuple[str, ...]:
        """Return the names of the peers that hear of a service, sorted.

        Whoever hears of a prefix hears of every service that wants it. As of the last `changes`.
        """
        plan = self._plans.get(service)
        prefixes = plan.wishes if plan is not None else ()
        return tuple(sorted({peer for prefix in prefixes for peer in self._routes.get(prefix, ())}))

    def services_on(self, prefixes: Iterable[IPNetwork]) -> frozenset[str]:
        """Name the services that want any of the prefixes: `peers_of` may have changed for them."""
        return frozenset(name for prefix in prefixes for name in self._services.get(prefix, ()))

    def _add(self, service: str, plan: BgpPlan) -> None:
        for prefix, wishes in plan.wishes.items():
            self._wants.setdefault(prefix, Counter())[wishes, plan.draining] += 1
            self._services.setdefault(prefix, set()).add(service)
            self._touched[prefix] = None

    def _drop(self, service: str, plan: BgpPlan) -> None:
        for prefix, wishes in plan.wishes.items():
            wants, want = self._wants[prefix], (wishes, plan.draining)
            wants[want] -= 1
            if not wants[want]:
                del wants[want]
            self._services[prefix].discard(service)
            if not wants:
                del self._wants[prefix], self._services[prefix]
            self._touched[prefix] = None

    def _offers(self, prefix: IPNetwork) -> Offers | None:
        """Return what each peer hears of a prefix, None where nobody hears of it."""
        wants: Collection[_Want] = self._wants.get(prefix, ())
        heard = ((peer, _offer(peer, wants, self._med)) for peer in self._peers)
        found = {peer: offer for peer, offer in heard if offer is not None}
        return MappingProxyType(found) if found else None


def _offer(peer: str, wants: Iterable[_Want], med: int) -> Offer | None:
    """Unite what is wanted of one prefix for one peer; None if nothing is."""
    meant = [
        (wish, draining)
        for wishes, draining in wants
        for wish in wishes
        if not wish.peers or peer in wish.peers
    ]
    if not meant:
        return None
    communities = {entry for wish, _ in meant for entry in wish.communities}
    # While one service has endpoints that stay, the prefix is as good as any.
    if all(draining for _, draining in meant):
        communities.add(GRACEFUL_SHUTDOWN)
    return Offer(
        frozenset(communities),
        frozenset(entry for wish, _ in meant for entry in wish.large),
        # Of several MetalLB's route maps leave the one whose text is the last: 90 before 100.
        max((wish.local_pref for wish, _ in meant if wish.local_pref), key=str, default=0),
        med,
    )
