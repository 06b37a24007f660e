"""Metrics are named and explained as Prometheus asks: the rules of `promtool check metrics`."""

import re
from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric

from controller import metrics as controllers
from gossip.slots import Cut
from speaker.metrics.collector import Figures, make_registry
from speaker.wire.layer2 import Layer2Stats

LIBRARYS = ("process_", "python_")
METALLBS = "metallb_"
ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "m", "h", "d"}
OTHER_UNITS = {
    *("milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks"),
    *("kilobytes", "kibibytes", "megabytes", "mebibytes", "bits", "percent"),
}
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


def families() -> list[Metric]:
    figures = Figures(
        node="a",
        layer2=Layer2Stats(),
        announced={},
        serves=lambda ip, service: False,
        owners=dict,
    )
    return of_us(make_registry(figures)[0].collect())


def of_us(found: Iterable[Metric]) -> list[Metric]:
    return [family for family in found if not family.name.startswith(LIBRARYS)]


def controllers_families() -> list[Metric]:
    return of_us(controllers.make_registry(controllers.Figures()).collect())


ALL = [*families(), *controllers_families()]
OURS = [family for family in ALL if not family.name.startswith(METALLBS)]


@pytest.mark.parametrize("family", OURS, ids=lambda family: str(family.name))
def test_a_name_follows_the_conventions(family: Metric) -> None:
    assert re.fullmatch(r"clarion_[a-z][a-z0-9_]*[a-z0-9]", family.name)
    words = family.name.split("_")
    assert not set(words) & (ABBREVIATIONS | OTHER_UNITS | TYPES)
    # The library adds it to a counter, and nothing else may have it.
    assert words[-1] not in ("total", "count", "sum", "bucket")
    for unit in ("seconds", "bytes"):
        assert unit not in words[:-1], "a unit comes last"


@pytest.mark.parametrize("family", families(), ids=lambda family: str(family.name))
def test_a_help_text_is_there_and_ends_as_a_sentence_does(family: Metric) -> None:
    text = family.documentation
    assert re.fullmatch(r"[A-Z0-9][^\n]*[A-Za-z0-9]\.", text), text


def test_names_are_there_once() -> None:
    for of_one in (families(), controllers_families()):
        names = [family.name for family in of_one]
        assert len(names) == len(set(names))


def test_labels_of_gossips_counters_are_there_from_the_start() -> None:
    """Of a series that begins with its first count no increase is seen."""
    labelled = [family for family in OURS if family.name.startswith("clarion_gossip_")]
    shown = {family.name: [sample.value for sample in family.samples] for family in labelled}
    for name in ("messages_sent", "messages_received"):
        assert shown[f"clarion_gossip_{name}"] == [0.0] * 10
    for name, series in (("datagrams", 2), ("streams", 2), ("sent_bytes", 2), ("probes", 5)):
        assert shown[f"clarion_gossip_{name}"] == [0.0] * series
    assert len(Cut) == 6
