"""The text of /metrics, made in small parts with rests between them.

prometheus_client renders 1,000 service IPs in one go of 40 ms: twice what the pod's limit of 200m
gives in 100 ms, so that all answers would stand still for the rest of them.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from process.interpreter import Leisure

SAMPLES = 200


class _Part(Collector):
    def __init__(self, family: Metric, first: int) -> None:
        self._metric = Metric(family.name, family.documentation, family.type, family.unit)
        self._metric.samples = family.samples[first : first + SAMPLES]

    def collect(self) -> Iterator[Metric]:
        """Yield the one family."""
        yield self._metric


def render(registry: CollectorRegistry) -> Iterator[bytes]:
    """Yield the text, as `generate_latest` makes it of the whole registry."""
    rest = Leisure()
    for family in registry.collect():
        for first in range(0, max(1, len(family.samples)), SAMPLES):
            text = generate_latest(_Part(family, first))
            rest()
            yield _without_comments(text) if first else text


def _without_comments(text: bytes) -> bytes:
    """Leave HELP and TYPE out: a family names itself once."""
    return b"".join(line for line in text.splitlines(True) if not line.startswith(b"#"))
