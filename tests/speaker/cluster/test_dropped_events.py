"""Kubernetes Events that are not published are counted, whatever kept them back."""

import asyncio
import time

import pytest
import structlog

from kube.api import event_sender
from kube.api.client import ApiClient
from kube.api.events import Involved, node_assigned
from kube.api.state import KubernetesSource, Scope
from speaker.cluster.publisher import Publisher


def test_those_that_do_not_fit_and_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "MAX_EVENTS", 5)

    async def scenario() -> tuple[int, int, int]:
        scope, log = Scope(node="n1", namespace="m"), structlog.get_logger()
        # Never opened: every request fails.
        client = ApiClient()
        source = KubernetesSource(client, scope, time.monotonic, lambda *_: None, log)
        made = Publisher(client, source, scope, lambda service: None, time.monotonic, log)
        for number in range(8):
            made.event(node_assigned(Involved("v1", "Service", "shop", f"web{number}"), "n1"))
        waiting = made.sender.dropped
        assert made.sender._sender is not None
        await made.sender._sender
        made.close()
        return waiting, made.sender.dropped, made.failures

    assert asyncio.run(scenario()) == (3, 8, 5)
