"""What the code counts, an operator can read: no counter without a metric, or a reason."""

import ast
import importlib
import re
import time
import tomllib
from collections import Counter, abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import cache
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from prometheus_client import generate_latest

from controller import metrics
from gossip.stats import Stats, StreamStats
from ownership.announcing.answering import IPStats
from ownership.io import FailoverStats
from plan.release import Options
from process.logs import logger
from speaker.bgp.metrics import BgpCollector
from speaker.bgp.routing import Deaf, Routing, RoutingSettings
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats
from speaker.wire.links import LinkStats

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED = set(PROJECT["tool"]["importlinter"]["root_packages"]) - {"sim"}
"""What runs on a node: a new package is looked at as soon as there is one."""
SOURCES = sorted(path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py"))


def page(**figures: Any) -> str:
    """Make /metrics of these figures."""
    whole = Figures("a", Layer2Stats(), {}, lambda ip, service: False, dict)
    return generate_latest(make_registry(replace(whole, **figures))[0]).decode()


# ---- what is kept in dataclasses: each field is given a number, and looked for on the page

TAKEN: dict[type, Callable[[Any], dict[str, Any]]] = {
    Stats: lambda stats: {"gossip": lambda: stats},
    StreamStats: lambda stats: {"gossip_streams": lambda: stats},
    FailoverStats: lambda stats: {"failover": lambda: stats},
    Layer2Stats: lambda stats: {"layer2": stats},
    LinkStats: lambda stats: {"layer2": Layer2Stats(links=stats)},
    IPStats: lambda stats: {"layer2": Layer2Stats(ips={IPv4Address("192.0.2.1"): stats})},
}
"""How the collector gets each of them."""

SHOWN_OTHERWISE: dict[tuple[type, str], str] = {
    (Stats, "refusals"): "`Peers.refusals` puts them into `clarion_dropped_total`",
    (Stats, "ignored"): "so it does with these",
    (Stats, "exchanges_failed"): "and with this one",
    (Stats, "members"): "`clarion_members` counts them by state",
    (Layer2Stats, "ips"): "see `IPStats`",
    (Layer2Stats, "links"): "see `LinkStats`",
}

_numbers = count(500_009, 7)


@dataclass(frozen=True)
class Mark:
    """A value for a field, and the text by which it is found on the page."""

    value: Any
    text: str


def mark(kind: Any) -> Mark | None:
    """Make a value of this type that no other field has; None for what is no figure."""
    number = next(_numbers)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is int:
        return Mark(number, str(number))
    if origin is Counter:
        return Mark(Counter({_key(arguments[0]): number}), str(number))
    if origin is abc.Mapping and arguments[1] in (int, str):
        return Mark({_key(arguments[0]): arguments[1](number)}, str(number))
    if origin is abc.Callable and arguments[0] == []:
        made = mark(arguments[1])
        return made and Mark(lambda: made.value, made.text)
    return None


def _key(kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    # Severities are read one by one, and this is one of them.
    return ("eth0", "arp") if get_origin(kind) is tuple else "error"


@pytest.mark.parametrize(
    ("cls", "field"),
    [(cls, each.name) for cls in TAKEN for each in fields(cls)],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_field_of_a_dataclass_of_counters_is_on_the_page(cls: Any, field: str) -> None:
    made, explained = mark(get_type_hints(cls)[field]), (cls, field) in SHOWN_OTHERWISE
    if made is None:
        assert explained, "a type of which this test cannot make a figure"
        return
    stats = cls()
    setattr(stats, field, made.value)
    # An explanation that is not needed any more must go.
    assert (made.text in page(**TAKEN[cls](stats))) != explained


def _figures() -> dict[str, Mark]:
    hints = get_type_hints(Figures)
    made = {each.name: mark(hints[each.name]) for each in fields(Figures)}
    return {name: found for name, found in made.items() if found is not None}


FIGURES = _figures()


@pytest.mark.parametrize("field", FIGURES)
def test_a_figure_of_the_daemon_is_on_the_page(field: str) -> None:
    assert FIGURES[field].text in page(**{field: FIGURES[field].value})


def test_every_dataclass_of_counters_is_looked_at() -> None:
    found = set()
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in re.findall(r"^class (\w*Stats)\b", path.read_text(), re.M):
            found.add(getattr(importlib.import_module(module), name))
    assert found == TAKEN.keys()


# ---- what is kept in attributes that only grow

READ = {
    "Agent.outgoing_dropped": "clarion_dropped_total",
    "BroadcastQueue.dropped": "clarion_gossip_broadcasts_dropped_total",
    "Cluster.updates": "metallb_k8s_client_updates_total",
    "Confirmations.given_up": "clarion_clients_unconfirmed_total",
    "Courier.refused": "clarion_dropped_total",
    "EventSender.dropped": "clarion_api_events_dropped_total",
    "Failover._filtered": "clarion_echo_filtered_total",
    "Failover._refused": "clarion_letters_refused_total",
    "Later.dropped": "clarion_log_lines_dropped_total",
    "Leadership._failures": "clarion_controller_lease_failures_total",
    "LogWriter.dropped": "clarion_log_lines_dropped_total",
    "MedStep.steps": "clarion_bgp_med_steps_total",
    "Monitor.resyncs": "clarion_netlink_resyncs_total",
    "Peers._failed": "clarion_dropped_total",
    "Program._survived": "clarion_survived_total",
    "Publisher.failures": "clarion_api_failed_writes_total",
    "Reflector.failures": "clarion_api_failed_reads_total",
    "Reflector.relists": "clarion_api_relists_total",
    "Refusals._counts": "clarion_http_refused_total",
    "RouteMonitor.resyncs": "clarion_netlink_resyncs_total",
    "SecretFile.refused": "clarion_gossip_secret_refused_total",
    "Slots.cuts": "clarion_dropped_total",
    "Succession.conflicts": "clarion_conflicts_total",
    "Succession.foreign": "clarion_foreign_answers_total",
    "Typist.comparisons": "clarion_bgp_comparisons_total",
    "Typist.refused_lines": "clarion_bgp_refused_lines_total",
    "Typist.typed_lines": "clarion_bgp_lines_total",
    "Upkeep.survived": "clarion_survived_total",
    "Verdicts.counts": "clarion_verdicts_total",
    "Writer.conflicts": "clarion_api_write_conflicts_total",
    "Writer.failures": "clarion_api_failed_writes_total",
    "Writer.writes": "clarion_api_writes_total",
}
"""By class and attribute: the metric that shows it."""

_NUMBERING, _VERSION = "numbers things", "tells that something changed"
_SIZE, _PROGRESS = "how many there are now", "how far one piece of work has come"
NO_COUNTERS = {
    "Agent._handled": _PROGRESS,
    "Announcer._changes": _VERSION,
    "Announcer._number": _NUMBERING,
    "Assignments._number": _NUMBERING,
    "BodyScanner._fed": _PROGRESS,
    "_Reader._fed": _PROGRESS,
    "BodyScanner._head": _PROGRESS,
    "BodyScanner._wanted": _PROGRESS,
    "BroadcastQueue._last_id": _NUMBERING,
    "Contact.changes": _VERSION,
    "Courier._counter": _NUMBERING,
    "Election.hashes": "effort, by which a test sees that it follows what changed",
    "FlightRecorder.newest": _NUMBERING,
    "Gossiper._tick": "a time",
    "Monitor._sequence": _NUMBERING,
    "Outbox._last_dial": _NUMBERING,
    "Roster.version": _VERSION,
    "RouteMonitor._sequence": _NUMBERING,
    "Slots._last": _NUMBERING,
    "StreamReader._buffer": "bytes",
    "Suspicions._last": _NUMBERING,
    "Table._living_peers": _SIZE,
    "Table._suspects": _SIZE,
    "Table.version": _VERSION,
    "Takeovers._asks": "a list",
    "_Builder._nodes": _PROGRESS,
    "_Delivery.count": _PROGRESS,
    "_Delivery.sent": _PROGRESS,
    "_Delivery.waiting": "bytes",
    "_Unwrapper._seen": _PROGRESS,
}
"""What grows all the same, and what it is."""


def _own_attribute(target: ast.expr) -> str | None:
    """Name X of `self.X` and of `self.X[...]`."""
    if isinstance(target, ast.Subscript):
        target = target.value
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        return target.attr if target.value.id == "self" else None
    return None


def _changes(method: ast.AST) -> Iterator[tuple[str, bool]]:
    """Name the attributes that a method changes, and tell whether it adds to them."""
    for node in ast.walk(method):
        if isinstance(node, ast.AugAssign) and (name := _own_attribute(node.target)):
            yield name, isinstance(node.op, ast.Add)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if name := _own_attribute(one):
                        yield name, False


def _of_class(cls: ast.ClassDef) -> set[str]:
    grown, set_anew = set[str](), set[str]()
    methods = [
        each for each in cls.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for method in methods:
        for name, added in _changes(method):
            if added:
                grown.add(name)
            elif method.name != "__init__":
                set_anew.add(name)
    return {f"{cls.name}.{name}" for name in grown - set_anew}


@cache
def growing() -> frozenset[str]:
    """Find what is added to and never set again: as a counter is, and few other things are."""
    classes = [
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    return frozenset(name for cls in classes for name in _of_class(cls))


BGP = RoutingSettings(Path("/nowhere"), Options("a"))


def test_every_attribute_that_only_grows_is_a_metric_or_explained() -> None:
    assert growing() == READ.keys() | NO_COUNTERS.keys()
    assert not READ.keys() & NO_COUNTERS.keys()


@pytest.mark.parametrize("metric", sorted(set(READ.values())))
def test_the_metric_of_a_counter_exists(metric: str) -> None:
    pages = page() + generate_latest(metrics.make_registry(metrics.Figures())).decode()
    routing = Routing(BGP, Deaf(), time.monotonic, logger())
    pages += "".join(
        f"\n# TYPE {found.name}_total {found.type}\n" for found in BgpCollector(routing).collect()
    )
    assert f"\n# TYPE {metric} counter\n" in pages
