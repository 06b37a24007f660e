"""From the changes of a router's kernel to when each node was no next hop of a prefix. Pure."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

State = tuple[float, str, Set[str]]
"""A moment, a prefix, and the nodes that it went to from then on."""


@dataclass(frozen=True)
class Absence:
    """From when to when a router did not send a prefix to a node; `end` None: it still does not."""

    node: str
    prefix: str
    start: float
    end: float | None


def absences(
    changes: Sequence[State], nodes: Iterable[str], prefixes: Iterable[str]
) -> list[Absence]:
    """Return every absence, if at first all nodes were next hops of all prefixes."""
    since: dict[tuple[str, str], float] = {}
    found, watched, nodes = [], set(prefixes), list(nodes)
    for at, prefix, hops in changes:
        for node in nodes if prefix in watched else ():
            began = since.get((node, prefix))
            if node not in hops and began is None:
                since[node, prefix] = at
            elif node in hops and began is not None:
                found.append(Absence(node, prefix, since.pop((node, prefix)), at))
    still = [Absence(node, prefix, start, None) for (node, prefix), start in since.items()]
    return sorted([*found, *still], key=lambda each: (each.start, each.node, each.prefix))


def gone_at(seen: Sequence[Absence], node: str, prefixes: Iterable[str]) -> float | None:
    """Return when the last of the prefixes went away from the node first; None: not each did."""
    first: dict[str, float] = {}
    for each in seen:
        if each.node == node:
            first[each.prefix] = min(first.get(each.prefix, each.start), each.start)
    wanted = list(prefixes)
    return max(first[each] for each in wanted) if first.keys() >= set(wanted) else None


def back_at(seen: Sequence[Absence], after: float) -> float | None:
    """Return when the last absence ended; `after` where there was none, None where one goes on."""
    ends = [each.end for each in seen]
    if None in ends:
        return None
    return max([after, *(end for end in ends if end is not None)])


def latency(
    changes: Sequence[State], at: float, node: str, prefix: str, announced: bool
) -> float | None:
    """Return the seconds from `at` until the prefix goes to the node, or does not any more."""
    for moment, name, hops in changes:
        if moment >= at and name == prefix and (node in hops) == announced:
            return moment - at
    return None
