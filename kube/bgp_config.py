"""BGPPeers, BGPAdvertisements, BFDProfiles and Communities judged as a whole, for one node. Pure.

As in MetalLB's speaker, only the peers and advertisements that select the own node are judged, and
one error refuses them all. What is missing and may still come (a Secret, a profile, an alias) is an
error too: whoever holds the last good configuration leaves it in force.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kube.bgp_sessions import Around, hints, profile, session
from kube.config import same_names, unknown_pools
from kube.document import Origin
from kube.objects.bgp import BFDProfile, BGPAdvertisement, BGPPeer, Community
from kube.objects.config_map import KEY, BgpExtras
from kube.objects.core import Node
from kube.objects.metallb import IPAddressPool
from kube.peering import Profile, Session
from kube.problem import Finding, Problem, Severity, fault
from kube.rules import advertisements as rules
from kube.rules import communities as texts
from kube.rules import extras, peers, spans
from kube.selector import LabelSelector, any_matches

MAX_COMMUNITIES = 63
"""Of one advertisement: an attribute of the old kind has no more than 255 bytes."""
_MOST_PREFERENCE = 2**32 - 1
_MAX_MESSAGE = 1_000
"""Characters."""


@dataclass(frozen=True, slots=True)
class RouteAdvertisement:
    """How addresses of a pool are told to routers: a BGPAdvertisement that selects our node."""

    name: str
    service_selectors: tuple[LabelSelector, ...] = ()
    """Empty: all services."""
    peers: frozenset[str] = frozenset()
    """Names of BGPPeers; empty: all."""
    communities: frozenset[tuple[int, int]] = frozenset()
    large: frozenset[tuple[int, int, int]] = frozenset()
    local_pref: int = 0
    """0: none."""
    length_v4: int = 32
    length_v6: int = 128

    def length(self, version: int) -> int:
        """Return the length to which addresses of an IP version are aggregated."""
        return self.length_v4 if version == 4 else self.length_v6


@dataclass(frozen=True, slots=True)
class BgpConfig:
    """A valid configuration of this node."""

    sessions: tuple[Session, ...] = ()
    """By the name of the peer, ascending."""
    profiles: tuple[Profile, ...] = ()
    """Those that sessions name, by name."""
    advertisements: Mapping[str, tuple[RouteAdvertisement, ...]] = field(default_factory=dict)
    """By pool, each by name; a pool without any has no entry."""
    extras: str = field(default="", repr=False)
    """Lines of the engine's own language."""


@dataclass(frozen=True, slots=True)
class BgpObjects:
    """All that is there of BGP, of one namespace."""

    advertisements: Sequence[BGPAdvertisement] = ()
    peers: Sequence[BGPPeer] = ()
    profiles: Sequence[BFDProfile] = ()
    communities: Sequence[Community] = ()
    passwords: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """By the name of the Secret; None where it holds none that may be used."""
    extras: BgpExtras | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody wants BGP at all."""
        return bool(self.advertisements or self.peers or self.extras)


def judge_bgp(
    objects: BgpObjects, pools: Sequence[IPAddressPool], nodes: Mapping[str, Node], own_node: str
) -> tuple[BgpConfig | None, list[Problem]]:
    """Return the node's configuration, None if any problem is an error, and all problems.

    The pools are valid. Where our own Node is not known, but others are, nothing selects it; where
    no Node is known at all, it has no labels.
    """
    try:
        return _Judge(pools, nodes, own_node).verdict(objects)
    except Exception as error:
        return None, [fault("BGP configuration", error)]


def secrets_of(peers_of_all: Iterable[BGPPeer]) -> frozenset[str]:
    """Name the Secrets that peers take their passwords from: no other one is to be read."""
    names = (peer.spec.password_secret.name for peer in peers_of_all)
    return frozenset(name for name in names if name)


_Before = dict[int, list[BGPAdvertisement]]
"""The advertisements of a pool that were judged, by preference: those of one never conflict."""


class _Judge:
    """Judges all objects once, and collects what is wrong with them."""

    def __init__(
        self, pools: Sequence[IPAddressPool], nodes: Mapping[str, Node], own_node: str
    ) -> None:
        self._pools = pools
        own = nodes.get(own_node)
        self._labels = own.labels if own is not None else None if nodes else {}
        self._problems: list[Problem] = []

    def verdict(self, objects: BgpObjects) -> tuple[BgpConfig | None, list[Problem]]:
        """Judge in the order in which one kind needs the other."""
        for some in (objects.profiles, objects.communities):
            self._problems.extend(same_names(some))
        profiles = self._profiles(objects.profiles)
        mine = [peer for peer in objects.peers if self._selects(peer.spec.node_selectors)]
        ads = [ad for ad in objects.advertisements if self._selects(ad.node_selectors)]
        self._problems.extend((*same_names(mine), *same_names(ads)))
        sessions = self._sessions(mine, Around(profiles, objects.passwords))
        by_pool = self._advertisements(ads, self._aliases(objects.communities), objects.peers)
        self._echo_of_ipv6(ads, [peer for peer in mine if _echoes(peer, profiles)])
        added = self._extras(objects.extras, sessions)
        if any(problem.severity is Severity.ERROR for problem in self._problems):
            return None, self._problems
        used = {found.bfd for found in sessions}
        named = tuple(profiles[name] for name in sorted(profiles) if name in used)
        return BgpConfig(tuple(sessions), named, by_pool, added), self._problems

    def _selects(self, selectors: Sequence[LabelSelector]) -> bool:
        return self._labels is not None and any_matches(selectors, self._labels)

    def _refuse(self, origin: Origin, findings: Iterable[Finding]) -> None:
        self._problems.extend(origin.error(path, _one_line(text)) for path, text in findings)

    def _profiles(self, some: Sequence[BFDProfile]) -> dict[str, Profile]:
        found: dict[str, Profile] = {}
        for entry in some:
            made, findings = profile(entry)
            self._refuse(entry.origin, findings)
            # One that is wrong is there all the same: who names it is not to blame.
            found[entry.name] = made or Profile(entry.name)
        return found

    def _sessions(self, some: Sequence[BGPPeer], around: Around) -> list[Session]:
        ordered = sorted(some, key=lambda peer: peer.name)
        made: list[Session] = []
        for peer in ordered:
            found, findings = session(peer, around)
            self._refuse(peer.origin, findings)
            for path, text in hints(peer.spec):
                self._problems.append(peer.origin.warning(path, text))
            if found is not None:
                made.append(found)
        self._beside(ordered)
        return made

    def _beside(self, some: Sequence[BGPPeer]) -> None:
        """Compare each peer with the first of all, of its VRF, and with its address."""
        firsts: dict[object, BGPPeer] = {}
        for peer in some:
            keys = ("all",), ("vrf", peers.vrf(peer.spec)), ("at", *peers.neighbor(peer.spec))
            found = [firsts.setdefault(key, peer) for key in keys]
            others = {before.name: before for before in found}
            findings = [
                finding
                for before in others.values()
                if before is not peer
                for finding in peers.beside(peer.spec, before.spec)
            ]
            self._refuse(peer.origin, dict.fromkeys(findings))

    def _aliases(self, some: Sequence[Community]) -> dict[str, str]:
        seen: set[str] = set()
        for entry in some:
            self._refuse(entry.origin, texts.alias_findings(entry, seen))
        return {
            alias.name: alias.value
            for entry in some
            for alias in entry.aliases
            if texts.fault(alias.value) is None
        }

    def _advertisements(
        self,
        some: Sequence[BGPAdvertisement],
        aliases: Mapping[str, str],
        peers_of_all: Sequence[BGPPeer],
    ) -> dict[str, tuple[RouteAdvertisement, ...]]:
        names = {pool.name for pool in self._pools}
        known = {peer.name for peer in peers_of_all}
        by_pool: dict[str, list[RouteAdvertisement]] = {}
        before: dict[str, _Before] = {}
        for ad in sorted(some, key=lambda entry: entry.name):
            self._refuse(ad.origin, _alone(ad, aliases))
            self._problems.extend((*unknown_pools(ad.origin, ad.pools, names), *_strays(ad, known)))
            made = _made(ad, aliases)
            finding: Finding | None = None
            for pool in rules.chosen(ad, self._pools):
                others = before.setdefault(pool.name, {})
                # The first pool is enough: there may be hundreds of them.
                finding = finding or next(rules.too_short(ad, pool), None)
                finding = finding or _conflict(ad, others, pool)
                if not ad.service_selectors:
                    others.setdefault(ad.local_pref, []).append(ad)
                by_pool.setdefault(pool.name, []).append(made)
            self._refuse(ad.origin, [finding] if finding is not None else [])
        return {name: tuple(found) for name, found in by_pool.items()}

    def _echo_of_ipv6(self, ads: Sequence[BGPAdvertisement], echoing: Sequence[BGPPeer]) -> None:
        for ad in ads:
            heard = [peer.name for peer in echoing if not ad.peers or peer.name in ad.peers]
            if not heard:
                continue
            for pool in rules.chosen(ad, self._pools):
                if 6 in spans.versions(pool):
                    text = (
                        f"pool {pool.name} has IPv6 addresses, and the BFD profile of peer "
                        f"{heard[0]} has echoMode, which is for IPv4 only"
                    )
                    self._refuse(ad.origin, [(("spec", "peers"), text)])
                    break

    def _extras(self, found: BgpExtras | None, sessions: Iterable[Session]) -> str:
        """Return the lines that people add; one that is wrong is named by its number alone."""
        if found is None:
            return ""
        if found.text is None:
            text = f"has no key {KEY}, so it says nothing"
            self._problems.append(found.origin.warning(("data",), text))
            return ""
        numbers = {each.vrf: each.my_as for each in sessions}
        fault = extras.fault(found.text) or extras.stray_router(found.text, numbers)
        if fault is not None:
            line, why = fault
            text = f"line {line}: {why}" if line else why
            self._refuse(found.origin, [(("data", KEY), text)])
        return found.text


def _one_line(text: str) -> str:
    """Return a text of MetalLB's, which may have several lines and show an object's own text."""
    cut = text.replace("\n", "; ")[:_MAX_MESSAGE]
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _echoes(peer: BGPPeer, profiles: Mapping[str, Profile]) -> bool:
    found = profiles.get(peer.spec.bfd_profile)
    return found is not None and found.echo


def _alone(ad: BGPAdvertisement, aliases: Mapping[str, str]) -> Iterator[Finding]:
    yield from rules.lists(ad, ad.communities)
    yield from rules.lengths(ad)
    for name, length in (
        ("aggregationLength", ad.aggregation_length),
        ("aggregationLengthV6", ad.aggregation_length_v6),
    ):
        if length < 1:
            yield ("spec", name), f"invalid aggregation length {length}: it is less than 1"
    if not 0 <= ad.local_pref <= _MOST_PREFERENCE:
        text = f"invalid local preference {ad.local_pref}: not within 0 to {_MOST_PREFERENCE}"
        yield ("spec", "localPref"), text
    if len(ad.communities) > MAX_COMMUNITIES:
        yield ("spec", "communities"), f"more than {MAX_COMMUNITIES} communities"
    for index, text in enumerate(ad.communities):
        if text not in aliases and (why := rules.bad_community(text)) is not None:
            yield ("spec", "communities", index), why
    yield from rules.unreadable(ad)


def _strays(ad: BGPAdvertisement, known: set[str]) -> Iterator[Problem]:
    for index, name in enumerate(ad.peers):
        if name not in known:
            text = "no BGPPeer has this name"
            yield ad.origin.warning(("spec", "peers", index), text)


def _conflict(ad: BGPAdvertisement, before: _Before, pool: IPAddressPool) -> Finding | None:
    """Return the first conflict with an advertisement of the pool. All of them select our node.

    Where services are selected, only an announcement can tell.
    """
    if ad.service_selectors:
        return None
    others = (other for pref, some in before.items() if pref != ad.local_pref for other in some)
    for other in others:
        if rules.may_conflict(ad, other) and not rules.lengths_differ(ad, other, pool):
            return rules.conflict(ad, other)
    return None


def _made(ad: BGPAdvertisement, aliases: Mapping[str, str]) -> RouteAdvertisement:
    small: set[tuple[int, int]] = set()
    large: set[tuple[int, int, int]] = set()
    for text in ad.communities:
        value = aliases.get(text, text)
        match texts.numbers(value) if texts.fault(value) is None else ():
            case (high, low):
                small.add((high, low))
            case (first, second, third):
                large.add((first, second, third))
    return RouteAdvertisement(
        ad.name,
        ad.service_selectors,
        frozenset(ad.peers),
        frozenset(small),
        frozenset(large),
        ad.local_pref,
        ad.aggregation_length,
        ad.aggregation_length_v6,
    )
