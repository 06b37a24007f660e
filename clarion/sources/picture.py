"""What was read of a cluster, wherever it was read: the objects, and what is made of them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kube.bgp_config import BgpConfig, BgpObjects, judge_bgp, secrets_of
from kube.config import PoolConfig
from kube.objects.bgp import BGPAdvertisement, BGPPeer
from kube.objects.core import Node
from kube.objects.reading import View
from kube.problem import Problem, Severity
from kube.selector import LabelSelector, any_matches
from kube.snapshot import CustomObjects, Key, Reading, Snapshot, assemble, custom_objects
from plan.release import Options

_SOME_PASSWORD = "x"  # noqa: S105 - stands for one that is not to be known here


@dataclass(frozen=True)
class Picture:
    """A cluster at one moment."""

    source: str
    """Where it was read, for people."""
    namespace: str
    """Of MetalLB's objects."""
    options: Options
    """What speakers were told at their start; the node is nobody."""
    snapshot: Snapshot
    """What plans are made from. Its `bgp` counts for nothing, as it is of one node."""
    custom: CustomObjects
    """MetalLB's objects as they were read."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the objects, each by itself, pools and advertisements as a whole."""
    readings: tuple[Reading, ...] = ()
    """What the rest was made of; none of a cluster that is watched."""

    @classmethod
    def made(
        cls,
        source: str,
        namespace: str,
        options: Options,
        readings: Iterable[Reading],
        last: PoolConfig | None = None,
    ) -> "Picture":
        """Make it of what was read. Where that is no valid configuration, `last` is in force."""
        some = tuple(readings)
        snapshot, problems = assemble(some, namespace, last)
        told = tuple(found for found in problems if found.severity is not Severity.DEBUG)
        custom = custom_objects(some, namespace)
        return cls(source, namespace, options, snapshot, custom, told, some)

    @cached_property
    def bgp(self) -> "BgpOfNodes":
        """What each node makes of the objects of BGP."""
        return BgpOfNodes(self.custom, self.snapshot.nodes)

    def with_views(self, changed: Mapping[Key, View | None]) -> "Picture":
        """Return the picture as it would be with these objects; None: without them."""
        whole = merged(self.readings, self.namespace)
        views = dict(whole.views)
        for key, found in changed.items():
            if found is None:
                views.pop(key, None)
            else:
                views[key] = found
        return Picture.made(
            self.source,
            self.namespace,
            self.options,
            (replace(whole, views=views),),
            self.snapshot.config,
        )


class BgpOfNodes:
    """Judges the objects of BGP for nodes; those that the same objects select, once."""

    def __init__(self, custom: CustomObjects, nodes: Mapping[str, Node]) -> None:
        self._objects = with_passwords(custom.bgp)
        self._pools, self._nodes = custom.pools, nodes
        self._known: dict[frozenset[int], Judged] = {}

    def config(self, node: Node) -> BgpConfig | None:
        """Return what is wanted of the node; None where it is not valid."""
        return self.judged(node).config

    def judged(self, node: Node) -> "Judged":
        """Return the verdict on what is wanted of the node; equal nodes have the same one."""
        mine = frozenset(
            id(found)
            for found, selectors in selecting(self._objects)
            if any_matches(selectors, node.labels)
        )
        if mine not in self._known:
            config, problems = judge_bgp(self._objects, self._pools, self._nodes, node.name)
            self._known[mine] = Judged(node, config, tuple(problems), mine)
        return self._known[mine]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What is wanted of some nodes by BGP, of which `node` is one."""

    node: Node
    config: BgpConfig | None
    problems: tuple[Problem, ...]
    objects: frozenset[int]
    """The identities of the peers and advertisements that select them."""


def selecting(
    objects: BgpObjects,
) -> Iterator[tuple[BGPPeer | BGPAdvertisement, Sequence[LabelSelector]]]:
    """Return what selects nodes for BGP, with its selectors."""
    yield from ((peer, peer.spec.node_selectors) for peer in objects.peers)
    yield from ((ad, ad.node_selectors) for ad in objects.advertisements)


def with_passwords(objects: BgpObjects) -> BgpObjects:
    """Return the objects as if each Secret that is named were there: whoever looks at a cluster
    needs no password, and is not to read any."""
    missing = dict.fromkeys(secrets_of(objects.peers), _SOME_PASSWORD)
    return replace(objects, passwords={**missing, **objects.passwords})


def merged(readings: Iterable[Reading], namespace: str) -> Reading:
    """Return one reading of several; of two objects of one name the later one.

    `namespace` is where objects of MetalLB are that do not say it.
    """
    views: dict[Key, View] = {}
    broken, ignored = frozenset[Key](), frozenset[str]()
    problems: list[Problem] = []
    for reading in readings:
        for (kind, _, name), found in reading.views.items():
            views[kind, getattr(found, "namespace", None) or namespace, name] = found
        broken, ignored = broken | reading.broken, ignored | reading.ignored
        problems.extend(reading.problems)
    return Reading(views, broken, ignored, tuple(problems))
