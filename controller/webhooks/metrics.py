"""What /metrics shows of the webhooks: register it as a collector."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from controller.webhooks.places import Refused

OTHER = "other"
"""The label of paths that are not served: a stranger may ask for any."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Outcome(StrEnum):
    """What a request got."""

    ANSWERED = "answered"
    UNREADABLE = "unreadable"
    """400: no review, or one that cannot be read."""
    NOT_SERVED = "not_served"
    """404."""
    METHOD = "method"
    """405: not POST."""
    NO_LENGTH = "no_length"
    """411: the body's length is not said before it."""
    TOO_LONG = "too_long"
    """413."""
    FAILED = "failed"
    """500: a fault of ours, which is in the log."""


class WebhookMetrics(Collector):
    """Counts from any thread."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._requests = Counter(
            "clarion_webhook_requests",
            "The webhook of the path had this many requests with the outcome.",
            ["path", "outcome"],
            registry=None,
        )
        self._seconds = Histogram(
            "clarion_webhook_request_seconds",
            "Requests took this long from their head to the end of their answer.",
            ["path"],
            registry=None,
            buckets=BUCKETS,
        )
        self._refused = Counter(
            "clarion_webhook_refused_connections",
            "This many connections were closed without an answer, by reason.",
            ["reason"],
            registry=None,
        )
        self._paths = frozenset(paths)
        for path in (*self._paths, OTHER):
            self._seconds.labels(path)
            for outcome in Outcome:
                self._requests.labels(path, outcome)
        for reason in Refused:
            self._refused.labels(reason)

    def handle_request(self, path: str, outcome: Outcome, seconds: float) -> None:
        """Count one."""
        label = path if path in self._paths else OTHER
        self._requests.labels(label, outcome).inc()
        self._seconds.labels(label).observe(seconds)

    def handle_refusal(self, reason: Refused) -> None:
        """Count one."""
        self._refused.labels(reason).inc()

    def collect(self) -> Iterator[Metric]:
        """Return all families."""
        for each in (self._requests, self._seconds, self._refused):
            yield from each.collect()
