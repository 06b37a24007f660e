"""The webhooks' metrics: all series from the start, and none that a stranger can add."""

from prometheus_client import CollectorRegistry

from controller.webhooks.metrics import OTHER, Outcome, WebhookMetrics
from controller.webhooks.places import Refused


def test_series_are_there_from_the_start_and_strangers_add_none() -> None:
    registry, metrics = CollectorRegistry(), WebhookMetrics(["/a"])
    registry.register(metrics)
    before = sum(len(family.samples) for family in registry.collect())
    for number in range(100):
        metrics.handle_request(f"/{number}", Outcome.NOT_SERVED, 0.1)
    metrics.handle_request("/a", Outcome.ANSWERED, 0.004)
    metrics.handle_refusal(Refused.CROWDED)
    assert sum(len(family.samples) for family in registry.collect()) == before

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"clarion_webhook_{name}", labels)

    assert value("requests_total", path=OTHER, outcome="not_served") == 100
    assert value("requests_total", path="/a", outcome="answered") == 1
    assert value("request_seconds_bucket", path="/a", le="0.005") == 1
    assert value("refused_connections_total", reason="crowded") == 1
