"""Metric families in one line: a gauge, a counter, a counter with one label."""

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def gauge(name: str, help_text: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, help_text, value)


def total(name: str, help_text: str, value: float) -> Metric:
    """Return a counter without labels; it is shown with `_total` behind its name."""
    return CounterMetricFamily(name, help_text, value)


def counter(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a counter with a series for each value of one label."""
    family = CounterMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
